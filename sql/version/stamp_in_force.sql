create function l1_api.stamp_in_force()
returns timestamptz
language plpgsql
stable
set search_path = pg_catalog, l1, l1_api, pg_temp
as $$
-- Function: l1_api.stamp_in_force(0)
--
--   The stamp this transaction has taken.  History triggers close versions with it; a change of versioned rows without
--   one is refused.
--
-- Returns:
--   the stamp
declare
    v_stamp text := nullif(current_setting('l1.stamp', true), '');
begin
    if v_stamp is null then
        raise exception 'versioned rows change only under a stamp'
            using errcode = 'L1V01',
                  hint = 'Use the functions of l1_api, which call take_stamp first.';
    end if;
    return v_stamp::timestamptz;
end
$$;
comment on function l1_api.stamp_in_force() is 'The stamp this transaction has taken';
