create view l1_api.night_summary as
    -- View: l1_api.night_summary
    --
    --   What each night brought, by band, from the ledger: sources that are live, what their ingest made of them, and all
    --   alerts of detections that ingests issued, those of attempts that were replaced or withdrawn since among them.
    --   Alerts of forced measurements, retractions and what corrections issued are not: table alert has them.
    --
    -- Algorithm:
    --   An undone withdrawal made a further attempt with the times and counts of the withdrawn one.
    select v.day_obs,
           v.band,
           count(distinct d.visit) filter (where d.withdrawn_at is null) as n_visits,
           count(d.detector) filter (where d.withdrawn_at is null) as n_detectors,
           coalesce(sum(d.n_sources - d.n_withdrawn) filter (where d.withdrawn_at is null), 0) as n_sources,
           coalesce(sum(d.n_associated) filter (where d.withdrawn_at is null), 0) as n_associated,
           coalesce(sum(d.n_new_objects) filter (where d.withdrawn_at is null), 0) as n_new_objects,
           coalesce(sum(d.n_without_object) filter (where d.withdrawn_at is null), 0) as n_without_object,
           coalesce(sum(d.n_alerts) filter (where d.withdrawn_at is null
                                               or not exists (select
                                                                from l1.visit_detector again
                                                               where again.visit = d.visit
                                                                 and again.detector = d.detector
                                                                 and again.attempt > d.attempt
                                                                 and again.time_processed = d.time_processed)), 0)
               as n_alerts,
           max(d.time_processed) as last_processed
      from l1.visit v
      join l1.visit_detector d
        on d.visit = v.visit
     group by v.day_obs, v.band;
comment on view l1_api.night_summary is 'What each night brought, by band';
