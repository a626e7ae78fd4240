create function l1_api.stamp_key(p_bound timestamptz)
returns bigint
language sql
immutable
strict
parallel safe
as $$
    -- Function: l1_api.stamp_key(1)
    --
    --   The advisory lock by which a writer announces a lower bound of its stamp.
    --
    -- Parameters:
    --   p_bound  - the bound, database time
    -- Returns:
    --   195 in the upper 9 bits, to tell it from foreign locks; microseconds since 2000 in the lower 55.  All other locks
    --   of l1db are pairs of integers, which PostgreSQL keeps apart from these.
    select (195::bigint << 55)
           + ((extract(epoch from p_bound) - extract(epoch from timestamptz '2000-01-01Z')) * 1000000)::bigint
$$;
comment on function l1_api.stamp_key(timestamptz) is 'The advisory lock that announces a lower bound of a stamp';
