create function l1_api.measure_shapes(p_survey l1.survey, p_first_mjd_tai double precision)
returns void
language plpgsql
volatile
set search_path = pg_catalog, l1, l1_api, public, pg_temp
as $$
-- Function: l1_api.measure_shapes(2)
--
--   The statistics that look at a light curve more than once: percentiles, deviations about the median, skewness,
--   Stetson's J and the linear fit, of all bands that measure_bands has measured.
--
-- Parameters:
--   p_survey         - the rules in force: whether forced rows enter the statistics
--   p_first_mjd_tai  - before this no window begins, MJD TAI [d]
-- Reads:   pg_temp.touched, l1.dia_source
-- Writes:  pg_temp.measured_band
--
-- Algorithm:
--   LSST's ap_percentileFlux (linear interpolation), ap_madFlux, ap_skewFlux (of the population), ap_stetsonJ and
--   ap_linearFit (weights 1 / sigma**2; by deviations from the weighted means, since products of absolute times leave
--   no digits for the flux).  A light curve is read once; the later passes are over arrays.
begin
    update pg_temp.measured_band m
       set psf_flux_percentile05 = s.percentile[1],
           psf_flux_percentile25 = s.percentile[2],
           psf_flux_percentile50 = s.percentile[3],
           psf_flux_percentile75 = s.percentile[4],
           psf_flux_percentile95 = s.percentile[5],
           psf_flux_mad = l1_api.as_real(s.mad),
           psf_flux_skew = l1_api.as_real(s.skew),
           psf_flux_stetson_j = l1_api.as_real(s.stetson_j),
           psf_flux_linear_slope = s.slope,
           psf_flux_linear_intercept = s.fit_flux - s.slope * s.fit_mjd,
           daily_ndata = s.n
      from (
        select due.dia_object_id,
               curve.band,
               curve.n,
               curve.percentile,
               l1_api.stetson_j(curve.flux, curve.flux_err) as stetson_j,
               curve.fit_flux,
               curve.fit_mjd,
               shape.*
          from (
            select m.dia_object_id,
                   t.first_mjd_tai,
                   array_agg(m.band) as bands
              from pg_temp.measured_band m
              join pg_temp.touched t
                on t.dia_object_id = m.dia_object_id
             group by m.dia_object_id, t.first_mjd_tai
          ) as due
         cross join lateral (
            select e.band,
                   array_agg(e.flux) as flux,
                   array_agg(e.flux_err) as flux_err,
                   array_agg(e.midpoint_mjd_tai) as mjd,
                   count(e.weight)::integer as n,
                   avg(e.flux) as mean,
                   min(e.flux) < max(e.flux) as varies,
                   percentile_cont(array[0.05, 0.25, 0.5, 0.75, 0.95]) within group (order by e.flux) as percentile,
                   sum(e.weight * e.flux) / sum(e.weight) as fit_flux,
                   sum(e.weight * e.midpoint_mjd_tai) / sum(e.weight) as fit_mjd,
                   min(e.midpoint_mjd_tai) filter (where e.weight is not null)
                       < max(e.midpoint_mjd_tai) filter (where e.weight is not null) as lasts
              from (
                select x.band,
                       x.midpoint_mjd_tai,
                       x.psf_flux::double precision as flux,
                       case when x.psf_flux_err > 0 then x.psf_flux_err::double precision end as flux_err,
                       case when x.psf_flux_err > 0
                            then 1 / (x.psf_flux_err::double precision * x.psf_flux_err) end as weight
                  from l1.dia_source x
                 where x.dia_object_id = due.dia_object_id
                   and x.midpoint_mjd_tai >= due.first_mjd_tai
                   and x.midpoint_mjd_tai >= p_first_mjd_tai
                   and x.band = any (due.bands)
                   and (not x.is_forced or p_survey.stats_include_forced)
                   and x.psf_flux is not null
                 order by x.midpoint_mjd_tai, x.psf_flux
              ) as e
             group by e.band
         ) as curve
         cross join lateral (
            select percentile_cont(0.5) within group (order by abs(e.flux - curve.percentile[3])) as mad,
                   case when curve.varies
                        then avg(e.deviation * e.deviation * e.deviation)
                             / avg(e.deviation * e.deviation) ^ 1.5 end as skew,
                   case when curve.lasts
                        then sum((e.mjd - curve.fit_mjd) * (e.flux - curve.fit_flux) / (e.flux_err * e.flux_err))
                             / sum((e.mjd - curve.fit_mjd) * (e.mjd - curve.fit_mjd) / (e.flux_err * e.flux_err)) end
                       as slope
              from (
                select c.flux, c.flux_err, c.mjd, c.flux - curve.mean as deviation
                  from (
                    select unnest(curve.flux) as flux, unnest(curve.flux_err) as flux_err, unnest(curve.mjd) as mjd
                  ) as c
              ) as e
         ) as shape
      ) as s
     where m.dia_object_id = s.dia_object_id
       and m.band = s.band;

    -- Bands with total fluxes only.
    update pg_temp.measured_band m
       set daily_ndata = 0
     where m.daily_ndata is null;
end
$$;
comment on function l1_api.measure_shapes(l1.survey, double precision) is
    'Percentiles, skewness, Stetson''s J and the like of the bands that measure_bands has measured';
