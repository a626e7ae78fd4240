create function l1_api.place_at(
    p_ra     double precision,
    p_dec    double precision,
    p_pm_ra  double precision,
    p_pm_dec double precision,
    p_days   double precision
)
returns table (ra double precision, "dec" double precision)
language sql
immutable
parallel safe
rows 1
as $$
    -- Function: l1_api.place_at(5)
    --
    --   Where something is that moves: a step along the tangent plane, so that neither 0h nor the poles are a border.
    --
    -- Parameters:
    --   p_ra, p_dec        - where it was [deg]
    --   p_pm_ra, p_pm_dec  - proper motion, in ra including cos(dec) [mas/yr]
    --   p_days             - time since then [d]
    -- Returns:
    --   ra, dec            - where it is [deg]
    select l1_api.mean_ra(v.x, v.y),
           l1_api.mean_dec(v.x, v.y, v.z)
      from (
        select cosd(p_dec) * cosd(p_ra) - step.east * sind(p_ra) - step.north * sind(p_dec) * cosd(p_ra) as x,
               cosd(p_dec) * sind(p_ra) + step.east * cosd(p_ra) - step.north * sind(p_dec) * sind(p_ra) as y,
               sind(p_dec) + step.north * cosd(p_dec) as z
          from (
            select radians(p_pm_ra / 3600000) * p_days / 365.25 as east,
                   radians(p_pm_dec / 3600000) * p_days / 365.25 as north
          ) as step
      ) as v
$$;
comment on function l1_api.place_at(double precision, double precision, double precision, double precision,
                                    double precision) is
    'Where something is that moves';
