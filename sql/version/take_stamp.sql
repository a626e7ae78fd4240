create function l1_api.take_stamp()
returns timestamptz
language plpgsql
volatile
set search_path = pg_catalog, l1, l1_api, pg_temp
as $$
-- Function: l1_api.take_stamp(0)
--
--   The one time that a writing transaction puts on every row it writes.  Taken after all locks, and later than every
--   stamp that was committed before, even where the clock was turned back: so also than every version that the
--   transaction may close, since each began with such a stamp.
--
-- Returns:
--   the stamp, also kept in the setting l1.stamp until the transaction ends
-- Reads:   l1.stamp
-- Writes:  l1.stamp
-- Locks:   advisory stamp_key(a lower bound of the stamp), shared, to the end of the transaction: it makes nobody wait,
--          and every role sees it in pg_locks
--
-- Algorithm:
--   First the announcement, then, in a statement of its own, a look at the stamps that are committed: settled_time
--   counts upon this order.
declare
    v_bound   timestamptz;
    v_stamp   timestamptz;
    v_settled timestamptz;
begin
    perform l1_api.refuse_other_isolation();
    v_bound := greatest(l1_api.clock(), (select max(s.stamp) from l1.stamp s) + interval '1 microsecond');
    perform pg_advisory_xact_lock_shared(l1_api.stamp_key(v_bound));

    v_stamp := greatest(v_bound,
                        l1_api.clock(),
                        (select max(s.stamp) from l1.stamp s) + interval '1 microsecond');
    v_settled := l1_api.settled_time(pg_current_snapshot());
    insert into l1.stamp (stamp, settled) values (v_stamp, v_settled);

    perform set_config('l1.stamp', to_char(v_stamp at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), true);
    return v_stamp;
end
$$;
comment on function l1_api.take_stamp() is 'The one time that a writing transaction puts on its rows';
