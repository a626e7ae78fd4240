create function l1_api.measure_objects(p_survey l1.survey)
returns void
language plpgsql
volatile
set search_path = pg_catalog, l1, l1_api, public, pg_temp
as $$
-- Function: l1_api.measure_objects(1)
--
--   Recomputes the touched objects, and their statistics in every band, from their live sources in the history window,
--   which counts back from the object's latest detection and is open at its end.  A window that moves may change bands that
--   the visit is not of.
--
-- Parameters:
--   p_survey  - the rules in force
-- Reads:   pg_temp.touched, l1.dia_source
-- Writes:  pg_temp.measured, pg_temp.measured_band
--
-- Algorithm:
--   Position: direction of the unweighted mean of the detections' unit vectors, as LSST's ap_meanPosition; its error from
--   theirs, sqrt(sum sigma**2) / n.  Forced rows carry the object's own position and would freeze it: they do not count.
--   The first of all windows' beginnings says the same once more, so that leaves before it are not even opened.
--   Flux: mean weighted by 1 / sigma**2 (ap_meanFlux), standard deviation with n - 1 (ap_sigmaFlux).
declare
    v_first double precision;
    v_rows  bigint;
begin
    select min(t.first_mjd_tai) into v_first from pg_temp.touched t;
    if v_first is null then
        return;
    end if;

    with member as (
        select t.dia_object_id,
               x.band,
               x.midpoint_mjd_tai as epoch_mjd_tai,
               not x.is_forced
               and coalesce(x.reliability >= p_survey.forced_min_reliability, true) as is_good,
               case when not x.is_forced then x.midpoint_mjd_tai end as midpoint_mjd_tai,
               case when not x.is_forced then cosd(x.dec) * cosd(x.ra) end as x,
               case when not x.is_forced then cosd(x.dec) * sind(x.ra) end as y,
               case when not x.is_forced then sind(x.dec) end as z,
               case when not x.is_forced then x.ra_err::double precision ^ 2 end as ra_variance,
               case when not x.is_forced then x.dec_err::double precision ^ 2 end as dec_variance,
               case when not x.is_forced then x.ra_dec_cov::double precision end as covariance,
               case when used.flux then x.psf_flux::double precision end as flux,
               case when used.flux then 1 / x.psf_flux_err::double precision ^ 2 end as weight
          from pg_temp.touched t
          join l1.dia_source x
            on x.dia_object_id = t.dia_object_id
           and x.midpoint_mjd_tai >= t.first_mjd_tai
           and x.midpoint_mjd_tai >= v_first
         cross join lateral (
            select (not x.is_forced or p_survey.stats_include_forced)
                   and x.psf_flux is not null
                   and x.psf_flux_err > 0 as flux
         ) as used
    ), part as materialized (
        select m.dia_object_id,
               m.band,
               count(*)::integer as n_rows,
               count(m.x)::integer as n_dia_sources,
               (count(*) filter (where m.is_good))::integer as n_good,
               min(m.epoch_mjd_tai) as epoch_mjd_tai,
               sum(m.x) as x,
               sum(m.y) as y,
               sum(m.z) as z,
               sum(m.ra_variance) as ra_variance,
               count(m.ra_variance)::integer as n_ra,
               sum(m.dec_variance) as dec_variance,
               count(m.dec_variance)::integer as n_dec,
               sum(m.covariance) as covariance,
               count(m.covariance)::integer as n_covariance,
               min(m.midpoint_mjd_tai) as first_mjd_tai,
               max(m.midpoint_mjd_tai) as last_mjd_tai,
               count(m.flux) as n_flux,
               sum(m.flux * m.weight) / sum(m.weight) as flux_mean,
               1 / sqrt(sum(m.weight)) as flux_mean_err,
               stddev_samp(m.flux) as flux_sigma,
               min(m.flux) as flux_min,
               max(m.flux) as flux_max
          from member m
         group by m.dia_object_id, m.band
    ), by_band as (
        insert into pg_temp.measured_band (dia_object_id, band, psf_flux_mean, psf_flux_mean_err, psf_flux_sigma,
                                           psf_flux_ndata, psf_flux_min, psf_flux_max)
        select part.dia_object_id, part.band, part.flux_mean, part.flux_mean_err, part.flux_sigma,
               part.n_flux, part.flux_min, part.flux_max
          from part
         where part.n_flux > 0
    )
    insert into pg_temp.measured (dia_object_id, ra, ra_err, dec, dec_err, ra_dec_cov, n_dia_sources, n_forced,
                                  n_good_dia_sources, first_mjd_tai, last_mjd_tai, first_epoch_mjd_tai)
    select part.dia_object_id,
           l1_api.mean_ra(sum(part.x), sum(part.y)),
           sqrt(sum(part.ra_variance) / nullif(sum(part.n_ra), 0) / nullif(sum(part.n_dia_sources), 0)),
           l1_api.mean_dec(sum(part.x), sum(part.y), sum(part.z)),
           sqrt(sum(part.dec_variance) / nullif(sum(part.n_dec), 0) / nullif(sum(part.n_dia_sources), 0)),
           sum(part.covariance) / nullif(sum(part.n_covariance), 0) / nullif(sum(part.n_dia_sources), 0),
           sum(part.n_dia_sources),
           sum(part.n_rows) - sum(part.n_dia_sources),
           sum(part.n_good),
           min(part.first_mjd_tai),
           max(part.last_mjd_tai),
           min(part.epoch_mjd_tai)
      from part
     group by part.dia_object_id;
    get diagnostics v_rows = row_count;

    perform l1_api.refresh_statistics('measured', v_rows);
    -- An object that has forced rows only is about to be retired.
    if exists (select from pg_temp.measured m where m.n_dia_sources = 0) then
        delete from pg_temp.measured_band b
         using pg_temp.measured m
         where m.dia_object_id = b.dia_object_id
           and m.n_dia_sources = 0;
    end if;
    perform l1_api.refresh_statistics('measured_band', (select count(*) from pg_temp.measured_band));
end
$$;
comment on function l1_api.measure_objects(l1.survey) is
    'Recomputes the touched objects from their live sources in the history window';
