create function l1_api.open_bands(p_stamp timestamptz, p_withdraws boolean)
returns void
language plpgsql
volatile
set search_path = pg_catalog, l1, l1_api, public, pg_temp
as $$
-- Function: l1_api.open_bands(2)
--
--   Closes the current version of every measured band that changed and opens the next; opens the first of bands that are
--   new to an object.
--
-- Parameters:
--   p_stamp      - stamp of this transaction
--   p_withdraws  - whether epochs may have been taken away
-- Reads:   pg_temp.measured_band
-- Writes:  l1.dia_object_band (history by trigger)
--
-- Algorithm:
--   What measure_shapes has not measured (daily_ndata NULL) stays as it is until measure_by_day.  What is due by day is
--   seen by its count, which lags behind psf_flux_ndata; where the epochs are others but as many, the count is emptied.
declare
    v_updated bigint;
begin
    update l1.dia_object_band b
       set validity_start = p_stamp,
           psf_flux_ndata = m.psf_flux_ndata,
           psf_flux_mean = m.psf_flux_mean,
           psf_flux_mean_err = m.psf_flux_mean_err,
           psf_flux_sigma = m.psf_flux_sigma,
           psf_flux_min = m.psf_flux_min,
           psf_flux_max = m.psf_flux_max,
           psf_flux_err_mean = m.psf_flux_err_mean,
           psf_flux_chi2 = m.psf_flux_chi2,
           psf_flux_max_slope = m.psf_flux_max_slope,
           science_flux_mean = m.science_flux_mean,
           science_flux_mean_err = m.science_flux_mean_err,
           science_flux_sigma = m.science_flux_sigma,
           fp_flux_mean = m.fp_flux_mean,
           fp_flux_mean_err = m.fp_flux_mean_err,
           fp_flux_sigma = m.fp_flux_sigma,
           psf_flux_percentile05
               = case when m.daily_ndata is null then b.psf_flux_percentile05 else m.psf_flux_percentile05 end,
           psf_flux_percentile25
               = case when m.daily_ndata is null then b.psf_flux_percentile25 else m.psf_flux_percentile25 end,
           psf_flux_percentile50
               = case when m.daily_ndata is null then b.psf_flux_percentile50 else m.psf_flux_percentile50 end,
           psf_flux_percentile75
               = case when m.daily_ndata is null then b.psf_flux_percentile75 else m.psf_flux_percentile75 end,
           psf_flux_percentile95
               = case when m.daily_ndata is null then b.psf_flux_percentile95 else m.psf_flux_percentile95 end,
           psf_flux_mad = case when m.daily_ndata is null then b.psf_flux_mad else m.psf_flux_mad end,
           psf_flux_skew = case when m.daily_ndata is null then b.psf_flux_skew else m.psf_flux_skew end,
           psf_flux_stetson_j = case when m.daily_ndata is null then b.psf_flux_stetson_j else m.psf_flux_stetson_j end,
           psf_flux_linear_slope
               = case when m.daily_ndata is null then b.psf_flux_linear_slope else m.psf_flux_linear_slope end,
           psf_flux_linear_intercept
               = case when m.daily_ndata is null then b.psf_flux_linear_intercept else m.psf_flux_linear_intercept end,
           daily_ndata = coalesce(m.daily_ndata, nullif(b.daily_ndata, m.psf_flux_ndata))
      from pg_temp.measured_band m
     where b.dia_object_id = m.dia_object_id
       and b.band = m.band
       and ((b.psf_flux_ndata, b.psf_flux_mean, b.psf_flux_mean_err, b.psf_flux_sigma, b.psf_flux_min, b.psf_flux_max,
             b.psf_flux_err_mean, b.psf_flux_chi2, b.psf_flux_max_slope, b.science_flux_mean, b.science_flux_mean_err,
             b.science_flux_sigma, b.fp_flux_mean, b.fp_flux_mean_err, b.fp_flux_sigma)
            is distinct from
            (m.psf_flux_ndata, m.psf_flux_mean, m.psf_flux_mean_err, m.psf_flux_sigma, m.psf_flux_min, m.psf_flux_max,
             m.psf_flux_err_mean, m.psf_flux_chi2, m.psf_flux_max_slope, m.science_flux_mean, m.science_flux_mean_err,
             m.science_flux_sigma, m.fp_flux_mean, m.fp_flux_mean_err, m.fp_flux_sigma)
            or p_withdraws and m.daily_ndata is null and b.daily_ndata = m.psf_flux_ndata
            or m.daily_ndata is not null
            and (b.psf_flux_percentile05, b.psf_flux_percentile25, b.psf_flux_percentile50, b.psf_flux_percentile75,
                 b.psf_flux_percentile95, b.psf_flux_mad, b.psf_flux_skew, b.psf_flux_stetson_j,
                 b.psf_flux_linear_slope, b.psf_flux_linear_intercept, b.daily_ndata)
                is distinct from
                (m.psf_flux_percentile05, m.psf_flux_percentile25, m.psf_flux_percentile50, m.psf_flux_percentile75,
                 m.psf_flux_percentile95, m.psf_flux_mad, m.psf_flux_skew, m.psf_flux_stetson_j,
                 m.psf_flux_linear_slope, m.psf_flux_linear_intercept, m.daily_ndata));
    get diagnostics v_updated = row_count;

    if v_updated < (select count(*) from pg_temp.measured_band) then
        insert into l1.dia_object_band (dia_object_id, band, validity_start, psf_flux_ndata, psf_flux_mean,
                                        psf_flux_mean_err, psf_flux_sigma, psf_flux_min, psf_flux_max,
                                        psf_flux_err_mean, psf_flux_chi2, psf_flux_max_slope, science_flux_mean,
                                        science_flux_mean_err, science_flux_sigma, fp_flux_mean, fp_flux_mean_err,
                                        fp_flux_sigma, psf_flux_percentile05, psf_flux_percentile25,
                                        psf_flux_percentile50, psf_flux_percentile75, psf_flux_percentile95,
                                        psf_flux_mad, psf_flux_skew, psf_flux_stetson_j, psf_flux_linear_slope,
                                        psf_flux_linear_intercept, daily_ndata)
        select m.dia_object_id, m.band, p_stamp, m.psf_flux_ndata, m.psf_flux_mean, m.psf_flux_mean_err,
               m.psf_flux_sigma, m.psf_flux_min, m.psf_flux_max, m.psf_flux_err_mean, m.psf_flux_chi2,
               m.psf_flux_max_slope, m.science_flux_mean, m.science_flux_mean_err, m.science_flux_sigma, m.fp_flux_mean,
               m.fp_flux_mean_err, m.fp_flux_sigma, m.psf_flux_percentile05, m.psf_flux_percentile25,
               m.psf_flux_percentile50, m.psf_flux_percentile75, m.psf_flux_percentile95,
               m.psf_flux_mad, m.psf_flux_skew, m.psf_flux_stetson_j, m.psf_flux_linear_slope,
               m.psf_flux_linear_intercept, m.daily_ndata
          from pg_temp.measured_band m
         where not exists (select
                             from l1.dia_object_band b
                            where b.dia_object_id = m.dia_object_id
                              and b.band = m.band)
         order by m.dia_object_id;
    end if;
end
$$;
comment on function l1_api.open_bands(timestamptz, boolean) is
    'Closes the current version of every measured band that changed and opens the next';
