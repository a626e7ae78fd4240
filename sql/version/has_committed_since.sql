create function l1_api.has_committed_since(p_seen pg_snapshot)
returns boolean
language plpgsql
volatile
parallel restricted
set search_path = pg_catalog, l1, l1_api, pg_temp
as $$
-- Function: l1_api.has_committed_since(1)
--
--   Whether any transaction has committed that a snapshot does not show.
--
-- Parameters:
--   p_seen  - the snapshot
-- Returns:
--   false: none has.  true: one has, or the server has forgotten.
--
-- Algorithm:
--   Under way at the snapshot were those that it lists, and maybe some from its xmax on: that is one after the last
--   that had ended, not the next to begin.  So the ids from there are tried one by one, up to the first that nobody has.
--   Where much is written a committed one comes soon, and where little is, the end.
declare
    v_xid xid8 := pg_snapshot_xmax(p_seen);
begin
    if exists (select
                 from pg_snapshot_xip(p_seen) as x (xid)
                where coalesce(pg_xact_status(x.xid), 'forgotten') not in ('in progress', 'aborted'))
    then
        return true;
    end if;
    loop
        if coalesce(pg_xact_status(v_xid), 'forgotten') not in ('in progress', 'aborted') then
            return true;
        end if;
        v_xid := (v_xid::text::bigint + 1)::text::xid8;
    end loop;
exception
    when invalid_parameter_value then  -- the id is in the future
        return false;
end
$$;
comment on function l1_api.has_committed_since(pg_snapshot) is
    'Whether any transaction has committed that a snapshot does not show';
