create function l1_api.insert_sources(p_visit l1.visit, p_stamp timestamptz)
returns void
language plpgsql
volatile
set search_path = pg_catalog, l1, l1_api, public, pg_temp
as $$
-- Function: l1_api.insert_sources(2)
--
--   Stores the sources of the call with what was decided for them, and changes those that were brought back.
--
-- Parameters:
--   p_visit  - the visit
--   p_stamp  - stamp of this transaction
-- Reads:   pg_temp.stage_source, pg_temp.assignment
-- Writes:  l1.dia_source (history by trigger)
declare
    v_bounds record;
begin
    insert into l1.dia_source (
        dia_source_id, visit, detector, dia_object_id, ss_object_id, parent_dia_source_id,
        ss_object_reassoc_time_mjd_tai, midpoint_mjd_tai, exposure_time, ra, ra_err, dec, dec_err, ra_dec_cov, x,
        x_err, y, y_err, centroid_flag, ap_flux, ap_flux_err, ap_flux_flag, ap_flux_flag_aperture_truncated,
        is_negative, snr, psf_flux, psf_flux_err, psf_ln_l, psf_chi2, psf_ndata, psf_flux_flag, psf_flux_flag_edge,
        psf_flux_flag_no_good_pixels, trail_flux, trail_flux_err, trail_ra, trail_ra_err, trail_dec, trail_dec_err,
        trail_length, trail_length_err, trail_angle, trail_angle_err, trail_chi2, trail_ndata, trail_algorithm,
        trail_flag_edge, trail_flag, dipole_mean_flux, dipole_mean_flux_err, dipole_flux_diff, dipole_flux_diff_err,
        dipole_length, dipole_angle, dipole_chi2, dipole_ndata, science_flux, science_flux_err,
        forced_psf_flux_flag, forced_psf_flux_flag_edge, forced_psf_flux_flag_no_good_pixels, template_flux,
        template_flux_err, ixx, iyy, ixy, ixx_psf, iyy_psf, ixy_psf, shape_flag, shape_flag_no_pixels,
        shape_flag_not_contained, shape_flag_parent_source, extendedness, reliability, reliability_version, band,
        is_dipole, dipole_fit_attempted, time_processed, time_withdrawn, bbox_size, pixel_flags, pixel_flags_bad,
        pixel_flags_cr, pixel_flags_cr_center, pixel_flags_edge, pixel_flags_nodata, pixel_flags_nodata_center,
        pixel_flags_interpolated, pixel_flags_interpolated_center, pixel_flags_offimage, pixel_flags_saturated,
        pixel_flags_saturated_center, pixel_flags_suspect, pixel_flags_suspect_center, pixel_flags_streak,
        pixel_flags_streak_center, pixel_flags_injected, pixel_flags_injected_center, pixel_flags_injected_template,
        pixel_flags_injected_template_center, glint_trail, is_forced, is_precovery, snap_diff_flux,
        snap_diff_flux_err, no_object_reason, forced_flags, validity_start
    )
    select
        a.dia_source_id, p_visit.visit, a.detector, a.dia_object_id, null, s.parent_dia_source_id, null,
        a.midpoint_mjd_tai, coalesce(s.exposure_time, p_visit.exposure_time), s.ra, s.ra_err, s.dec, s.dec_err,
        s.ra_dec_cov, s.x, s.x_err, s.y, s.y_err, s.centroid_flag, s.ap_flux, s.ap_flux_err, s.ap_flux_flag,
        s.ap_flux_flag_aperture_truncated, s.is_negative, s.snr, s.psf_flux, s.psf_flux_err, s.psf_ln_l, s.psf_chi2,
        s.psf_ndata, s.psf_flux_flag, s.psf_flux_flag_edge, s.psf_flux_flag_no_good_pixels, s.trail_flux,
        s.trail_flux_err, s.trail_ra, s.trail_ra_err, s.trail_dec, s.trail_dec_err, s.trail_length,
        s.trail_length_err, s.trail_angle, s.trail_angle_err, s.trail_chi2, s.trail_ndata, s.trail_algorithm,
        s.trail_flag_edge, s.trail_flag, s.dipole_mean_flux, s.dipole_mean_flux_err, s.dipole_flux_diff,
        s.dipole_flux_diff_err, s.dipole_length, s.dipole_angle, s.dipole_chi2, s.dipole_ndata, s.science_flux,
        s.science_flux_err, s.forced_psf_flux_flag, s.forced_psf_flux_flag_edge,
        s.forced_psf_flux_flag_no_good_pixels, s.template_flux, s.template_flux_err, s.ixx, s.iyy, s.ixy, s.ixx_psf,
        s.iyy_psf, s.ixy_psf, s.shape_flag, s.shape_flag_no_pixels, s.shape_flag_not_contained,
        s.shape_flag_parent_source, s.extendedness, s.reliability, s.reliability_version, p_visit.band, s.is_dipole,
        s.dipole_fit_attempted, p_stamp, null, s.bbox_size, s.pixel_flags, s.pixel_flags_bad, s.pixel_flags_cr,
        s.pixel_flags_cr_center, s.pixel_flags_edge, s.pixel_flags_nodata, s.pixel_flags_nodata_center,
        s.pixel_flags_interpolated, s.pixel_flags_interpolated_center, s.pixel_flags_offimage,
        s.pixel_flags_saturated, s.pixel_flags_saturated_center, s.pixel_flags_suspect,
        s.pixel_flags_suspect_center, s.pixel_flags_streak, s.pixel_flags_streak_center, s.pixel_flags_injected,
        s.pixel_flags_injected_center, s.pixel_flags_injected_template, s.pixel_flags_injected_template_center,
        s.glint_trail, false, false, s.snap_diff_flux, s.snap_diff_flux_err, a.reason, null, p_stamp
      from pg_temp.assignment a
      join pg_temp.stage_source s
        on s.ordinal = a.ordinal
     where not a.is_stored
     order by a.dia_object_id;

    if exists (select from pg_temp.assignment a where a.is_stored) then
        select * into v_bounds from l1_api.leaf_bounds(p_visit.midpoint_mjd_tai);
        perform set_config('l1.closed_reason', 'revised', true);
        update l1.dia_source x
           set dia_object_id = a.dia_object_id,
               no_object_reason = a.reason,
               validity_start = p_stamp
          from pg_temp.assignment a
         where a.is_stored
           and x.dia_source_id = a.dia_source_id
           and x.midpoint_mjd_tai >= v_bounds.lower
           and x.midpoint_mjd_tai < v_bounds.upper;
        perform set_config('l1.closed_reason', '', true);
    end if;
end
$$;
comment on function l1_api.insert_sources(l1.visit, timestamptz) is
    'Stores the sources of the call with what was decided for them';
