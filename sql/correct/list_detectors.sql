create function l1_api.list_detectors(p_visit l1.visit, p_detectors smallint[])
returns void
language plpgsql
volatile
set search_path = pg_catalog, l1, l1_api, public, pg_temp
set plan_cache_mode = force_custom_plan
as $$
-- Function: l1_api.list_detectors(2)
--
--   Lists all live sources of some detectors of a visit, detected and forced, to be withdrawn.
--
-- Parameters:
--   p_visit      - the visit
--   p_detectors  - its detectors
-- Reads:   l1.dia_source
-- Writes:  pg_temp.correcting
--
-- Algorithm:
--   Detections and forced rows apart: each have an index of their own that begins with the visit.
-- Settings:
--   a plan kept for all times would have to look into every leaf
declare
    v_bounds record;
begin
    select * into v_bounds from l1_api.leaf_bounds(p_visit.midpoint_mjd_tai);

    delete from pg_temp.correcting;
    insert into pg_temp.correcting (dia_source_id, midpoint_mjd_tai, ra, dec, visit, detector, band, is_forced,
                                    validity_start, former_object, action, reason)
    select x.dia_source_id, x.midpoint_mjd_tai, x.ra, x.dec, x.visit, x.detector, x.band, x.is_forced,
           x.validity_start, x.dia_object_id, 'withdraw', 'detector_withdrawn'
      from l1.dia_source x
     where x.visit = p_visit.visit
       and x.detector = any (p_detectors)
       and not x.is_forced
       and x.midpoint_mjd_tai >= v_bounds.lower
       and x.midpoint_mjd_tai < v_bounds.upper
    union all
    select x.dia_source_id, x.midpoint_mjd_tai, x.ra, x.dec, x.visit, x.detector, x.band, x.is_forced,
           x.validity_start, x.dia_object_id, 'withdraw', 'detector_withdrawn'
      from l1.dia_source x
     where x.visit = p_visit.visit
       and x.detector = any (p_detectors)
       and x.is_forced
       and x.midpoint_mjd_tai >= v_bounds.lower
       and x.midpoint_mjd_tai < v_bounds.upper;
    perform l1_api.refresh_statistics('correcting', (select count(*) from pg_temp.correcting));
end
$$;
comment on function l1_api.list_detectors(l1.visit, smallint[]) is
    'Lists all live sources of some detectors of a visit, to be withdrawn';
