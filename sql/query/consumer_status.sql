create view l1_api.consumer_status as
    -- View: l1_api.consumer_status
    --
    --   How far behind each consumer of alerts is.
    select c.consumer,
           open.n_batches as open_batches,
           open.n_alerts as open_alerts,
           open.oldest as oldest_open,
           waiting.n_alerts as waiting_alerts,
           waiting.oldest as oldest_waiting
      from l1.alert_cursor c
     cross join lateral (
        select count(*) as n_batches,
               coalesce(sum(b.n_alerts), 0) as n_alerts,
               min(b.cut_at) as oldest
          from l1.alert_batch b
         where b.consumer = c.consumer
           and b.acked_at is null
     ) as open
     cross join lateral (
        select count(*) as n_alerts,
               min(a.stamp) as oldest
          from l1_api.alerts_between(c.seen, pg_current_snapshot(), c.after_xid, c.after_alert_id, c.not_before) as a
     ) as waiting;
comment on view l1_api.consumer_status is 'How far behind each consumer of alerts is';
