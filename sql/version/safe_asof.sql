create function l1_api.safe_asof()
returns timestamptz
language sql
stable
parallel unsafe
as $$
    -- Function: l1_api.safe_asof(0)
    --
    --   The newest time whose as-of answers are final: whatever commits later changes no answer at or before it.  This
    --   holds for the statement that asks as well: select * from dia_object_asof(safe_asof()).
    --
    -- Returns:
    --   database time; NULL while nothing is final, for which as-of functions answer with no row
    -- Calls:   settled_time, which tells how and why
    --
    -- STABLE, so that pg_current_snapshot() is that of the calling statement.
    select l1_api.settled_time(pg_catalog.pg_current_snapshot())
$$;
comment on function l1_api.safe_asof() is 'The newest time whose as-of answers are final';
