create view l1_api.dia_object_version as
    -- View: l1_api.dia_object_version
    --
    --   Every version of every DiaObject, former and current: [validity_start, validity_end) in database time.
    select h.dia_object_id,
           h.validity_start,
           h.validity_end,
           h.ra,
           h.ra_err,
           h.dec,
           h.dec_err,
           h.ra_dec_cov,
           h.n_dia_sources,
           h.n_forced,
           h.first_dia_source_mjd_tai,
           h.last_dia_source_mjd_tai,
           h.radec_mjd_tai,
           h.pm_ra,
           h.pm_ra_err,
           h.pm_dec,
           h.pm_dec_err,
           h.pm_ra_pm_dec_cov,
           h.pm_chi2,
           h.pm_ndata,
           h.drift_ra,
           h.drift_dec,
           h.drift_err,
           h.retired_reason,
           h.redirect_to
      from l1.dia_object_history h
    union all
    select o.dia_object_id,
           o.validity_start,
           null,
           o.ra,
           o.ra_err,
           o.dec,
           o.dec_err,
           o.ra_dec_cov,
           o.n_dia_sources,
           o.n_forced,
           o.first_dia_source_mjd_tai,
           o.last_dia_source_mjd_tai,
           o.radec_mjd_tai,
           o.pm_ra,
           o.pm_ra_err,
           o.pm_dec,
           o.pm_dec_err,
           o.pm_ra_pm_dec_cov,
           o.pm_chi2,
           o.pm_ndata,
           o.drift_ra,
           o.drift_dec,
           o.drift_err,
           null,
           null
      from l1.dia_object o;
comment on view l1_api.dia_object_version is
    'Every version of every DiaObject; validity_end is NULL for the current one';
