create function l1_api.reopen_twins(p_visit l1.visit, p_survey l1.survey)
returns bigint
language plpgsql
volatile
set search_path = pg_catalog, l1, l1_api, public, pg_temp
set plan_cache_mode = force_custom_plan
as $$
-- Function: l1_api.reopen_twins(2)
--
--   What a replacement withdraws may have been the reason why another detector's source has no object: it was the same
--   thing, seen twice.  Brings such stored duplicates back into association, as if they had come with the call.
--
-- Parameters:
--   p_visit, p_survey  - the visit, and the rules in force
-- Returns:  number of sources brought back
-- Reads:    pg_temp.claim, l1.dia_source, l1.visit_detector
-- Writes:   pg_temp.withdrawn; pg_temp.stage_source, marked as stored; pg_temp.claim: their detectors, as revised
--
-- Algorithm:
--   A duplicate lies within one radius of its twin, or both within one of an object: so within two of what is withdrawn.
--   Those that are not freed by it are decided as before, and nothing becomes of them.  Neighbours by zones of
--   declination as high as the search is wide.
-- Settings:
--   a plan kept for all times would have to look into every leaf
declare
    v_reach     double precision := 2 * p_survey.association_radius / 3600;
    v_detectors smallint[] := array(select c.detector from pg_temp.claim c where c.former_attempt is not null);
    v_bounds    record;
    v_rows      bigint;
begin
    select * into v_bounds from l1_api.leaf_bounds(p_visit.midpoint_mjd_tai);

    insert into pg_temp.withdrawn (zone, ra, dec)
    select floor((x.dec + 90) / v_reach)::integer + step, x.ra, x.dec
      from l1.dia_source x
     cross join generate_series(-1, 1) as step
     where x.visit = p_visit.visit
       and x.detector = any (v_detectors)
       and not x.is_forced
       and x.midpoint_mjd_tai >= v_bounds.lower
       and x.midpoint_mjd_tai < v_bounds.upper;
    get diagnostics v_rows = row_count;
    perform l1_api.refresh_statistics('withdrawn', v_rows);

    insert into pg_temp.stage_source
    select (select coalesce(max(s.ordinal), 0) from pg_temp.stage_source s)
           + row_number() over (order by x.detector, x.dia_source_id),
           true,
           x.*
      from l1.dia_source x
     where x.visit = p_visit.visit
       and x.dia_object_id is null
       and x.no_object_reason = 'duplicate_in_visit'
       and not x.is_forced
       and x.midpoint_mjd_tai >= v_bounds.lower
       and x.midpoint_mjd_tai < v_bounds.upper
       and x.detector <> all (v_detectors)
       and exists (select
                     from pg_temp.withdrawn w
                    where w.zone = floor((x.dec + 90) / v_reach)::integer
                      and q3c_dist(w.ra, w.dec, x.ra, x.dec) <= v_reach);
    get diagnostics v_rows = row_count;
    if v_rows = 0 then
        return 0;
    end if;

    update pg_temp.claim c
       set status = 'revised'
     where c.status = 'unchanged'
       and exists (select from pg_temp.stage_source s where s.detector = c.detector and s.is_stored);

    insert into pg_temp.claim (detector, attempt, former_attempt, status, footprint)
    select v.detector, v.attempt, null, 'revised', v.footprint
      from l1.visit_detector v
     where v.visit = p_visit.visit
       and v.withdrawn_at is null
       and exists (select from pg_temp.stage_source s where s.detector = v.detector and s.is_stored)
       and not exists (select from pg_temp.claim c where c.detector = v.detector);

    return v_rows;
end
$$;
comment on function l1_api.reopen_twins(l1.visit, l1.survey) is
    'Brings duplicates back into association whose twins a replacement withdraws';
