create function l1_api.log_likelihood(
    p_separation       double precision,
    p_variance         double precision,
    p_extra_variance   double precision,
    p_outlier_fraction double precision,
    p_radius           double precision
)
returns double precision
language sql
immutable
parallel safe
as $$
    -- Function: l1_api.log_likelihood(5)
    --
    --   Log of the probability density of the offset between two positions of one thing.
    --
    -- Parameters:
    --   p_separation        - offset [arcsec]
    --   p_variance          - claimed variance of the offset per axis [arcsec**2]; NULL: unknown
    --   p_extra_variance    - what the detector's calibration adds to it [arcsec**2]
    --   p_outlier_fraction  - share of offsets that no error explains, spread evenly over the radius
    --   p_radius            - association radius [arcsec]
    -- Returns:
    --   natural logarithm of the density [arcsec**-2]; where the variance is unknown only the radius counts
    select ln(case when p_variance is null
                   then 1 / (pi() * p_radius ^ 2)
                   else (1 - p_outlier_fraction)
                        * exp(greatest(-(p_separation ^ 2) / (2 * (p_variance + p_extra_variance)), -700))
                        / (2 * pi() * (p_variance + p_extra_variance))
                        + p_outlier_fraction / (pi() * p_radius ^ 2)
              end)
$$;
comment on function l1_api.log_likelihood(double precision, double precision, double precision, double precision,
                                          double precision) is
    'Log of the probability density of the offset between two positions of one thing';
