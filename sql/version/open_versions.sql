create function l1_api.open_versions(
    p_band             text,
    p_survey           l1.survey,
    p_earliest_mjd_tai double precision,
    p_stamp            timestamptz,
    p_withdraws        boolean
)
returns void
language plpgsql
volatile
set search_path = pg_catalog, l1, l1_api, public, pg_temp
as $$
-- Function: l1_api.open_versions(5)
--
--   Closes the current version of every touched object and opens the next, likewise of each of its bands that changed.
--   Objects that have no detection left are for retire_objects.  The history triggers keep what is closed.
--
-- Parameters:
--   p_band              - the band that was measured; of objects where it may matter, every band was
--   p_survey            - the rules in force
--   p_earliest_mjd_tai  - no source that came in is earlier, MJD TAI [d]
--   p_stamp             - stamp of this transaction: end of the old versions and start of the new
--   p_withdraws         - whether epochs may have been taken away
-- Calls:   open_bands, close_bands
-- Reads:   pg_temp.touched, pg_temp.measured
-- Writes:  l1.dia_object (history by trigger)
--
-- Algorithm:
--   The motion stays as it is until measure_motions; it is due where detections changed and may be enough for one, or were.
--   A history window does not show how many there are.
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
           first_epoch_mjd_tai = m.first_epoch_mjd_tai,
           radec_mjd_tai = m.radec_mjd_tai,
           earliest_mjd_tai = least(o.earliest_mjd_tai, m.first_mjd_tai, p_earliest_mjd_tai),
           motion_is_due = o.motion_is_due
               or (o.pm_ndata is not null or o.drift_ra is not null
                   or l1_api.spans_motion(
                          case when p_survey.history_days is null then m.n_dia_sources end,
                          m.last_mjd_tai - least(o.earliest_mjd_tai, m.first_mjd_tai, p_earliest_mjd_tai)))
              and (p_withdraws
                   or (o.n_dia_sources, o.ra, o.ra_err, o.dec, o.dec_err, o.ra_dec_cov, o.radec_mjd_tai)
                      is distinct from
                      (m.n_dia_sources, m.ra, m.ra_err, m.dec, m.dec_err, m.ra_dec_cov, m.radec_mjd_tai))
      from pg_temp.measured m
     where m.n_dia_sources > 0
       and o.dia_object_id = m.dia_object_id;

    perform l1_api.open_bands(p_stamp, p_withdraws);

    -- What was taken away may leave bands without epochs, and so may the window.
    if p_withdraws or exists (select from pg_temp.touched t where t.all_bands) then
        perform l1_api.close_bands(p_band);
    end if;
end
$$;
comment on function l1_api.open_versions(text, l1.survey, double precision, timestamptz, boolean) is
    'Closes the current version of every touched object and opens the next';
