create function l1_api.find_pairs(p_visit l1.visit, p_survey l1.survey)
returns void
language plpgsql
volatile
set search_path = pg_catalog, l1, l1_api, public, pg_temp
as $$
-- Function: l1_api.find_pairs(2)
--
--   The pairs of a source and a DiaObject that may be one: within the radius, measured to where the object was before
--   this visit.  So a detector of a visit sees the same objects whether its neighbours came before it, with it or after.
--
-- Reads:   pg_temp.source, pg_temp.claim, l1.dia_object, l1.dia_source
-- Writes:  pg_temp.taken, pg_temp.pair
--
-- Algorithm:
--   If the visit has sources already, objects near ours may have a detection of this visit.  Their position without it
--   is the mean of their other detections; one that has no others was founded by this visit, and is no object to match,
--   only a possible twin.  Taking in one detection moves a mean by at most half the radius: hence the wider search.
declare
    v_bounds       record;
    v_visit_exists boolean;
    v_rows         bigint;
begin
    select * into v_bounds from l1_api.leaf_bounds(p_visit.midpoint_mjd_tai);
    select exists (
        select
          from l1.dia_source x
         where x.visit = p_visit.visit
           and not x.is_forced
           and x.midpoint_mjd_tai >= v_bounds.lower
           and x.midpoint_mjd_tai < v_bounds.upper)
      into v_visit_exists;

    if v_visit_exists then
        insert into pg_temp.taken (dia_object_id, detector, dia_source_id, ra, dec, variance, is_replaced)
        select distinct on (o.dia_object_id)
               o.dia_object_id,
               x.detector,
               x.dia_source_id,
               x.ra,
               x.dec,
               (x.ra_err::double precision ^ 2 + x.dec_err::double precision ^ 2) / 2 * 3600 ^ 2,
               c.former_attempt is not null
          from pg_temp.source s
          join l1.dia_object o
            on q3c_join(s.ra, s.dec, o.ra, o.dec, 1.5 * p_survey.association_radius / 3600)
          join l1.dia_source x
            on x.visit = p_visit.visit
           and x.dia_object_id = o.dia_object_id
           and not x.is_forced
           and x.midpoint_mjd_tai >= v_bounds.lower
           and x.midpoint_mjd_tai < v_bounds.upper
          left join pg_temp.claim c
            on c.detector = x.detector
         order by o.dia_object_id;
        get diagnostics v_rows = row_count;
        perform l1_api.refresh_statistics('taken', v_rows);

        insert into pg_temp.pair (ordinal, detector, dia_object_id, separation, variance)
        with near as (
            select s.ordinal, s.detector, s.ra, s.dec, s.variance,
                   o.dia_object_id, o.ra as object_ra, o.dec as object_dec, o.ra_err, o.dec_err
              from pg_temp.source s
              join l1.dia_object o
                on q3c_join(s.ra, s.dec, o.ra, o.dec, 1.5 * p_survey.association_radius / 3600)
        ), former as (
            select t.dia_object_id,
                   avg(cosd(x.dec) * cosd(x.ra)) as x,
                   avg(cosd(x.dec) * sind(x.ra)) as y,
                   avg(sind(x.dec)) as z,
                   (avg(x.ra_err::double precision ^ 2) + avg(x.dec_err::double precision ^ 2)) / 2 * 3600 ^ 2
                   / count(*) as variance
              from pg_temp.taken t
              join l1.dia_source x
                on x.dia_object_id = t.dia_object_id
             where x.visit <> p_visit.visit
               and not x.is_forced
             group by t.dia_object_id
        )
        select near.ordinal, near.detector, near.dia_object_id, placed.separation,
               l1_api.offset_variance(near.variance, placed.variance, p_survey.error_floor)
          from near
          left join pg_temp.taken t
            on t.dia_object_id = near.dia_object_id
          left join former
            on former.dia_object_id = near.dia_object_id
         cross join lateral (
            select case when former.x is null
                        then q3c_dist(near.ra, near.dec, near.object_ra, near.object_dec)
                        else q3c_dist(near.ra, near.dec, l1_api.mean_ra(former.x, former.y),
                                      l1_api.mean_dec(former.x, former.y, former.z)) end * 3600 as separation,
                   case when former.x is null
                        then (near.ra_err::double precision ^ 2 + near.dec_err::double precision ^ 2) / 2 * 3600 ^ 2
                        else former.variance end as variance
         ) as placed
         where placed.separation <= p_survey.association_radius
           and (t.dia_object_id is null
                or t.is_replaced
                or former.x is not null and t.detector <> near.detector);
    else
        insert into pg_temp.pair (ordinal, detector, dia_object_id, separation, variance)
        select s.ordinal,
               s.detector,
               o.dia_object_id,
               q3c_dist(s.ra, s.dec, o.ra, o.dec) * 3600,
               l1_api.offset_variance(
                   s.variance,
                   (o.ra_err::double precision ^ 2 + o.dec_err::double precision ^ 2) / 2 * 3600 ^ 2,
                   p_survey.error_floor)
          from pg_temp.source s
          join l1.dia_object o
            on q3c_join(s.ra, s.dec, o.ra, o.dec, p_survey.association_radius / 3600);
    end if;
    get diagnostics v_rows = row_count;

    perform l1_api.refresh_statistics('pair', v_rows);
end
$$;
comment on function l1_api.find_pairs(l1.visit, l1.survey) is
    'The pairs of a source and a DiaObject that may be one';
