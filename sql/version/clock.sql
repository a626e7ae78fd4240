create function l1_api.clock()
returns timestamptz
language sql
volatile
parallel safe
set search_path = pg_catalog, pg_temp
as $$
    -- Function: l1_api.clock(0)
    --
    --   The clock that stamps are taken from, in a place of its own so that tests can turn it back.
    select clock_timestamp()
$$;
comment on function l1_api.clock() is 'The clock that stamps are taken from';
