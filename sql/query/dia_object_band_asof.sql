create function l1_api.dia_object_band_asof(p_time timestamptz)
returns setof l1.dia_object_band
language sql
stable
parallel safe
as $$
    -- Function: l1_api.dia_object_band_asof(1)
    --
    --   The light-curve statistics as they were known at a time: a view with a parameter, which the planner takes apart.
    --
    -- Parameters:
    --   p_time  - database time; up to safe_asof() the answer is final
    -- Returns:
    --   the version of each object and band that held then, in the columns of l1.dia_object_band
    -- Reads:  l1.dia_object_band, l1.dia_object_band_history
    --
    -- The time is a table of one row, outside the union, for the reasons told in dia_object_asof.
    select v.dia_object_id, v.band, v.validity_start, v.psf_flux_mean, v.psf_flux_mean_err, v.psf_flux_sigma,
           v.psf_flux_ndata, v.psf_flux_min, v.psf_flux_max, v.psf_flux_err_mean, v.psf_flux_chi2,
           v.psf_flux_max_slope, v.science_flux_mean, v.science_flux_mean_err, v.science_flux_sigma, v.fp_flux_mean,
           v.fp_flux_mean_err, v.fp_flux_sigma,
           v.psf_flux_percentile05, v.psf_flux_percentile25, v.psf_flux_percentile50, v.psf_flux_percentile75,
           v.psf_flux_percentile95, v.psf_flux_mad, v.psf_flux_skew, v.psf_flux_stetson_j,
           v.psf_flux_linear_slope, v.psf_flux_linear_intercept, v.daily_ndata
      from (select p_time as time offset 0) as moment
      join (
        select b.dia_object_id, b.band, b.validity_start, b.psf_flux_mean, b.psf_flux_mean_err, b.psf_flux_sigma,
               b.psf_flux_ndata, b.psf_flux_min, b.psf_flux_max, b.psf_flux_err_mean, b.psf_flux_chi2,
               b.psf_flux_max_slope, b.science_flux_mean, b.science_flux_mean_err, b.science_flux_sigma,
               b.fp_flux_mean, b.fp_flux_mean_err, b.fp_flux_sigma,
               b.psf_flux_percentile05, b.psf_flux_percentile25, b.psf_flux_percentile50, b.psf_flux_percentile75,
               b.psf_flux_percentile95, b.psf_flux_mad, b.psf_flux_skew, b.psf_flux_stetson_j,
               b.psf_flux_linear_slope, b.psf_flux_linear_intercept, b.daily_ndata,
               null::timestamptz as validity_end
          from l1.dia_object_band b
        union all
        select h.dia_object_id, h.band, h.validity_start, h.psf_flux_mean, h.psf_flux_mean_err, h.psf_flux_sigma,
               h.psf_flux_ndata, h.psf_flux_min, h.psf_flux_max, h.psf_flux_err_mean, h.psf_flux_chi2,
               h.psf_flux_max_slope, h.science_flux_mean, h.science_flux_mean_err, h.science_flux_sigma,
               h.fp_flux_mean, h.fp_flux_mean_err, h.fp_flux_sigma,
               h.psf_flux_percentile05, h.psf_flux_percentile25, h.psf_flux_percentile50, h.psf_flux_percentile75,
               h.psf_flux_percentile95, h.psf_flux_mad, h.psf_flux_skew, h.psf_flux_stetson_j,
               h.psf_flux_linear_slope, h.psf_flux_linear_intercept, h.daily_ndata, h.validity_end
          from l1.dia_object_band_history h
     ) as v
        on v.validity_start <= moment.time
       and (v.validity_end > moment.time or v.validity_end is null)
$$;
comment on function l1_api.dia_object_band_asof(timestamptz) is 'The light-curve statistics of DiaObjects as they were known at a time';
