create function l1_api.close_ledger(p_visit l1.visit, p_stamp timestamptz, p_timings jsonb)
returns void
language plpgsql
volatile
set search_path = pg_catalog, l1, l1_api, public, pg_temp
as $$
-- Function: l1_api.close_ledger(3)
--
--   Enters the result into the ledger rows that were claimed.  What was stored before, and was added to or revised, keeps
--   what the ledger says of how it was stored; only the counts change.
--
-- Parameters:
--   p_visit    - the visit
--   p_stamp    - stamp of this transaction
--   p_timings  - seconds per phase
-- Reads:   pg_temp.claim, pg_temp.assignment, pg_temp.calibration
-- Writes:  l1.visit_detector; pg_temp.claim, the counts
begin
    update pg_temp.claim c
       set n_sources = result.n_sources,
           n_associated = result.n_associated,
           n_new_objects = result.n_new_objects,
           n_without_object = result.n_without_object,
           n_alerts = result.n_alerts
      from (
        select a.detector,
               count(*) filter (where not a.is_stored) as n_sources,
               count(*) filter (where a.dia_object_id is not null and not a.is_new) as n_associated,
               count(*) filter (where a.is_new) as n_new_objects,
               count(*) filter (where a.dia_object_id is null) - count(*) filter (where a.is_stored) as n_without_object,
               count(*) filter (where a.dia_object_id is not null and not a.is_repeated) as n_alerts
          from pg_temp.assignment a
         group by a.detector
      ) as result
     where result.detector = c.detector;

    update pg_temp.claim c
       set n_forced = result.n_forced
      from (select f.detector, count(*) as n_forced from pg_temp.forced f group by f.detector) as result
     where result.detector = c.detector;

    -- What was brought back in vain is as it was.
    update pg_temp.claim c
       set status = 'unchanged'
     where c.status = 'revised'
       and not exists (select from pg_temp.assignment a where a.detector = c.detector);

    if exists (select from pg_temp.claim c where c.status in ('supplemented', 'revised')) then
        update l1.visit_detector v
           set n_sources = v.n_sources + c.n_sources,
               n_associated = v.n_associated + c.n_associated,
               n_new_objects = v.n_new_objects + c.n_new_objects,
               n_without_object = v.n_without_object + c.n_without_object,
               n_alerts = v.n_alerts + c.n_alerts
          from pg_temp.claim c
         where c.status in ('supplemented', 'revised')
           and v.visit = p_visit.visit
           and v.detector = c.detector
           and v.attempt = c.attempt;
    end if;

    update l1.visit_detector v
       set n_sources = c.n_sources,
           n_associated = c.n_associated,
           n_new_objects = c.n_new_objects,
           n_without_object = c.n_without_object,
           n_alerts = c.n_alerts,
           n_forced = c.n_forced,
           n_forced_queued = c.n_forced_queued,
           image_trouble = d.image_trouble,
           n_calibration_pairs = k.n_pairs,
           extra_variance = k.extra_variance,
           new_source_density = k.new_density,
           time_processed = p_stamp,
           timings = p_timings - 'lap'
      from pg_temp.claim c
      join pg_temp.calibration k
        on k.detector = c.detector
      join pg_temp.stage_detector d
        on d.detector = c.detector
     where c.status in ('stored', 'replaced', 'released')
       and v.visit = p_visit.visit
       and v.detector = c.detector
       and v.attempt = c.attempt;
end
$$;
comment on function l1_api.close_ledger(l1.visit, timestamptz, jsonb) is
    'Enters the result into the ledger rows that were claimed';
