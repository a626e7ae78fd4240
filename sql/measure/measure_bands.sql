create function l1_api.measure_bands(p_band text, p_survey l1.survey, p_first_mjd_tai double precision)
returns void
language plpgsql
volatile
set search_path = pg_catalog, l1, l1_api, public, pg_temp
as $$
-- Function: l1_api.measure_bands(3)
--
--   The light-curve statistics of the touched objects in a band, or, of those where it may matter, in every band.
--
-- Parameters:
--   p_band           - the band of the visit
--   p_survey         - the rules in force: whether forced rows enter the statistics (those of fp_flux are of them alone)
--   p_first_mjd_tai  - before this no window begins, MJD TAI [d]
-- Reads:   pg_temp.touched, l1.dia_source
-- Writes:  pg_temp.measured_band
--
-- Algorithm:
--   LSST's ap_meanFlux (weights 1 / sigma**2), ap_sigmaFlux (n - 1), ap_minMaxFlux, ap_meanErrFlux, ap_chi2Flux,
--   ap_maxSlopeFlux (successive epochs in order of time; equal times have no slope), ap_meanTotFlux, ap_sigmaTotFlux.
--   Sums of deviations from the first flux, not of fluxes: of a bright and quiet object chi2 is a small difference.
begin
    insert into pg_temp.measured_band (dia_object_id, band, psf_flux_mean, psf_flux_mean_err, psf_flux_sigma, psf_flux_ndata,
                                       psf_flux_min, psf_flux_max, psf_flux_err_mean, psf_flux_chi2, psf_flux_max_slope,
                                       science_flux_mean, science_flux_mean_err, science_flux_sigma,
                                       fp_flux_mean, fp_flux_mean_err, fp_flux_sigma)
    select t.dia_object_id, b.*
      from pg_temp.touched t
     cross join lateral (
        select e.band,
               min(e.origin) + sum(e.weight * e.deviation) / sum(e.weight),
               1 / sqrt(sum(e.weight)),
               stddev_samp(e.flux),
               count(e.weight)::integer,
               min(e.flux),
               max(e.flux),
               avg(e.flux_err),
               case when count(e.weight) > 0
                    then greatest(sum(e.weight * e.deviation ^ 2) - sum(e.weight * e.deviation) ^ 2 / sum(e.weight), 0) end,
               max(e.slope),
               sum(e.science_flux * e.science_weight) filter (where e.counts) / sum(e.science_weight) filter (where e.counts),
               1 / sqrt(sum(e.science_weight) filter (where e.counts)),
               stddev_samp(e.science_flux) filter (where e.counts),
               sum(e.science_flux * e.science_weight) filter (where e.is_forced)
                   / sum(e.science_weight) filter (where e.is_forced),
               1 / sqrt(sum(e.science_weight) filter (where e.is_forced)),
               stddev_samp(e.science_flux) filter (where e.is_forced)
          from (
            select c.*,
                   first_value(c.flux) over light_curve as origin,
                   c.flux - first_value(c.flux) over light_curve as deviation,
                   (c.flux - lag(c.flux) over light_curve)
                       / nullif(c.midpoint_mjd_tai - lag(c.midpoint_mjd_tai) over light_curve, 0) as slope
              from (
                select x.band,
                       x.midpoint_mjd_tai,
                       x.is_forced,
                       rule.counts,
                       case when rule.counts then x.psf_flux::double precision end as flux,
                       case when rule.counts and x.psf_flux is not null
                            then x.psf_flux_err::double precision end as flux_err,
                       case when rule.counts and x.psf_flux is not null and x.psf_flux_err > 0
                            then 1 / x.psf_flux_err::double precision ^ 2 end as weight,
                       x.science_flux::double precision as science_flux,
                       case when x.science_flux is not null and x.science_flux_err > 0
                            then 1 / x.science_flux_err::double precision ^ 2 end as science_weight
                  from l1.dia_source x
                 cross join lateral (
                    select not x.is_forced or p_survey.stats_include_forced as counts
                 ) as rule
                 where x.dia_object_id = t.dia_object_id
                   and x.midpoint_mjd_tai >= t.first_mjd_tai
                   and x.midpoint_mjd_tai >= p_first_mjd_tai
                   and (x.band = p_band or t.all_bands)
              ) as c
            window light_curve as (partition by c.band, c.flux is null order by c.midpoint_mjd_tai, c.flux)
          ) as e
         group by e.band
        having count(e.flux) > 0 or count(e.science_flux) > 0
     ) as b;
end
$$;
comment on function l1_api.measure_bands(text, l1.survey, double precision) is
    'The light-curve statistics of the touched objects in a band, or in every band where it may matter';
