create function l1_api.dia_object_asof(p_time timestamptz)
returns setof l1.dia_object
language sql
stable
parallel safe
as $$
    -- Function: l1_api.dia_object_asof(1)
    --
    --   The DiaObjects as they were known at a time: a view with a parameter, which the planner takes apart.
    --
    -- Parameters:
    --   p_time  - database time; up to safe_asof() the answer is final
    -- Returns:
    --   the version of each object that held then, in the columns of l1.dia_object; none of objects that were not yet
    --   founded or were retired
    -- Reads:  l1.dia_object, l1.dia_object_history
    --
    -- The time is a table of one row, which OFFSET 0 keeps apart: a function in its place is called once, not once a row.
    -- It stands outside the union, whose parts can so be looked up by the columns of another table.
    select v.dia_object_id, v.validity_start, v.ra, v.ra_err, v.dec, v.dec_err, v.ra_dec_cov, v.n_dia_sources,
           v.n_forced, v.first_dia_source_mjd_tai, v.last_dia_source_mjd_tai, v.n_good_dia_sources,
           v.first_epoch_mjd_tai, v.radec_mjd_tai, v.earliest_mjd_tai, v.pm_ra, v.pm_ra_err, v.pm_dec, v.pm_dec_err,
           v.pm_ra_pm_dec_cov, v.pm_chi2, v.pm_ndata, v.drift_ra, v.drift_dec, v.drift_err, v.motion_is_due
      from (select p_time as time offset 0) as moment
      join (
        select o.dia_object_id, o.validity_start, o.ra, o.ra_err, o.dec, o.dec_err, o.ra_dec_cov, o.n_dia_sources,
               o.n_forced, o.first_dia_source_mjd_tai, o.last_dia_source_mjd_tai, o.n_good_dia_sources,
               o.first_epoch_mjd_tai, o.radec_mjd_tai, o.earliest_mjd_tai, o.pm_ra, o.pm_ra_err, o.pm_dec,
               o.pm_dec_err, o.pm_ra_pm_dec_cov, o.pm_chi2, o.pm_ndata, o.drift_ra, o.drift_dec, o.drift_err, o.motion_is_due,
               null::timestamptz as validity_end
          from l1.dia_object o
        union all
        select h.dia_object_id, h.validity_start, h.ra, h.ra_err, h.dec, h.dec_err, h.ra_dec_cov, h.n_dia_sources,
               h.n_forced, h.first_dia_source_mjd_tai, h.last_dia_source_mjd_tai, h.n_good_dia_sources,
               h.first_epoch_mjd_tai, h.radec_mjd_tai, h.earliest_mjd_tai, h.pm_ra, h.pm_ra_err, h.pm_dec,
               h.pm_dec_err, h.pm_ra_pm_dec_cov, h.pm_chi2, h.pm_ndata, h.drift_ra, h.drift_dec, h.drift_err, h.motion_is_due,
               h.validity_end
          from l1.dia_object_history h
     ) as v
        on v.validity_start <= moment.time
       and (v.validity_end > moment.time or v.validity_end is null)
$$;
comment on function l1_api.dia_object_asof(timestamptz) is 'The DiaObjects as they were known at a time';
