create function l1_api.differs(
    p_stored   double precision,
    p_counted  double precision,
    p_relative double precision,
    p_absolute double precision
)
returns boolean
language sql
immutable
parallel safe
as $$
    -- Function: l1_api.differs(4)
    --
    --   Whether a stored number is another than the one that was counted anew, beyond rounding.
    --
    -- Parameters:
    --   p_stored, p_counted     - the numbers; both NULL: they are the same
    --   p_relative, p_absolute  - by how much they may differ, in units of the counted one, and in its own
    select (p_stored is null) <> (p_counted is null)
           or coalesce(not abs(p_stored - p_counted) <= p_relative * abs(p_counted) + p_absolute, false)
$$;
comment on function l1_api.differs(double precision, double precision, double precision, double precision) is
    'Whether a stored number is another than the one that was counted anew, beyond rounding';
