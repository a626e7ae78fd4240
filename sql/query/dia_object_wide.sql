create view l1_api.dia_object_wide as
    -- View: l1_api.dia_object_wide
    --
    --   One row per current DiaObject: its columns, and those of dia_object_band once for each band of the survey, named as
    --   LSST names them: u_psf_flux_mean, u_psf_flux_mean_err, ..., y_fp_flux_sigma.  A band in which the object has no epoch
    --   has 0 in <band>_psf_flux_ndata and NULL in its other columns.
    --
    --   The bands are a rule of the survey, so only a beginning stands here; shape_dia_object_wide makes the rest of it.
    --
    --   With more than six bands a join with cone_search has more tables than the planner puts in order at once (see
    --   join_collapse_limit), and reads more than it must; then ask for the cone here: where q3c_join(10.1, -5.2, ra, dec,
    --   5 / 3600.0).
    select o.*
      from l1.dia_object o;
select l1_api.shape_dia_object_wide();
