create view l1_api.alert_candidate as
    -- View: l1_api.alert_candidate
    --
    --   What alerts are selected by: one row per alert, with its trigger and its DiaObject as they were known when it was
    --   issued; nothing that its packet does not say.
    select a.alert_id,
           a.kind,
           a.visit,
           a.detector,
           a.dia_source_id,
           a.dia_object_id,
           a.ss_object_id,
           a.midpoint_mjd_tai,
           a.stamp,
           s.band,
           s.ra,
           s.ra_err,
           s.dec,
           s.dec_err,
           s.x,
           s.y,
           s.snr,
           s.psf_flux,
           s.psf_flux_err,
           s.psf_chi2,
           s.psf_ndata,
           s.ap_flux,
           s.ap_flux_err,
           s.science_flux,
           s.science_flux_err,
           s.template_flux,
           s.template_flux_err,
           s.snap_diff_flux,
           s.snap_diff_flux_err,
           s.is_negative,
           s.is_dipole,
           s.trail_length,
           s.trail_angle,
           s.extendedness,
           s.reliability,
           s.glint_trail,
           s.pixel_flags,
           s.pixel_flags_edge,
           s.pixel_flags_saturated,
           s.pixel_flags_cr_center,
           s.is_forced,
           o.ra as object_ra,
           o.dec as object_dec,
           o.n_dia_sources,
           o.n_forced,
           o.first_dia_source_mjd_tai,
           o.last_dia_source_mjd_tai,
           a.midpoint_mjd_tai - o.first_dia_source_mjd_tai as days_since_first,
           o.n_dia_sources = 1 and a.kind = 'detection' as is_new,
           o.pm_ra,
           o.pm_dec,
           b.psf_flux_mean,
           b.psf_flux_sigma,
           b.psf_flux_ndata,
           b.psf_flux_min,
           b.psf_flux_max,
           b.psf_flux_chi2,
           b.psf_flux_max_slope,
           b.science_flux_mean
      from l1.alert a
     cross join lateral l1_api.dia_source_asof(
               case a.kind when 'retraction' then a.stamp - interval '1 microsecond' else a.stamp end) as s
      left join lateral (
        select version.*
          from l1_api.dia_object_asof(a.dia_object_version) as version
         where version.dia_object_id = a.dia_object_id
      ) as o
        on true
      left join lateral (
        select version.*
          from l1_api.dia_object_band_asof(a.dia_object_version) as version
         where version.dia_object_id = a.dia_object_id
           and version.band = s.band
      ) as b
        on true
     where s.dia_source_id = a.dia_source_id
       and s.midpoint_mjd_tai = a.midpoint_mjd_tai;
comment on view l1_api.alert_candidate is
    'What alerts are selected by: one row per alert, with its trigger and its DiaObject as they were known then';
