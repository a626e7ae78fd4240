create function l1_api.broken_source_visits(
    p_from_mjd_tai double precision default '-infinity',
    p_upto_mjd_tai double precision default 'infinity'
)
returns table (thing text, id bigint, found text)
language sql
stable
parallel safe
as $$
    -- Function: l1_api.broken_source_visits(2)
    --
    --   Every source is of a visit and a live detector, in the visit's band and partition, and within its exposure
    --
    -- Parameters:
    --   p_from_mjd_tai, p_upto_mjd_tai - only what was observed from the one up to the other, which is not included,
    --   MJD TAI [d]
    -- Returns:
    --   what breaks this; nothing if all is well
    -- Reads: l1.dia_source, l1.visit, l1.visit_detector
    --
    -- Algorithm:
    --   As check_stage: a midpoint may be a second off; where the exposure time was not known when the source came,
    --   half an hour's exposure is granted.
    select 'dia_source', s.dia_source_id, t.found
      from l1.dia_source s
      left join l1.visit v
        on v.visit = s.visit
      left join l1.visit_detector d
        on d.visit = s.visit
       and d.detector = s.detector
       and d.withdrawn_at is null
     cross join (
        select (r.night_offset_hours / 24)::double precision as mjd from l1_api.current_survey() as r
     ) as noon
     cross join lateral (
        select case when v.visit is null then format('there is no visit %s', s.visit)
                    when d.visit is null then format('visit %s has no live detector %s', s.visit, s.detector)
                    when s.band <> v.band then format('is of band %s, its visit %s of %s', s.band, s.visit, v.band)
                    when abs(s.midpoint_mjd_tai - v.midpoint_mjd_tai) * 86400
                         > coalesce(case when s.exposure_time is not null then v.exposure_time end, 1728) / 2 + 1
                    then format('%s is not within the exposure of visit %s, centred on %s', s.midpoint_mjd_tai, s.visit,
                                v.midpoint_mjd_tai)
                    when floor((s.midpoint_mjd_tai - noon.mjd) / 30) <> floor((v.midpoint_mjd_tai - noon.mjd) / 30)
                    then format('%s lies in another partition than visit %s', s.midpoint_mjd_tai, s.visit) end as found
     ) as t
     where s.midpoint_mjd_tai >= p_from_mjd_tai and s.midpoint_mjd_tai < p_upto_mjd_tai
       and t.found is not null
$$;
comment on function l1_api.broken_source_visits(double precision, double precision) is
    'Every source is of a visit and a live detector, in the visit''s band and partition, and within its exposure';
