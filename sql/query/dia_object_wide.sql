create view l1_api.dia_object_wide as
    -- View: l1_api.dia_object_wide
    --
    --   One row per current DiaObject: its columns, and those of dia_object_band once for each band of the survey, named as
    --   LSST names them: u_psf_flux_mean, u_psf_flux_mean_err, ..., y_fp_flux_sigma.  A band in which the object has no epoch
    --   has 0 in <band>_psf_flux_ndata and NULL in its other columns.
    --
    --   The bands are a rule of the survey, so only a beginning stands here; shape_dia_object_wide makes the rest of it.
    select o.*
      from l1.dia_object o;
select l1_api.shape_dia_object_wide();
