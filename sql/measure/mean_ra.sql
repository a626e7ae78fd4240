create function l1_api.mean_ra(p_x double precision, p_y double precision)
returns double precision
language sql
immutable
parallel safe
as $$
    -- Function: l1_api.mean_ra(2)
    --
    --   Right ascension of the direction (x, y, z), in [0, 360); the vector need not have length one.
    --
    -- Returns:  right ascension [deg]
    select case
               when atan2d(p_y, p_x) >= 0 then atan2d(p_y, p_x)
               when atan2d(p_y, p_x) + 360 < 360 then atan2d(p_y, p_x) + 360
               else 0
           end
$$;
comment on function l1_api.mean_ra(double precision, double precision) is
    'Right ascension of a mean of unit vectors, in [0, 360) [deg]';
