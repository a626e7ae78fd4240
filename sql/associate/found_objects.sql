create function l1_api.found_objects(p_visit l1.visit, p_survey l1.survey, p_stamp timestamptz)
returns void
language plpgsql
volatile
set search_path = pg_catalog, l1, l1_api, public, pg_temp
as $$
-- Function: l1_api.found_objects(3)
--
--   Opens the first version of every new object: what its one source says.
--
-- Parameters:
--   p_visit, p_survey  - the visit, and the rules in force
--   p_stamp            - stamp of this transaction
-- Reads:   pg_temp.assignment, pg_temp.stage_source
-- Writes:  l1.dia_object, l1.dia_object_band
begin
    insert into l1.dia_object (dia_object_id, validity_start, ra, ra_err, dec, dec_err, ra_dec_cov, n_dia_sources,
                               n_forced, first_dia_source_mjd_tai, last_dia_source_mjd_tai, n_good_dia_sources,
                               first_epoch_mjd_tai, radec_mjd_tai, earliest_mjd_tai)
    select a.dia_object_id, p_stamp, s.ra, s.ra_err, s.dec, s.dec_err, s.ra_dec_cov, 1,
           0, a.midpoint_mjd_tai, a.midpoint_mjd_tai,
           coalesce(s.reliability >= p_survey.forced_min_reliability, true)::integer, a.midpoint_mjd_tai,
           a.midpoint_mjd_tai, a.midpoint_mjd_tai
      from pg_temp.assignment a
      join pg_temp.stage_source s
        on s.ordinal = a.ordinal
     where a.is_new
     order by a.dia_object_id;

    insert into l1.dia_object_band (dia_object_id, band, validity_start, psf_flux_mean, psf_flux_mean_err,
                                    psf_flux_sigma, psf_flux_ndata, psf_flux_min, psf_flux_max, psf_flux_err_mean,
                                    psf_flux_chi2, science_flux_mean, science_flux_mean_err, psf_flux_percentile05,
                                    psf_flux_percentile25, psf_flux_percentile50, psf_flux_percentile75,
                                    psf_flux_percentile95, psf_flux_mad, daily_ndata)
    select a.dia_object_id, p_visit.band, p_stamp, s.psf_flux, s.psf_flux_err,
           null, 1, s.psf_flux, s.psf_flux, s.psf_flux_err,
           0, case when s.science_flux_err > 0 then s.science_flux end,
           case when s.science_flux is not null and s.science_flux_err > 0 then s.science_flux_err end, shape.psf_flux,
           shape.psf_flux, shape.psf_flux, shape.psf_flux,
           shape.psf_flux, shape.deviation, shape.n
      from pg_temp.assignment a
      join pg_temp.stage_source s
        on s.ordinal = a.ordinal
      left join lateral (
        select s.psf_flux, 0 as deviation, 1 as n
      ) as shape
        on p_survey.statistics_at_ingest = 'all'
     where a.is_new
     order by a.dia_object_id;
end
$$;
comment on function l1_api.found_objects(l1.visit, l1.survey, timestamptz) is 'Opens the first version of every new object';
