create function l1_api.open_versions(p_band text, p_stamp timestamptz, p_withdraws boolean)
returns void
language plpgsql
volatile
set search_path = pg_catalog, l1, l1_api, public, pg_temp
as $$
-- Function: l1_api.open_versions(3)
--
--   Closes the current version of every touched object and opens the next, likewise of each of its bands that changed.
--   Objects that have no detection left are for retire_objects.  The history triggers keep what is closed.
--
-- Parameters:
--   p_band       - the band that was measured; of objects where it may matter, every band was
--   p_stamp      - stamp of this transaction: end of the old versions and start of the new
--   p_withdraws  - whether epochs may have been taken away
-- Calls:   open_bands, close_bands
-- Reads:   pg_temp.touched, pg_temp.measured
-- Writes:  l1.dia_object (history by trigger)
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

    perform l1_api.open_bands(p_stamp, p_withdraws);

    -- What was taken away may leave bands without epochs, and so may the window.
    if p_withdraws or exists (select from pg_temp.touched t where t.all_bands) then
        perform l1_api.close_bands(p_band);
    end if;
end
$$;
comment on function l1_api.open_versions(text, timestamptz, boolean) is
    'Closes the current version of every touched object and opens the next';
