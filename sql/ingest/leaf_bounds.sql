create function l1_api.leaf_bounds(
    p_midpoint_mjd_tai double precision,
    out lower double precision,
    out upper double precision
)
language sql
stable
strict
parallel safe
as $$
    -- Function: l1_api.leaf_bounds(1)
    --
    --   The bounds of the partition leaf that a time falls into: 30 nights, from noon to noon of the survey, so that no
    --   night and no visit lies in two.
    --
    -- Parameters:
    --   p_midpoint_mjd_tai  - MJD TAI [d]
    -- Returns:
    --   lower, upper        - half-open range [lower, upper), MJD TAI [d]
    -- Reads:  l1.survey
    select 30 * floor((p_midpoint_mjd_tai - noon.mjd) / 30) + noon.mjd,
           30 * floor((p_midpoint_mjd_tai - noon.mjd) / 30) + noon.mjd + 30
      from (
        select s.night_offset_hours::double precision / 24 as mjd
          from l1_api.current_survey() as s
      ) as noon
$$;
comment on function l1_api.leaf_bounds(double precision) is
    'Bounds of the partition leaf that a time falls into, MJD TAI';
