create function l1_api.broken_consumers()
returns table (thing text, id bigint, found text)
language sql
stable
parallel safe
as $$
    -- Function: l1_api.broken_consumers(0)
    --
    --   The cursor of a consumer lies in the past and moves forward, and its open batches hold as many alerts as they
    --   say
    --
    -- Returns:
    --   what breaks this; nothing if all is well
    -- Reads: l1.alert_cursor, l1.alert_batch, l1.alert
    select 'alert_cursor', null::bigint, format('%s: %s', c.consumer, t.found)
      from l1.alert_cursor c
     cross join lateral (
        select case when greatest(pg_snapshot_xmax(c.seen), pg_snapshot_xmax(c.window_end)) > pg_snapshot_xmax(pg_current_snapshot())
                    then 'has seen transactions that are yet to come'
                    when pg_snapshot_xmax(c.window_end) < pg_snapshot_xmax(c.seen)
                    then 'its window ends before it begins'
                    when (c.after_xid is null) <> (c.after_alert_id is null) or c.after_xid is not null and c.window_end is null
                    then 'its place in the window is half known' end as found
     ) as t
     where t.found is not null
    union all
    select 'alert_batch', b.batch_id, format('holds %s alerts, not %s', counted.n, b.n_alerts)
      from l1.alert_batch b
     cross join lateral (
        select count(*) as n
          from l1_api.alerts_between(b.seen, b.window_end, b.after_xid, b.after_alert_id, b.not_before) as a
         where (a.xid, a.alert_id) <= (b.upto_xid, b.upto_alert_id)
     ) as counted
     where b.acked_at is null
       and counted.n <> b.n_alerts
$$;
comment on function l1_api.broken_consumers() is
    'The cursor of a consumer lies in the past and moves forward, and its open batches hold as many alerts as they say';
