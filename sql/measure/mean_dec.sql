create function l1_api.mean_dec(p_x double precision, p_y double precision, p_z double precision)
returns double precision
language sql
immutable
parallel safe
as $$
    -- Function: l1_api.mean_dec(3)
    --
    --   Declination of the direction (x, y, z); the vector need not have length one.  The arc tangent keeps its precision
    --   at the poles, where the arc sine loses it.
    --
    -- Returns:  declination [deg]
    select atan2d(p_z, sqrt(p_x * p_x + p_y * p_y))
$$;
comment on function l1_api.mean_dec(double precision, double precision, double precision) is
    'Declination of a mean of unit vectors [deg]';
