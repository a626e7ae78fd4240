create function l1_api.fit_motions(p_survey l1.survey, p_objects bigint[])
returns void
language plpgsql
volatile
set search_path = pg_catalog, l1, l1_api, public, pg_temp
set plan_cache_mode = force_custom_plan
as $$
-- Function: l1_api.fit_motions(2)
--
--   The proper motions of objects, from all their live detections, however old: by weighted least squares.
--
-- Parameters:
--   p_survey   - the rules in force: when a night ends
--   p_objects  - the objects
-- Reads:   l1.dia_object, l1.dia_source
-- Writes:  pg_temp.motion, a row for each object; NULL where detections are too few
--
-- Algorithm:
--   Needs ten detections of five nights, a year from the first to the last: less would take parallax for motion.  Positions
--   are projected onto the plane that touches the sky at the mean position; times count in years from the mean epoch.
--   Each position x has the weight W, the inverse of its covariance, turned from its own north to the plane's: at a pole
--   these differ.  With
--     A = sum W, B = sum W t, C = sum W t**2, p = sum W x, q = sum W x t:   S = C - B A^-1 B,   v = q - B A^-1 p
--   the motion is S^-1 v, its covariance S^-1, and chi squared falls by v S^-1 v compared with a fit without motion.
--   Where any detection has no errors, or absurd ones (below 4 microarcsec, above a degree), all weigh the same, and the
--   scatter tells the errors: chi squared is NULL.
--   A motion is followed if chi squared falls by more than 50, in units of what each of the 2 n - 4 degrees of freedom has
--   left of it where that is more than 1.  Honest errors do this to a star at rest once in 10^10 fits, understated or
--   missing ones once in 10^5 fits of ten detections, and less with more.  Sixty days are enough (spans_motion), else a
--   star of an arcsecond a year is lost in its first year.
-- Settings:
--   a plan kept for all times would have to look into every leaf
declare
    v_noon  double precision := p_survey.night_offset_hours::double precision / 24;
    v_first double precision;
    v_last  double precision;
