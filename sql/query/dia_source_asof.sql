create function l1_api.dia_source_asof(p_time timestamptz)
returns setof l1.dia_source
language sql
stable
parallel safe
as $$
    -- Function: l1_api.dia_source_asof(1)
    --
    --   The DiaSources, detected and forced, as they were known at a time: a view with a parameter, which the planner takes
    --   apart.
    --
    -- Parameters:
    --   p_time  - database time; up to safe_asof() the answer is final
    -- Returns:
    --   the version of each source that held then, in the columns of l1.dia_source; none of sources that came later or were
    --   withdrawn
    -- Reads:  l1.dia_source, l1.dia_source_history
    --
    -- The time is a table of one row, outside the union, for the reasons told in dia_object_asof.
    select v.dia_source_id, v.visit, v.detector, v.dia_object_id, v.ss_object_id, v.parent_dia_source_id,
           v.ss_object_reassoc_time_mjd_tai, v.midpoint_mjd_tai, v.exposure_time, v.ra, v.ra_err, v.dec, v.dec_err,
           v.ra_dec_cov, v.x, v.x_err, v.y, v.y_err, v.centroid_flag, v.ap_flux, v.ap_flux_err, v.ap_flux_flag,
           v.ap_flux_flag_aperture_truncated, v.is_negative, v.snr, v.psf_flux, v.psf_flux_err, v.psf_ln_l,
           v.psf_chi2, v.psf_ndata, v.psf_flux_flag, v.psf_flux_flag_edge, v.psf_flux_flag_no_good_pixels,
           v.trail_flux, v.trail_flux_err, v.trail_ra, v.trail_ra_err, v.trail_dec, v.trail_dec_err, v.trail_length,
           v.trail_length_err, v.trail_angle, v.trail_angle_err, v.trail_chi2, v.trail_ndata, v.trail_algorithm,
           v.trail_flag_edge, v.trail_flag, v.dipole_mean_flux, v.dipole_mean_flux_err, v.dipole_flux_diff,
           v.dipole_flux_diff_err, v.dipole_length, v.dipole_angle, v.dipole_chi2, v.dipole_ndata, v.science_flux,
           v.science_flux_err, v.forced_psf_flux_flag, v.forced_psf_flux_flag_edge,
           v.forced_psf_flux_flag_no_good_pixels, v.template_flux, v.template_flux_err, v.ixx, v.iyy, v.ixy,
           v.ixx_psf, v.iyy_psf, v.ixy_psf, v.shape_flag, v.shape_flag_no_pixels, v.shape_flag_not_contained,
           v.shape_flag_parent_source, v.extendedness, v.reliability, v.reliability_version, v.band, v.is_dipole,
           v.dipole_fit_attempted, v.time_processed, v.time_withdrawn, v.bbox_size, v.pixel_flags,
           v.pixel_flags_bad, v.pixel_flags_cr, v.pixel_flags_cr_center, v.pixel_flags_edge, v.pixel_flags_nodata,
           v.pixel_flags_nodata_center, v.pixel_flags_interpolated, v.pixel_flags_interpolated_center,
           v.pixel_flags_offimage, v.pixel_flags_saturated, v.pixel_flags_saturated_center, v.pixel_flags_suspect,
           v.pixel_flags_suspect_center, v.pixel_flags_streak, v.pixel_flags_streak_center, v.pixel_flags_injected,
           v.pixel_flags_injected_center, v.pixel_flags_injected_template, v.pixel_flags_injected_template_center,
           v.glint_trail, v.is_forced, v.is_precovery, v.snap_diff_flux, v.snap_diff_flux_err, v.no_object_reason,
           v.forced_flags, v.validity_start
      from (select p_time as time offset 0) as moment
      join (
        select s.dia_source_id, s.visit, s.detector, s.dia_object_id, s.ss_object_id, s.parent_dia_source_id,
               s.ss_object_reassoc_time_mjd_tai, s.midpoint_mjd_tai, s.exposure_time, s.ra, s.ra_err, s.dec,
               s.dec_err, s.ra_dec_cov, s.x, s.x_err, s.y, s.y_err, s.centroid_flag, s.ap_flux, s.ap_flux_err,
               s.ap_flux_flag, s.ap_flux_flag_aperture_truncated, s.is_negative, s.snr, s.psf_flux, s.psf_flux_err,
               s.psf_ln_l, s.psf_chi2, s.psf_ndata, s.psf_flux_flag, s.psf_flux_flag_edge,
               s.psf_flux_flag_no_good_pixels, s.trail_flux, s.trail_flux_err, s.trail_ra, s.trail_ra_err,
               s.trail_dec, s.trail_dec_err, s.trail_length, s.trail_length_err, s.trail_angle, s.trail_angle_err,
               s.trail_chi2, s.trail_ndata, s.trail_algorithm, s.trail_flag_edge, s.trail_flag, s.dipole_mean_flux,
               s.dipole_mean_flux_err, s.dipole_flux_diff, s.dipole_flux_diff_err, s.dipole_length, s.dipole_angle,
               s.dipole_chi2, s.dipole_ndata, s.science_flux, s.science_flux_err, s.forced_psf_flux_flag,
               s.forced_psf_flux_flag_edge, s.forced_psf_flux_flag_no_good_pixels, s.template_flux,
               s.template_flux_err, s.ixx, s.iyy, s.ixy, s.ixx_psf, s.iyy_psf, s.ixy_psf, s.shape_flag,
               s.shape_flag_no_pixels, s.shape_flag_not_contained, s.shape_flag_parent_source, s.extendedness,
               s.reliability, s.reliability_version, s.band, s.is_dipole, s.dipole_fit_attempted, s.time_processed,
               s.time_withdrawn, s.bbox_size, s.pixel_flags, s.pixel_flags_bad, s.pixel_flags_cr,
               s.pixel_flags_cr_center, s.pixel_flags_edge, s.pixel_flags_nodata, s.pixel_flags_nodata_center,
               s.pixel_flags_interpolated, s.pixel_flags_interpolated_center, s.pixel_flags_offimage,
               s.pixel_flags_saturated, s.pixel_flags_saturated_center, s.pixel_flags_suspect,
               s.pixel_flags_suspect_center, s.pixel_flags_streak, s.pixel_flags_streak_center,
               s.pixel_flags_injected, s.pixel_flags_injected_center, s.pixel_flags_injected_template,
               s.pixel_flags_injected_template_center, s.glint_trail, s.is_forced, s.is_precovery, s.snap_diff_flux,
               s.snap_diff_flux_err, s.no_object_reason, s.forced_flags, s.validity_start,
               null::timestamptz as validity_end
          from l1.dia_source s
        union all
        select h.dia_source_id, h.visit, h.detector, h.dia_object_id, h.ss_object_id, h.parent_dia_source_id,
               h.ss_object_reassoc_time_mjd_tai, h.midpoint_mjd_tai, h.exposure_time, h.ra, h.ra_err, h.dec,
               h.dec_err, h.ra_dec_cov, h.x, h.x_err, h.y, h.y_err, h.centroid_flag, h.ap_flux, h.ap_flux_err,
               h.ap_flux_flag, h.ap_flux_flag_aperture_truncated, h.is_negative, h.snr, h.psf_flux, h.psf_flux_err,
               h.psf_ln_l, h.psf_chi2, h.psf_ndata, h.psf_flux_flag, h.psf_flux_flag_edge,
               h.psf_flux_flag_no_good_pixels, h.trail_flux, h.trail_flux_err, h.trail_ra, h.trail_ra_err,
               h.trail_dec, h.trail_dec_err, h.trail_length, h.trail_length_err, h.trail_angle, h.trail_angle_err,
               h.trail_chi2, h.trail_ndata, h.trail_algorithm, h.trail_flag_edge, h.trail_flag, h.dipole_mean_flux,
               h.dipole_mean_flux_err, h.dipole_flux_diff, h.dipole_flux_diff_err, h.dipole_length, h.dipole_angle,
               h.dipole_chi2, h.dipole_ndata, h.science_flux, h.science_flux_err, h.forced_psf_flux_flag,
               h.forced_psf_flux_flag_edge, h.forced_psf_flux_flag_no_good_pixels, h.template_flux,
               h.template_flux_err, h.ixx, h.iyy, h.ixy, h.ixx_psf, h.iyy_psf, h.ixy_psf, h.shape_flag,
               h.shape_flag_no_pixels, h.shape_flag_not_contained, h.shape_flag_parent_source, h.extendedness,
               h.reliability, h.reliability_version, h.band, h.is_dipole, h.dipole_fit_attempted, h.time_processed,
               h.time_withdrawn, h.bbox_size, h.pixel_flags, h.pixel_flags_bad, h.pixel_flags_cr,
               h.pixel_flags_cr_center, h.pixel_flags_edge, h.pixel_flags_nodata, h.pixel_flags_nodata_center,
               h.pixel_flags_interpolated, h.pixel_flags_interpolated_center, h.pixel_flags_offimage,
               h.pixel_flags_saturated, h.pixel_flags_saturated_center, h.pixel_flags_suspect,
               h.pixel_flags_suspect_center, h.pixel_flags_streak, h.pixel_flags_streak_center,
               h.pixel_flags_injected, h.pixel_flags_injected_center, h.pixel_flags_injected_template,
               h.pixel_flags_injected_template_center, h.glint_trail, h.is_forced, h.is_precovery, h.snap_diff_flux,
               h.snap_diff_flux_err, h.no_object_reason, h.forced_flags, h.validity_start, h.validity_end
          from l1.dia_source_history h
     ) as v
        on v.validity_start <= moment.time
       and (v.validity_end > moment.time or v.validity_end is null)
$$;
comment on function l1_api.dia_source_asof(timestamptz) is 'The DiaSources, detected and forced, as they were known at a time';
