create function l1_api.bounding_cap(
    p_ra     double precision[],
    p_dec    double precision[],
    out ra     double precision,
    out "dec"  double precision,
    out radius double precision
)
language sql
immutable
strict
parallel safe
set search_path = pg_catalog, public, pg_temp
as $$
    -- Function: l1_api.bounding_cap(2)
    --
    --   A circle on the sphere around all given points: centred on their mean direction.
    --
    -- Parameters:
    --   p_ra, p_dec  - positions [deg]
    -- Returns:
    --   ra, dec      - centre of the cap [deg]; NULL without points
    --   radius       - its radius [deg]
    with point as (
        select u.ra, u.dec
          from unnest(p_ra, p_dec) as u(ra, dec)
    ), mean as (
        select avg(cosd(point.dec) * cosd(point.ra)) as x,
               avg(cosd(point.dec) * sind(point.ra)) as y,
               avg(sind(point.dec)) as z
          from point
    ), centre as (
        select atan2d(mean.y, mean.x) as ra,
               atan2d(mean.z, sqrt(mean.x * mean.x + mean.y * mean.y)) as dec
          from mean
         where mean.x is not null
    )
    select centre.ra,
           centre.dec,
           max(q3c_dist(centre.ra, centre.dec, point.ra, point.dec))
      from centre, point
     group by centre.ra, centre.dec
$$;
comment on function l1_api.bounding_cap(double precision[], double precision[]) is
    'A circle on the sphere around all given points [deg]';
