create function l1_api.settled_time(p_seen pg_snapshot)
returns timestamptz
language plpgsql
volatile
parallel unsafe
set search_path = pg_catalog, l1, l1_api, pg_temp
as $$
-- Function: l1_api.settled_time(1)
--
--   The newest time up to which nothing can change any more for a reader with a given snapshot: whatever carries a stamp
--   at or before it has committed and is seen there, or never will be.
--
-- Parameters:
--   p_seen  - pg_current_snapshot() of the reader's statement
-- Returns:
--   database time; NULL: no such time is known, since no transaction has taken a stamp or the first has yet to commit.
--   The same for the same snapshot throughout a transaction, so that one statement may ask several times.
-- Reads:   pg_locks, l1.stamp; setting l1.settled
-- Writes:  setting l1.settled, to the end of the transaction.  Hence PARALLEL UNSAFE.
--
-- Algorithm:
--   A writer first announces a bound of its stamp, as a lock that it holds until it has committed; then, in a statement
--   of its own, it reads the newest stamp, and takes a later one (take_stamp).  Here the locks are read first, and the
--   stamps by a later statement, whose snapshot is newer.  Let X be a transaction that the reader does not see.
--     - X holds its announcement while the locks are read: its stamp is at or after the bound.
--     - X held it and let go before: it had committed, since commit shows a transaction's rows before it frees its locks.
--       So the stamps that are read next have X, and it is told from those that the reader sees by its xid.
--     - X announces after the locks were read: it sees all that the reader sees, and its stamp is later.
--   So the newest stamp that the reader sees, if not later than all bounds nor than any stamp it does not see, is a time
--   that X will not come before.  Read the other way round, stamps and then locks, whoever commits in between escapes.
--
--   At REPEATABLE READ a later statement sees no more than the reader does.  The reasoning then holds if nobody has
--   committed since the snapshot was taken.  If somebody has, there remains what each writer found for itself in this way
--   and left with its stamp: what was settled for its snapshot is so for all who see its row.  A standby has no locks of
--   writers and knows that alone.
declare
    v_known     text[] := string_to_array(current_setting('l1.settled', true), ' ');
    v_bound     timestamptz;
    v_newest    timestamptz;
    v_unseen    timestamptz;
    v_by_others timestamptz;
    v_settled   timestamptz;
begin
    if v_known[1] = p_seen::text then
        return nullif(v_known[2], '')::timestamptz;
    end if;

    v_bound := l1_api.oldest_announced();

    v_newest := (select s.stamp
                   from l1.stamp s
                  where pg_visible_in_snapshot(s.xid, p_seen)
                  order by s.stamp desc
                  limit 1);
    v_unseen := (select min(s.stamp)
                   from l1.stamp s
                  where s.xid >= pg_snapshot_xmin(p_seen)
                    and not pg_visible_in_snapshot(s.xid, p_seen));
    v_by_others := (select s.settled
                      from l1.stamp s
                     where s.settled is not null
                       and pg_visible_in_snapshot(s.xid, p_seen)
                     order by s.settled desc
                     limit 1);

    if pg_is_in_recovery()
       or current_setting('transaction_isolation') not in ('read committed', 'read uncommitted')
          and l1_api.has_committed_since(p_seen)
    then
        v_newest := null;
    end if;

    if v_newest is not null then
        v_settled := least(v_newest, v_bound - interval '1 microsecond', v_unseen - interval '1 microsecond');
    end if;
    v_settled := greatest(v_settled, v_by_others);

    perform set_config('l1.settled',
                       p_seen::text || ' '
                       || coalesce(to_char(v_settled at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), ''),
                       true);
    return v_settled;
end
$$;
comment on function l1_api.settled_time(pg_snapshot) is
    'The newest time up to which nothing can change any more for a reader with this snapshot';
