create function l1_api.as_real(p_value double precision)
returns real
language sql
immutable
parallel safe
as $$
    -- Function: l1_api.as_real(1)
    --
    --   A number in single precision.  Below the least that a real can hold it is 0, beyond the largest it says nothing;
    --   a cast would fail the whole visit.
    select case when abs(p_value) < 1.2e-38 then 0
                when abs(p_value) < 3.4e38 then p_value end::real
$$;
comment on function l1_api.as_real(double precision) is
    'A number in single precision: 0 below its range, NULL beyond';
