create function l1_api.open_versions(p_visit l1.visit, p_survey l1.survey, p_stamp timestamptz)
returns void
language plpgsql
volatile
set search_path = pg_catalog, l1, l1_api, public, pg_temp
as $$
-- Function: l1_api.open_versions(3)
--
--   Closes the current version of every touched object and opens the next, likewise of each of its bands that changed;
--   retires those that have no detection left.
--   The history triggers keep what is closed.
--
-- Parameters:
--   p_survey  - the rules in force
--   p_stamp   - stamp of this transaction: end of the old versions and start of the new
-- Reads:   pg_temp.touched, pg_temp.measured, pg_temp.measured_band, pg_temp.claim
-- Writes:  l1.dia_object, l1.dia_object_band (histories by trigger)
declare
    v_updated   bigint;
    v_withdraws boolean;
begin
    update l1.dia_object o
       set validity_start = p_stamp,
           ra = m.ra,
           ra_err = m.ra_err,
           dec = m.dec,
           dec_err = m.dec_err,
           ra_dec_cov = m.ra_dec_cov,
           n_dia_sources = m.n_dia_sources,
           n_forced = m.n_forced,
           first_dia_source_mjd_tai = m.first_mjd_tai,
           last_dia_source_mjd_tai = m.last_mjd_tai,
           n_good_dia_sources = m.n_good_dia_sources,
           first_epoch_mjd_tai = m.first_epoch_mjd_tai
      from pg_temp.measured m
     where m.n_dia_sources > 0
       and o.dia_object_id = m.dia_object_id;

    update l1.dia_object_band b
       set validity_start = p_stamp,
           psf_flux_mean = m.psf_flux_mean,
           psf_flux_mean_err = m.psf_flux_mean_err,
           psf_flux_sigma = m.psf_flux_sigma,
           psf_flux_ndata = m.psf_flux_ndata,
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
           fp_flux_sigma = m.fp_flux_sigma
      from pg_temp.measured_band m
     where b.dia_object_id = m.dia_object_id
       and b.band = m.band
       and (b.psf_flux_ndata, b.psf_flux_mean, b.psf_flux_mean_err, b.psf_flux_sigma, b.psf_flux_min, b.psf_flux_max,
            b.psf_flux_err_mean, b.psf_flux_chi2, b.psf_flux_max_slope, b.science_flux_mean, b.science_flux_mean_err,
            b.science_flux_sigma, b.fp_flux_mean, b.fp_flux_mean_err, b.fp_flux_sigma)
           is distinct from
           (m.psf_flux_ndata, m.psf_flux_mean, m.psf_flux_mean_err, m.psf_flux_sigma, m.psf_flux_min, m.psf_flux_max,
            m.psf_flux_err_mean, m.psf_flux_chi2, m.psf_flux_max_slope, m.science_flux_mean, m.science_flux_mean_err,
            m.science_flux_sigma, m.fp_flux_mean, m.fp_flux_mean_err, m.fp_flux_sigma);
    get diagnostics v_updated = row_count;

    -- Bands that are new to an object.
    if v_updated < (select count(*) from pg_temp.measured_band) then
        insert into l1.dia_object_band (dia_object_id, band, validity_start, psf_flux_mean, psf_flux_mean_err,
                                        psf_flux_sigma, psf_flux_ndata, psf_flux_min, psf_flux_max, psf_flux_err_mean,
                                        psf_flux_chi2, psf_flux_max_slope, science_flux_mean, science_flux_mean_err,
                                        science_flux_sigma, fp_flux_mean, fp_flux_mean_err, fp_flux_sigma)
        select m.dia_object_id, m.band, p_stamp, m.psf_flux_mean, m.psf_flux_mean_err,
               m.psf_flux_sigma, m.psf_flux_ndata, m.psf_flux_min, m.psf_flux_max, m.psf_flux_err_mean,
               m.psf_flux_chi2, m.psf_flux_max_slope, m.science_flux_mean, m.science_flux_mean_err,
               m.science_flux_sigma, m.fp_flux_mean, m.fp_flux_mean_err, m.fp_flux_sigma
          from pg_temp.measured_band m
         where not exists (select
                             from l1.dia_object_band b
                            where b.dia_object_id = m.dia_object_id
                              and b.band = m.band)
         order by m.dia_object_id;
    end if;

    -- Bands that have no epoch in the window any more, and what a replacement left behind: objects without detections.
    v_withdraws := exists (select from pg_temp.claim c where c.former_attempt is not null);
    if v_withdraws or exists (select from pg_temp.touched t where t.all_bands) then
        delete from l1.dia_object_band b
         using pg_temp.touched t
         where b.dia_object_id = t.dia_object_id
           and (b.band = p_visit.band or t.all_bands)
           and not exists (select
                             from pg_temp.measured_band m
                            where m.dia_object_id = b.dia_object_id
                              and m.band = b.band);
    end if;
    if v_withdraws then
        perform set_config('l1.closed_reason', 'orphaned', true);
        delete from l1.dia_object o
         using pg_temp.touched t
          left join pg_temp.measured m
            on m.dia_object_id = t.dia_object_id
         where o.dia_object_id = t.dia_object_id
           and coalesce(m.n_dia_sources, 0) = 0;
        perform set_config('l1.closed_reason', '', true);
    end if;
end
$$;
comment on function l1_api.open_versions(l1.visit, l1.survey, timestamptz) is
    'Closes the current version of every touched object and opens the next';
