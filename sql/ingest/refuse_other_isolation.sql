create function l1_api.refuse_other_isolation()
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
-- Function: l1_api.refuse_other_isolation(0)
--
--   Stops a writer that runs at another isolation level than READ COMMITTED: behind a lock it would go on reading the
--   snapshot from before the lock, and decide upon stale rows.
begin
    if current_setting('transaction_isolation') <> 'read committed' then
        raise exception 'l1db writes at isolation level read committed only, not %',
                        current_setting('transaction_isolation')
            using errcode = 'L1I01',
                  hint = 'BEGIN ISOLATION LEVEL READ COMMITTED.';
    end if;
end
$$;
comment on function l1_api.refuse_other_isolation() is 'Stops a writer at another isolation level than READ COMMITTED';
