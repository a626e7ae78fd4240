create function l1_api.offset_variance(
    p_variance double precision,
    p_other    double precision,
    p_floor    double precision
)
returns double precision
language sql
immutable
parallel safe
as $$
    -- Function: l1_api.offset_variance(3)
    --
    --   Variance of the offset between two positions, per axis: the sum of theirs, not below the floor.
    --
    -- Parameters:
    --   p_variance, p_other  - variances of the positions [arcsec**2]
    --   p_floor              - least error to believe in [arcsec]
    -- Returns:
    --   variance [arcsec**2]; NULL where either is unknown, which greatest() alone would turn into the floor
    select case when p_variance + p_other is not null then greatest(p_variance + p_other, p_floor * p_floor) end
$$;
comment on function l1_api.offset_variance(double precision, double precision, double precision) is
    'Variance of the offset between two positions, per axis; NULL where either is unknown';
