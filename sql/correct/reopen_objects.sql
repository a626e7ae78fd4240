create function l1_api.reopen_objects(p_survey l1.survey, p_stamp timestamptz)
returns void
language plpgsql
volatile
set search_path = pg_catalog, l1, l1_api, public, pg_temp
as $$
-- Function: l1_api.reopen_objects(2)
--
--   Opens a version of the objects that have got sources and no current version: retired ones that have theirs back, and
--   new ones.
--
-- Parameters:
--   p_survey  - the rules in force
--   p_stamp   - stamp of this transaction
-- Reads:   pg_temp.measured, pg_temp.correcting
-- Writes:  l1.dia_object
begin
    insert into l1.dia_object (dia_object_id, validity_start, ra, ra_err, dec, dec_err, ra_dec_cov, n_dia_sources,
                               n_forced, first_dia_source_mjd_tai, last_dia_source_mjd_tai, n_good_dia_sources,
                               first_epoch_mjd_tai, radec_mjd_tai, earliest_mjd_tai, motion_is_due)
    select m.dia_object_id, p_stamp, m.ra, m.ra_err, m.dec, m.dec_err, m.ra_dec_cov, m.n_dia_sources,
           m.n_forced, m.first_mjd_tai, m.last_mjd_tai, m.n_good_dia_sources,
           m.first_epoch_mjd_tai, m.radec_mjd_tai, seen.earliest_mjd_tai,
           l1_api.spans_motion(case when p_survey.history_days is null then m.n_dia_sources end,
                               m.last_mjd_tai - seen.earliest_mjd_tai)
      from pg_temp.measured m
      join (
        select c.object, min(c.midpoint_mjd_tai) as earliest_mjd_tai
          from pg_temp.correcting c
         group by c.object
      ) as seen
        on seen.object = m.dia_object_id
     where m.n_dia_sources > 0
       and not exists (select from l1.dia_object o where o.dia_object_id = m.dia_object_id)
     order by m.dia_object_id;
end
$$;
comment on function l1_api.reopen_objects(l1.survey, timestamptz) is
    'Opens a version of the objects that have got sources and no current version';
