create function l1_api.lock_footprints(p_visit l1.visit, p_survey l1.survey)
returns integer
language plpgsql
volatile
set search_path = pg_catalog, l1, l1_api, public, pg_temp
as $$
-- Function: l1_api.lock_footprints(2)
--
--   Takes the sky that this ingest may write on: one cap around all footprints of the call, around the sources of
--   detectors without footprint and of supplements, and around what a replacement withdraws; 20 arcsec and two association radii wider.
--
-- Returns:  number of cells locked
-- Reads:    pg_temp.claim, pg_temp.stage_source, l1.dia_source
-- Locks:    see lock_sky
declare
    v_cap record;
begin
    with point as (
        select st_x(corner.geom) as ra,
               st_y(corner.geom) as dec
          from pg_temp.claim c
         cross join lateral st_dumppoints(c.footprint::geometry) as corner
         where c.status <> 'unchanged'
        union all
        select s.ra,
               s.dec
          from pg_temp.claim c
          join pg_temp.stage_source s
            on s.detector = c.detector
         where c.status <> 'unchanged'
           and (c.footprint is null or c.status = 'supplemented')
        union all
        select x.ra,
               x.dec
          from pg_temp.claim c
          join l1.dia_source x
            on x.detector = c.detector
         where c.former_attempt is not null
           and x.visit = p_visit.visit
           and not x.is_forced
    )
    select cap.ra, cap.dec, cap.radius
      into v_cap
      from (select array_agg(point.ra) as ra, array_agg(point.dec) as dec from point) as given
     cross join lateral l1_api.bounding_cap(given.ra, given.dec) as cap;
    if v_cap.ra is null then
        return 0;
    end if;

    return l1_api.lock_sky(v_cap.ra, v_cap.dec,
                           v_cap.radius + (20 + 2 * p_survey.association_radius) / 3600);
end
$$;
comment on function l1_api.lock_footprints(l1.visit, l1.survey) is 'Takes the sky that an ingest may write on';
