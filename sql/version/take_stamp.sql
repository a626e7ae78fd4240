create function l1_api.take_stamp(p_newest timestamptz)
returns timestamptz
language plpgsql
volatile
set search_path = pg_catalog, l1, l1_api, pg_temp
as $$
-- Function: l1_api.take_stamp(1)
--
--   The one time that a writing transaction puts on every row it writes.  Taken after all locks, and later than every
--   version the transaction will close, even where the clock was turned back.
--
-- Parameters:
--   p_newest  - newest validity_start among the rows to be touched; NULL: none exists
-- Returns:
--   the stamp, also kept in the setting l1.stamp until the transaction ends
declare
    v_stamp timestamptz;
begin
    v_stamp := greatest(l1_api.clock(), p_newest + interval '1 microsecond');
    perform set_config('l1.stamp', to_char(v_stamp at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), true);
    return v_stamp;
end
$$;
comment on function l1_api.take_stamp(timestamptz) is 'The one time that a writing transaction puts on its rows';
