create function l1_api.cut_alerts(
    p_seen           pg_snapshot,
    p_window_end     pg_snapshot,
    p_after_xid      xid8,
    p_after_alert_id bigint,
    p_not_before     timestamptz,
    p_limit          integer,
    out n_alerts      integer,
    out upto_xid      xid8,
    out upto_alert_id bigint
)
language sql
stable
set search_path = pg_catalog, l1, l1_api, pg_temp
as $$
    -- Function: l1_api.cut_alerts(6)
    --
    --   Where the next batch of a window ends.
    --
    -- Parameters:
    --   as alerts_between; p_limit: most alerts in the batch
    -- Returns:
    --   n_alerts                 - number of alerts in the batch; 0: the window is used up
    --   upto_xid, upto_alert_id  - the last of them
    with batch as (
        select a.xid,
               a.alert_id
          from l1_api.alerts_between(p_seen, p_window_end, p_after_xid, p_after_alert_id, p_not_before) as a
         limit p_limit
    ), last as (
        select batch.xid, batch.alert_id
          from batch
         order by batch.xid desc, batch.alert_id desc
         limit 1
    )
    select (select count(*)::integer from batch),
           (select last.xid from last),
           (select last.alert_id from last)
$$;
comment on function l1_api.cut_alerts(pg_snapshot, pg_snapshot, xid8, bigint, timestamptz, integer) is
    'Where the next batch of a window ends';
