create view l1_api.night_summary as
    -- View: l1_api.night_summary
    --
    --   What each night brought, by band, from the ledger: live attempts only.
    select v.day_obs,
           v.band,
           count(distinct v.visit) as n_visits,
           count(d.detector) as n_detectors,
           coalesce(sum(d.n_sources), 0) as n_sources,
           coalesce(sum(d.n_associated), 0) as n_associated,
           coalesce(sum(d.n_new_objects), 0) as n_new_objects,
           coalesce(sum(d.n_without_object), 0) as n_without_object,
           coalesce(sum(d.n_alerts), 0) as n_alerts,
           max(d.time_processed) as last_processed
      from l1.visit v
      left join l1.visit_detector d
        on d.visit = v.visit
       and d.withdrawn_at is null
     group by v.day_obs, v.band;
comment on view l1_api.night_summary is 'What each night brought, by band';
