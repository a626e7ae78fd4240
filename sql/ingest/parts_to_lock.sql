create function l1_api.parts_to_lock(
    p_visit l1.visit,
    p_lower double precision,
    p_upper double precision
)
returns table (number bigint, ra double precision, "dec" double precision)
language plpgsql
stable
set search_path = pg_catalog, l1, l1_api, public, pg_temp
as $$
-- Function: l1_api.parts_to_lock(3)
--
--   The points that the sky lock of this ingest must hold: corners of footprints, those of replaced attempts too;
--   sources where there are no footprints or where they add to or take from what is stored; and objects far from the
--   sources that a replacement takes from them, which corrections gave them.
--
-- Parameters:
--   p_visit           - the visit
--   p_lower, p_upper  - bounds of its leaf, MJD TAI [d]
-- Returns:
--   number   - which footprint or source the point belongs to
--   ra, dec  - position [deg]
-- Reads:    pg_temp.claim, pg_temp.stage_source, l1.visit_detector, l1.dia_source, l1.dia_object
declare
    v_detectors smallint[] := array(select c.detector from pg_temp.claim c where c.former_attempt is not null);
begin
    return query
    select -1 - c.detector::bigint,
           st_x(corner.geom),
           st_y(corner.geom)
      from pg_temp.claim c
     cross join lateral st_dumppoints(c.footprint::geometry) as corner
     where c.status <> 'unchanged'
    union all
    select -100000 - c.detector::bigint,
           st_x(corner.geom),
           st_y(corner.geom)
      from pg_temp.claim c
      join l1.visit_detector v
        on v.visit = p_visit.visit
       and v.detector = c.detector
       and v.attempt = c.former_attempt
     cross join lateral st_dumppoints(v.footprint::geometry) as corner
    union all
    select s.ordinal,
           s.ra,
           s.dec
      from pg_temp.claim c
      join pg_temp.stage_source s
        on s.detector = c.detector
     where c.status <> 'unchanged'
       and (c.footprint is null or c.status = 'supplemented')
    union all
    select 1000000000 + row_number() over (),
           x.ra,
           x.dec
      from l1.dia_source x
     where x.visit = p_visit.visit
       and x.detector = any (v_detectors)
       and not x.is_forced
       and x.midpoint_mjd_tai >= p_lower
       and x.midpoint_mjd_tai < p_upper
    union all
    select 2000000000 + row_number() over (),
           o.ra,
           o.dec
      from (
        select x.dia_object_id, x.ra, x.dec
          from l1.dia_source x
         where x.visit = p_visit.visit
           and x.detector = any (v_detectors)
           and not x.is_forced
           and x.midpoint_mjd_tai >= p_lower
           and x.midpoint_mjd_tai < p_upper
        union all
        select x.dia_object_id, x.ra, x.dec
          from l1.dia_source x
         where x.visit = p_visit.visit
           and x.detector = any (v_detectors)
           and x.is_forced
           and x.midpoint_mjd_tai >= p_lower
           and x.midpoint_mjd_tai < p_upper
      ) as taken
      join l1.dia_object o
        on o.dia_object_id = taken.dia_object_id
     where q3c_dist(taken.ra, taken.dec, o.ra, o.dec) * 3600 > l1_api.lock_margin() / 2;
end
$$;
comment on function l1_api.parts_to_lock(l1.visit, double precision, double precision) is
    'The points that the sky lock of an ingest must hold';
