create view l1_api.dia_forced_source as
    -- View: l1_api.dia_forced_source
    --
    --   The forced measurements that are live, as LSST's table DiaForcedSource has them, with what l1db adds to it: whether
    --   it was made after the fact, its flags, and the flux on the difference of the snaps.  Fluxes are nJy, times of
    --   observation MJD TAI, times of processing those of the database.
    select s.dia_source_id as dia_forced_source_id,
           s.dia_object_id,
           s.ra,
           s.dec,
           s.visit,
           s.detector,
           s.psf_flux,
           s.psf_flux_err,
           s.midpoint_mjd_tai,
           s.science_flux,
           s.science_flux_err,
           s.band,
           s.time_processed,
           s.time_withdrawn,
           s.is_precovery,
           s.forced_flags,
           s.snap_diff_flux,
           s.snap_diff_flux_err
      from l1.dia_source s
     where s.is_forced;
comment on view l1_api.dia_forced_source is
    'The live forced measurements, in the columns of LSST''s DiaForcedSource';
