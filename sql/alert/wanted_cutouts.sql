create function l1_api.wanted_cutouts(
    p_alert_ids bigint[],
    p_lower     double precision,
    p_upper     double precision
)
returns table (
    alert_id      bigint,
    dia_source_id bigint,
    kind          text,
    visit         bigint,
    detector      smallint,
    day_obs       date,
    ra            double precision,
    "dec"         double precision,
    bbox_size     integer,
    psf_fwhm      real,
    uri           text,
    sha256        bytea,
    trouble       text
)
language sql
stable
parallel safe
as $$
    -- Function: l1_api.wanted_cutouts(3)
    --
    --   The cutouts that alerts are to carry and that nobody has decided on yet: a view with parameters.
    --
    -- Parameters:
    --   p_alert_ids       - the alerts
    --   p_lower, p_upper  - between which midpoints they lie, MJD TAI [d]
    -- Returns:
    --   for which alert, or one of them; where to cut [deg], how much [pixel], out of which image and its hash, with which
    --   PSF if it has none [pixel]; trouble: why there is none
    -- Reads:  l1.alert, l1.survey, l1.visit, l1.cutout, l1.alert_image, l1.image, l1.visit_detector, l1.dia_source,
    --         l1.dia_source_history; see alert_sources
    --
    -- A retraction shows what the alert showed that it takes back: the source as it was then, on the image of that attempt.
    select distinct on (a.visit, a.detector, a.dia_source_id, wanted.kind)
           a.alert_id,
           a.dia_source_id,
           wanted.kind,
           a.visit,
           a.detector,
           v.day_obs,
           s.ra,
           s.dec,
           s.bbox_size,
           described.psf_fwhm,
           case when described.attempt is null or described.attempt = live.attempt then i.uri end,
           case when described.attempt is null or described.attempt = live.attempt then i.sha256 end,
           case when described.attempt <> coalesce(live.attempt, 0)
                then 'its detector was withdrawn or replaced before'
                when i.uri is null then 'there is no ' || wanted.kind || ' image' end
      from l1.alert a
      join l1.survey r
        on r.survey_version = a.survey_version
     cross join lateral unnest(r.cutouts) as wanted(kind)
      join l1.visit v
        on v.visit = a.visit
     cross join lateral (
        select d.midpoint_mjd_tai,
               d.stamp
          from l1.alert d
         where d.dia_source_id = a.dia_source_id
           and (d.kind <> 'retraction' or d.alert_id = a.alert_id)
           and d.stamp <= a.stamp
           and d.midpoint_mjd_tai between a.midpoint_mjd_tai - 1 and a.midpoint_mjd_tai + 1
           and d.midpoint_mjd_tai between p_lower - 1 and p_upper + 1
         order by d.stamp, d.alert_id
         limit 1
      ) as issued
     cross join lateral l1_api.dia_source_asof(issued.stamp) as s
      left join l1.alert_image described
        on described.visit = a.visit
       and described.detector = a.detector
       and described.stamp = issued.stamp
      left join l1.visit_detector live
        on live.visit = a.visit
       and live.detector = a.detector
       and live.withdrawn_at is null
      left join l1.image i
        on i.visit = a.visit
       and i.detector = a.detector
       and i.kind = wanted.kind
     where a.alert_id = any (p_alert_ids)
       and a.midpoint_mjd_tai between p_lower and p_upper
       and s.dia_source_id = a.dia_source_id
       and s.midpoint_mjd_tai = issued.midpoint_mjd_tai
       and s.midpoint_mjd_tai between p_lower - 1 and p_upper + 1
       and not exists (select
                         from l1.cutout c
                        where c.dia_source_id = a.dia_source_id
                          and c.kind = wanted.kind)
     order by a.visit, a.detector, a.dia_source_id, wanted.kind
$$;
comment on function l1_api.wanted_cutouts(bigint[], double precision, double precision) is
    'The cutouts that alerts are to carry and that nobody has decided on yet';
