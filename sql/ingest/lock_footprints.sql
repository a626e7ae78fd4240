create function l1_api.lock_footprints(p_visit l1.visit, p_survey l1.survey)
returns integer
language plpgsql
volatile
set search_path = pg_catalog, l1, l1_api, public, pg_temp
as $$
-- Function: l1_api.lock_footprints(2)
--
--   Takes the sky that this ingest may write on: around all footprints of the call, around the sources of detectors
--   without footprint and of supplements, and around what a replacement withdraws; lock_margin and two association
--   radii wider.
--
-- Returns:  number of cells locked
-- Reads:    pg_temp.claim, pg_temp.stage_source, l1.dia_source, l1.dia_object
-- Writes:   pg_temp.cell, where it leaves what it has locked if anything drifts or is replaced or is replaced
-- Locks:    see lock_sky
--
-- Algorithm:
--   Whether anything drifts, the first entry of an index says: ORDER BY leaves the planner no other way.
--   One cap around everything, if that is no larger than a focal plane.  If it is, as when sources are scattered over the
--   sky or a detector was stored at a wrong place, one cap for each footprint and each source.
declare
    v_margin constant double precision := (l1_api.lock_margin() + 2 * p_survey.association_radius) / 3600;
    v_bounds record;
    v_cap    record;
    v_cells  integer[];
    v_locked integer;
begin
    select * into v_bounds from l1_api.leaf_bounds(p_visit.midpoint_mjd_tai);

    select cap.ra, cap.dec, cap.radius
      into v_cap
      from (
        select array_agg(part.ra) as ra,
               array_agg(part.dec) as dec
          from l1_api.parts_to_lock(p_visit, v_bounds.lower, v_bounds.upper) as part
      ) as given
     cross join lateral l1_api.bounding_cap(given.ra, given.dec) as cap;
    if v_cap.ra is null then
        return 0;
    end if;
    if v_cap.radius <= 3 then
        v_locked := l1_api.lock_sky(v_cap.ra, v_cap.dec, v_cap.radius + v_margin);
        insert into pg_temp.cell (number)
        select l1_api.sky_cells(v_cap.ra, v_cap.dec, v_cap.radius + v_margin)
         where exists (select from pg_temp.claim c where c.former_attempt is not null)
            or (select true
                  from l1.dia_object o
                 where o.drift_ra is not null
                 order by q3c_ang2ipix(o.ra, o.dec)
                 limit 1);
        return v_locked;
    end if;

    v_cells := array(
        select distinct cell
          from (
            select array_agg(part.ra) as ra,
                   array_agg(part.dec) as dec
              from l1_api.parts_to_lock(p_visit, v_bounds.lower, v_bounds.upper) as part
             group by part.number
          ) as given
         cross join lateral l1_api.bounding_cap(given.ra, given.dec) as cap
         cross join lateral l1_api.sky_cells(cap.ra, cap.dec, least(cap.radius, 10) + v_margin) as cell);
    v_locked := l1_api.lock_cells(v_cells);
    insert into pg_temp.cell (number)
    select unnest(v_cells);
    return v_locked;
end
$$;
comment on function l1_api.lock_footprints(l1.visit, l1.survey) is 'Takes the sky that an ingest may write on';
