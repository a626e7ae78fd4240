create function l1_api.close_ledger(p_visit l1.visit, p_stamp timestamptz, p_timings jsonb)
returns void
language plpgsql
volatile
set search_path = pg_catalog, l1, l1_api, public, pg_temp
as $$
-- Function: l1_api.close_ledger(3)
--
--   Enters the result into the ledger rows that were claimed.
--
-- Parameters:
--   p_visit    - the visit
--   p_stamp    - stamp of this transaction
--   p_timings  - seconds per phase
-- Reads:   pg_temp.claim, pg_temp.assignment, pg_temp.calibration, l1.alert
-- Writes:  l1.visit_detector
begin
    with assigned as (
        select a.detector,
               count(*) as n_sources,
               count(*) filter (where a.dia_object_id is not null and not a.is_new) as n_associated,
               count(*) filter (where a.is_new) as n_new_objects,
               count(*) filter (where a.dia_object_id is null) as n_without_object
          from pg_temp.assignment a
         group by a.detector
    ), issued as (
        select x.detector,
               count(*) as n_alerts
          from l1.alert x
         where x.xid = pg_current_xact_id()
           and x.visit = p_visit.visit
         group by x.detector
    )
    update l1.visit_detector v
       set n_sources = v.n_sources + coalesce(r.n_sources, 0),
           n_associated = v.n_associated + coalesce(r.n_associated, 0),
           n_new_objects = v.n_new_objects + coalesce(r.n_new_objects, 0),
           n_without_object = v.n_without_object + coalesce(r.n_without_object, 0),
           n_alerts = v.n_alerts + coalesce(i.n_alerts, 0),
           n_calibration_pairs = case when c.status = 'supplemented' then v.n_calibration_pairs else k.n_pairs end,
           extra_variance = k.extra_variance,
           new_source_density = k.new_density,
           time_processed = case when c.status = 'supplemented' then v.time_processed else p_stamp end,
           timings = p_timings - 'lap'
      from pg_temp.claim c
      join pg_temp.calibration k
        on k.detector = c.detector
      left join assigned r
        on r.detector = c.detector
      left join issued i
        on i.detector = c.detector
     where v.visit = p_visit.visit
       and v.detector = c.detector
       and v.attempt = c.attempt;
end
$$;
comment on function l1_api.close_ledger(l1.visit, timestamptz, jsonb) is
    'Enters the result into the ledger rows that were claimed';
