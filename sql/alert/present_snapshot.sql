create function l1_api.present_snapshot()
returns pg_snapshot
language plpgsql
volatile
set search_path = pg_catalog, l1, l1_api, pg_temp
as $$
-- Function: l1_api.present_snapshot(0)
--
--   The present snapshot, in which this transaction counts as open.  PostgreSQL's own does not list its owner, which would
--   count as seen as soon as a later transaction has committed; alerts that it writes afterwards would then be lost to
--   the consumer.
--
-- Returns:
--   pg_current_snapshot with this transaction's own xid in its list
-- Errors:
--   L1A07 if the database was restored into a cluster whose transactions are younger than the alerts
declare
    v_snapshot pg_snapshot := pg_current_snapshot();
    v_own      xid8 := pg_current_xact_id_if_assigned();
    v_open     text;
begin
    -- In one statement with its own snapshot: what it sees is older than that, unless it came from elsewhere.
    if exists (select
                 from l1.alert a
                where a.xid >= pg_snapshot_xmax(pg_current_snapshot())
                  and a.xid is distinct from v_own) then
        raise exception 'alerts are of transactions that this cluster has not seen yet: a dump was restored into it'
            using errcode = 'L1A07',
                  hint = 'Advance the new cluster with pg_resetwal --next-transaction-id before it takes the dump.';
    end if;
    -- Above xmax nothing counts as seen, and xmax must stay: others that are open there are in no list.
    if v_own is null or v_own >= pg_snapshot_xmax(v_snapshot) then
        return v_snapshot;
    end if;

    select string_agg(open.xid::text, ',' order by open.xid)
      into v_open
      from (select pg_snapshot_xip(v_snapshot) as xid union select v_own) as open;
    return format('%s:%s:%s',
                  least(pg_snapshot_xmin(v_snapshot), v_own),
                  pg_snapshot_xmax(v_snapshot),
                  v_open)::pg_snapshot;
end
$$;
comment on function l1_api.present_snapshot() is 'The present snapshot, in which this transaction counts as open';
