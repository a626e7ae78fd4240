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
-- Reads:   pg_temp.claim, pg_temp.assignment, pg_temp.calibration
-- Writes:  l1.visit_detector
begin
    with result as (
        select a.detector,
               count(*) as n_sources,
               count(*) filter (where a.dia_object_id is not null and not a.is_new) as n_associated,
               count(*) filter (where a.is_new) as n_new_objects,
               count(*) filter (where a.dia_object_id is null) as n_without_object,
               count(*) filter (where a.dia_object_id is not null and not a.is_repeated) as n_alerts
          from pg_temp.assignment a
         group by a.detector
    ), closing as (
        select c.detector, c.attempt, c.status, k.n_pairs, k.extra_variance, k.new_density,
               r.n_sources, r.n_associated, r.n_new_objects, r.n_without_object, r.n_alerts
          from pg_temp.claim c
          join pg_temp.calibration k
            on k.detector = c.detector
          left join result r
            on r.detector = c.detector
    )
    update l1.visit_detector v
       set n_sources = v.n_sources + coalesce(r.n_sources, 0),
           n_associated = v.n_associated + coalesce(r.n_associated, 0),
           n_new_objects = v.n_new_objects + coalesce(r.n_new_objects, 0),
           n_without_object = v.n_without_object + coalesce(r.n_without_object, 0),
           n_alerts = v.n_alerts + coalesce(r.n_alerts, 0),
           n_calibration_pairs = case when r.status = 'supplemented' then v.n_calibration_pairs else r.n_pairs end,
           extra_variance = r.extra_variance,
           new_source_density = r.new_density,
           time_processed = case when r.status = 'supplemented' then v.time_processed else p_stamp end,
           timings = p_timings - 'lap'
      from closing r
     where v.visit = p_visit.visit
       and v.detector = r.detector
       and v.attempt = r.attempt;
end
$$;
comment on function l1_api.close_ledger(l1.visit, timestamptz, jsonb) is
    'Enters the result into the ledger rows that were claimed';
