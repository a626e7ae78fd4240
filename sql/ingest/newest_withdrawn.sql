create function l1_api.newest_withdrawn(p_visit l1.visit)
returns timestamptz
language plpgsql
stable
set search_path = pg_catalog, l1, l1_api, public, pg_temp
set plan_cache_mode = force_custom_plan
as $$
-- Function: l1_api.newest_withdrawn(1)
--
--   The newest time that a replacement must come after: the versions of the sources that it withdraws, of which some have
--   no object, those of the twins that it sets free, and whatever the ledger says of former attempts.
--
-- Parameters:
--   p_visit  - the visit
-- Returns:
--   a time; at least the ledger has one
-- Reads:   pg_temp.claim, pg_temp.stage_source, l1.dia_source, l1.visit_detector
-- Settings:
--   a plan kept for all times would have to look into every leaf
declare
    v_detectors smallint[] := array(select c.detector from pg_temp.claim c where c.former_attempt is not null);
    v_bounds    record;
begin
    select * into v_bounds from l1_api.leaf_bounds(p_visit.midpoint_mjd_tai);
    return greatest(
        (select max(x.validity_start)
           from l1.dia_source x
          where x.visit = p_visit.visit
            and x.detector = any (v_detectors)
            and not x.is_forced
            and x.midpoint_mjd_tai >= v_bounds.lower
            and x.midpoint_mjd_tai < v_bounds.upper),
        (select max(x.validity_start)
           from l1.dia_source x
          where x.visit = p_visit.visit
            and x.detector = any (v_detectors)
            and x.is_forced
            and x.midpoint_mjd_tai >= v_bounds.lower
            and x.midpoint_mjd_tai < v_bounds.upper),
        (select max(s.validity_start) from pg_temp.stage_source s where s.is_stored),
        (select max(greatest(v.time_processed, v.withdrawn_at))
           from pg_temp.claim c
           join l1.visit_detector v
             on v.detector = c.detector
          where c.former_attempt is not null
            and v.visit = p_visit.visit));
end
$$;
comment on function l1_api.newest_withdrawn(l1.visit) is
    'The newest time that a replacement must come after';
