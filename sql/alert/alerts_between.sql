create function l1_api.alerts_between(
    p_seen           pg_snapshot,
    p_window_end     pg_snapshot,
    p_after_xid      xid8,
    p_after_alert_id bigint,
    p_not_before     timestamptz
)
returns setof l1.alert
language sql
stable
parallel safe
as $$
    -- Function: l1_api.alerts_between(5)
    --
    --   The alerts of transactions that one snapshot sees and another does not, in order of (xid, alert_id).
    --
    -- Parameters:
    --   p_seen, p_window_end           - not visible in the first, visible in the second
    --   p_after_xid, p_after_alert_id  - only those after this place; NULL: all
    --   p_not_before                   - only those stamped since; NULL: all
    -- Reads:  l1.alert
    --
    -- Algorithm:
    --   PgQ's: a sequence lies when transactions commit in another order than they began, a pair of snapshots does not.
    --   The range of xid is for the index; a transaction that was open in p_seen lies between its xmin and xmax.
    select a.*
      from l1.alert a
     where a.xid >= greatest(pg_snapshot_xmin(p_seen), p_after_xid)
       and a.xid < pg_snapshot_xmax(p_window_end)
       and pg_visible_in_snapshot(a.xid, p_window_end)
       and not pg_visible_in_snapshot(a.xid, p_seen)
       and (p_after_xid is null or (a.xid, a.alert_id) > (p_after_xid, p_after_alert_id))
       and (p_not_before is null or a.stamp >= p_not_before)
     order by a.xid, a.alert_id
$$;
comment on function l1_api.alerts_between(pg_snapshot, pg_snapshot, xid8, bigint, timestamptz) is
    'The alerts of transactions that one snapshot sees and another does not';