begin
    select min(coalesce(o.earliest_mjd_tai, '-infinity')) - 1, max(o.last_dia_source_mjd_tai)
      into v_first, v_last
      from l1.dia_object o
     where o.dia_object_id = any (p_objects);

    insert into pg_temp.motion (dia_object_id, pm_ra, pm_ra_err, pm_dec, pm_dec_err, pm_ra_pm_dec_cov, pm_chi2, pm_ndata,
                                drift_ra, drift_dec, drift_err)
    select o.dia_object_id,
           case when span.is_year then l1_api.as_real(fit.pm_ra) end,
           case when span.is_year then l1_api.as_real(sqrt(fit.ra_variance * error.scale)) end,
           case when span.is_year then l1_api.as_real(fit.pm_dec) end,
           case when span.is_year then l1_api.as_real(sqrt(fit.dec_variance * error.scale)) end,
           case when span.is_year then l1_api.as_real(fit.covariance * error.scale) end,
           case when span.is_year and span.have_errors then l1_api.as_real(fit.chi2) end,
           case when span.is_year and fit.pm_ra is not null then span.n end,
           case when error.is_exceeded then l1_api.as_real(fit.pm_ra) end,
           case when error.is_exceeded then l1_api.as_real(fit.pm_dec) end,
           case when error.is_exceeded then l1_api.as_real(sqrt((fit.ra_variance + fit.dec_variance) / 2 * error.unit))
               end
      from l1.dia_object o
     cross join lateral (
        select count(*)::integer as n,
               count(distinct floor(x.midpoint_mjd_tai - v_noon)) >= 5
               and l1_api.spans_motion(count(*), max(x.midpoint_mjd_tai) - min(x.midpoint_mjd_tai)) as is_enough,
               max(x.midpoint_mjd_tai) - min(x.midpoint_mjd_tai) >= 365.25 as is_year,
               avg(x.midpoint_mjd_tai) as mjd,
               count(*) filter (where least(x.ra_err, x.dec_err) > 1e-9 and greatest(x.ra_err, x.dec_err) < 1)
                   = count(*) as have_errors
          from l1.dia_source x
         where x.dia_object_id = o.dia_object_id
           and not x.is_forced
           and x.midpoint_mjd_tai >= coalesce(o.earliest_mjd_tai, '-infinity') - 1
           and x.midpoint_mjd_tai >= v_first
           and x.midpoint_mjd_tai <= v_last
     ) as span
      left join lateral (
        select s.v1 * s.s22 / s.det - s.v2 * s.s12 / s.det as pm_ra,
               s.v2 * s.s11 / s.det - s.v1 * s.s12 / s.det as pm_dec,
               s.s22 / s.det as ra_variance,
               s.s11 / s.det as dec_variance,
               -s.s12 / s.det as covariance,
               (s.v1 * s.v1 * s.s22 - 2 * s.v1 * s.v2 * s.s12 + s.v2 * s.v2 * s.s11) / s.det as fall,
               greatest(0, s.chi2 - (s.v1 * s.v1 * s.s22 - 2 * s.v1 * s.v2 * s.s12 + s.v2 * s.v2 * s.s11) / s.det)
                   as chi2
          from (
            select e.*, e.s11 * e.s22 - e.s12 * e.s12 as det
              from (
                select r.c11 - g.g11 * r.b11 - g.g12 * r.b12 as s11,
                       r.c12 - g.g11 * r.b12 - g.g12 * r.b22 as s12,
                       r.c22 - g.g21 * r.b12 - g.g22 * r.b22 as s22,
                       r.q1 - g.g11 * r.p1 - g.g12 * r.p2 as v1,
                       r.q2 - g.g21 * r.p1 - g.g22 * r.p2 as v2,
                       r.chi2 - (r.p1 * r.p1 * r.a22 - 2 * r.p1 * r.p2 * r.a12 + r.p2 * r.p2 * r.a11)
                                / (r.a11 * r.a22 - r.a12 * r.a12) as chi2
                  from (
                    select sum(w.ww11) as a11, sum(w.ww12) as a12, sum(w.ww22) as a22,
                           sum(w.ww11 * w.t) as b11, sum(w.ww12 * w.t) as b12, sum(w.ww22 * w.t) as b22,
                           sum(w.ww11 * w.t * w.t) as c11, sum(w.ww12 * w.t * w.t) as c12,
                           sum(w.ww22 * w.t * w.t) as c22,
                           sum(w.ww11 * w.x + w.ww12 * w.y) as p1, sum(w.ww12 * w.x + w.ww22 * w.y) as p2,
                           sum((w.ww11 * w.x + w.ww12 * w.y) * w.t) as q1,
                           sum((w.ww12 * w.x + w.ww22 * w.y) * w.t) as q2,
                           sum(w.ww11 * w.x * w.x + 2 * w.ww12 * w.x * w.y + w.ww22 * w.y * w.y) as chi2
                      from (
                        -- The weights, turned from the source's own north to that of the plane.
                        select (d.mjd - span.mjd) / 365.25 as t,
                               degrees(d.east / d.up) * 3600000 as x,
                               degrees(d.north / d.up) * 3600000 as y,
                               d.cos * d.cos * i.w11 - 2 * d.cos * d.sin * i.w12 + d.sin * d.sin * i.w22 as ww11,
                               d.cos * d.sin * (i.w11 - i.w22) + (d.cos * d.cos - d.sin * d.sin) * i.w12 as ww12,
                               d.sin * d.sin * i.w11 + 2 * d.cos * d.sin * i.w12 + d.cos * d.cos * i.w22 as ww22
                          from (
                            select x.midpoint_mjd_tai as mjd,
                                   cosd(x.dec) * sind(x.ra - o.ra) as east,
                                   cosd(o.dec) * sind(x.dec) - sind(o.dec) * cosd(x.dec) * cosd(x.ra - o.ra) as north,
                                   sind(o.dec) * sind(x.dec) + cosd(o.dec) * cosd(x.dec) * cosd(x.ra - o.ra) as up,
                                   cosd(x.ra - o.ra) as cos,
                                   sind(o.dec) * sind(x.ra - o.ra) as sin,
                                   x.ra_err::double precision * 3600000 as ra_err,
                                   x.dec_err::double precision * 3600000 as dec_err,
                                   case when abs(x.ra_dec_cov) < 0.999 * x.ra_err * x.dec_err
                                        then x.ra_dec_cov::double precision / x.ra_err / x.dec_err
                                        else 0 end as correlation
                              from l1.dia_source x
                             where x.dia_object_id = o.dia_object_id
                               and not x.is_forced
                               and x.midpoint_mjd_tai >= coalesce(o.earliest_mjd_tai, '-infinity') - 1
                               and x.midpoint_mjd_tai >= v_first
                               and x.midpoint_mjd_tai <= v_last
                          ) as d
                         cross join lateral (
                            select case when span.have_errors
                                        then 1 / (d.ra_err ^ 2 * (1 - d.correlation ^ 2)) else 1 end as w11,
                                   case when span.have_errors
                                        then -d.correlation / (d.ra_err * d.dec_err * (1 - d.correlation ^ 2))
                                        else 0 end as w12,
                                   case when span.have_errors
                                        then 1 / (d.dec_err ^ 2 * (1 - d.correlation ^ 2)) else 1 end as w22
                         ) as i
                      ) as w
                  ) as r
                 cross join lateral (
                    select (r.b11 * r.a22 - r.b12 * r.a12) / k.det as g11,
                           (r.b12 * r.a11 - r.b11 * r.a12) / k.det as g12,
                           (r.b12 * r.a22 - r.b22 * r.a12) / k.det as g21,
                           (r.b22 * r.a11 - r.b12 * r.a12) / k.det as g22
                      from (select r.a11 * r.a22 - r.a12 * r.a12 as det) as k
                 ) as g
              ) as e
          ) as s
         where s.s11 > 0
           and s.det > 1e-6 * s.s11 * s.s22
     ) as fit
        on span.is_enough
     cross join lateral (
        select residual.scale,
               residual.unit,
               fit.fall > 50 * residual.unit as is_exceeded
          from (
            select case when span.have_errors then 1 else fit.chi2 / (2 * span.n - 4) end as scale,
                   greatest(case when span.have_errors then 1 else 0 end, fit.chi2 / (2 * span.n - 4)) as unit
          ) as residual
     ) as error
     where o.dia_object_id = any (p_objects);
end
$$;
comment on function l1_api.fit_motions(l1.survey, bigint[]) is
    'The proper motions of objects, from all their live detections';
