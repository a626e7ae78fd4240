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
--   p_visit, p_survey  - the visit, and the rules in force
--   p_stamp            - stamp of this transaction: end of the old versions and start of the new
-- Calls:   open_bands, close_bands
-- Reads:   pg_temp.touched, pg_temp.measured, pg_temp.claim
-- Writes:  l1.dia_object (history by trigger)
--
-- Algorithm:
--   The motion stays as it is until measure_motions; it is due where detections changed and may be enough for one, or were.
--   A history window does not show how many there are.
declare
    v_withdraws boolean;
begin
    v_withdraws := exists (select from pg_temp.claim c where c.former_attempt is not null);
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
           earliest_mjd_tai = least(o.earliest_mjd_tai, m.first_mjd_tai, p_visit.midpoint_mjd_tai),
           motion_is_due = o.motion_is_due
               or (o.pm_ndata is not null or o.drift_ra is not null
                   or l1_api.spans_motion(
                          case when p_survey.history_days is null then m.n_dia_sources end,
                          m.last_mjd_tai - least(o.earliest_mjd_tai, m.first_mjd_tai, p_visit.midpoint_mjd_tai)))
              and (v_withdraws
                   or (o.n_dia_sources, o.ra, o.ra_err, o.dec, o.dec_err, o.ra_dec_cov, o.radec_mjd_tai)
                      is distinct from
                      (m.n_dia_sources, m.ra, m.ra_err, m.dec, m.dec_err, m.ra_dec_cov, m.radec_mjd_tai))
      from pg_temp.measured m
     where m.n_dia_sources > 0
       and o.dia_object_id = m.dia_object_id;

    perform l1_api.open_bands(p_stamp, v_withdraws);

    -- What a replacement left behind, or the window: bands without epochs, and objects without detections.
    if v_withdraws or exists (select from pg_temp.touched t where t.all_bands) then
        perform l1_api.close_bands(p_visit.band);
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
