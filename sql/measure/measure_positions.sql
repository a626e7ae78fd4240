create function l1_api.measure_positions(p_survey l1.survey, p_first_mjd_tai double precision)
returns void
language plpgsql
volatile
set search_path = pg_catalog, l1, l1_api, public, pg_temp
as $$
-- Function: l1_api.measure_positions(2)
--
--   Position, its mean epoch, times and counts of the touched objects.
--
-- Parameters:
--   p_survey         - the rules in force
--   p_first_mjd_tai  - before this no window begins, MJD TAI [d]
-- Reads:   pg_temp.touched, l1.dia_source
-- Writes:  pg_temp.measured
--
-- Algorithm:
--   Direction of the unweighted mean of the detections' unit vectors, as LSST's ap_meanPosition; its error from theirs,
--   sqrt(sum sigma**2) / n.  Forced rows carry the object's own position and would freeze it: they do not count.
--   All that is asked for is in the index dia_source_light_curve_idx, whose rows of an object are neighbours.
begin
    insert into pg_temp.measured (dia_object_id, ra, ra_err, dec, dec_err, ra_dec_cov, n_dia_sources, n_forced,
                                  n_good_dia_sources, first_mjd_tai, last_mjd_tai, first_epoch_mjd_tai,
                                  radec_mjd_tai)
    select t.dia_object_id,
           l1_api.mean_ra(s.x, s.y),
           sqrt(s.ra_variance / nullif(s.n, 0)),
           l1_api.mean_dec(s.x, s.y, s.z),
           sqrt(s.dec_variance / nullif(s.n, 0)),
           s.covariance / nullif(s.n, 0),
           s.n,
           s.n_forced,
           s.n_good,
           s.first_mjd_tai,
           s.last_mjd_tai,
           s.epoch_mjd_tai,
           s.mean_mjd_tai
      from pg_temp.touched t
     cross join lateral (
        select sum(cosd(x.dec) * cosd(x.ra)) filter (where not x.is_forced) as x,
               sum(cosd(x.dec) * sind(x.ra)) filter (where not x.is_forced) as y,
               sum(sind(x.dec)) filter (where not x.is_forced) as z,
               avg(x.ra_err::double precision ^ 2) filter (where not x.is_forced) as ra_variance,
               avg(x.dec_err::double precision ^ 2) filter (where not x.is_forced) as dec_variance,
               avg(x.ra_dec_cov::double precision) filter (where not x.is_forced) as covariance,
               (count(*) filter (where not x.is_forced))::integer as n,
               (count(*) filter (where x.is_forced))::integer as n_forced,
               (count(*) filter (
                    where not x.is_forced
                      and coalesce(x.reliability >= p_survey.forced_min_reliability, true)))::integer as n_good,
               min(x.midpoint_mjd_tai) filter (where not x.is_forced) as first_mjd_tai,
               max(x.midpoint_mjd_tai) filter (where not x.is_forced) as last_mjd_tai,
               min(x.midpoint_mjd_tai) as epoch_mjd_tai,
               avg(x.midpoint_mjd_tai) filter (where not x.is_forced) as mean_mjd_tai
          from l1.dia_source x
         where x.dia_object_id = t.dia_object_id
           and x.midpoint_mjd_tai >= t.first_mjd_tai
           and x.midpoint_mjd_tai >= p_first_mjd_tai
     ) as s
     where s.n + s.n_forced > 0;
end
$$;
comment on function l1_api.measure_positions(l1.survey, double precision) is
    'Position, times and counts of the touched objects';
