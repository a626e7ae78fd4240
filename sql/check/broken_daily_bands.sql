create function l1_api.broken_daily_bands(
    p_first_object bigint default -9223372036854775808,
    p_last_object  bigint default 9223372036854775807
)
returns table (thing text, id bigint, found text)
language sql
stable
parallel safe
as $$
    -- Function: l1_api.broken_daily_bands(2)
    --
    --   The statistics that are measured by day are those of the sources, where they are said to be up to date
    --
    -- Parameters:
    --   p_first_object, p_last_object - only objects with ids from the one to the other, both included
    -- Returns:
    --   what breaks this; nothing if all is well
    -- Reads: l1.dia_object, l1.dia_object_band, l1.dia_source, l1_api.measuring_period
    --
    -- Algorithm:
    --   As broken_bands, but for Stetson's J, which stetson_j computes here too.
    with due as (
        select b.*,
               r.begins,
               r.stats_include_forced,
               coalesce(o.last_dia_source_mjd_tai - r.history_days, '-infinity') as window_mjd_tai
          from l1.dia_object_band b
          join l1.dia_object o
            on o.dia_object_id = b.dia_object_id
          join l1_api.measuring_period r
            on r.begins <= greatest(b.validity_start, o.validity_start)
           and r.ends > greatest(b.validity_start, o.validity_start) - interval '1 hour'
         where b.daily_ndata = b.psf_flux_ndata
           and b.dia_object_id between p_first_object and p_last_object
           and o.dia_object_id between p_first_object and p_last_object
    ), epoch as (
        select d.dia_object_id,
               d.begins,
               d.band,
               x.midpoint_mjd_tai as mjd,
               x.psf_flux::double precision as flux,
               case when x.psf_flux_err > 0 then x.psf_flux_err::double precision end as flux_err,
               case when x.psf_flux_err > 0 then 1 / (x.psf_flux_err::double precision * x.psf_flux_err) end as weight
          from due d
          join l1.dia_source x
            on x.dia_object_id = d.dia_object_id
           and x.band = d.band
         where x.dia_object_id between p_first_object and p_last_object
           and x.midpoint_mjd_tai >= d.window_mjd_tai
           and x.psf_flux is not null
           and (not x.is_forced or d.stats_include_forced)
    ), placed as (
        select e.dia_object_id,
               e.begins,
               e.band,
               count(e.weight) as ndata,
               percentile_cont(array[0.05, 0.25, 0.5, 0.75, 0.95]) within group (order by e.flux) as percentile,
               avg(e.flux) as mean,
               sum(e.weight * e.flux) / sum(e.weight) as fit_flux,
               sum(e.weight * e.mjd) / sum(e.weight) as fit_mjd,
               l1_api.stetson_j(array_agg(e.flux order by e.mjd, e.flux), array_agg(e.flux_err order by e.mjd, e.flux))
                   as stetson_j,
               max(abs(e.flux)) as scale
          from epoch e
         group by e.dia_object_id, e.begins, e.band
    ), shaped as (
        select p.dia_object_id,
               p.begins,
               p.band,
               percentile_cont(0.5) within group (order by abs(e.flux - p.percentile[3])) as mad,
               case when min(e.flux) < max(e.flux)
                    then sum((e.flux - p.mean) * (e.flux - p.mean) * (e.flux - p.mean)) / count(*)
                         / (sum((e.flux - p.mean) * (e.flux - p.mean)) / count(*)) ^ 1.5 end as skew,
               case when min(e.mjd) filter (where e.weight is not null) < max(e.mjd) filter (where e.weight is not null)
                    then sum(e.weight * (e.mjd - p.fit_mjd) * e.flux)
                         / sum(e.weight * (e.mjd - p.fit_mjd) * (e.mjd - p.fit_mjd)) end as slope,
               -- How much of the slope is noise of its computation.
               case when min(e.mjd) filter (where e.weight is not null) < max(e.mjd) filter (where e.weight is not null)
                    then sum(e.weight * abs(e.mjd - p.fit_mjd) * abs(e.flux))
                         / sum(e.weight * (e.mjd - p.fit_mjd) * (e.mjd - p.fit_mjd)) end as slope_scale
          from placed p
          join epoch e
            on e.dia_object_id = p.dia_object_id
           and e.begins = p.begins
           and e.band = p.band
         group by p.dia_object_id, p.begins, p.band
    ), compared as materialized (
        select d.dia_object_id,
               d.band,
               d.begins,
               (select string_agg(format('%s is %s, not %s', v.name, v.stored, v.counted), ', ')
                  from (values
                    ('daily_ndata', d.daily_ndata, coalesce(p.ndata, 0), 0),
                    ('psf_flux_percentile05', d.psf_flux_percentile05, p.percentile[1], 1e-6 * p.scale),
                    ('psf_flux_percentile25', d.psf_flux_percentile25, p.percentile[2], 1e-6 * p.scale),
                    ('psf_flux_percentile50', d.psf_flux_percentile50, p.percentile[3], 1e-6 * p.scale),
                    ('psf_flux_percentile75', d.psf_flux_percentile75, p.percentile[4], 1e-6 * p.scale),
                    ('psf_flux_percentile95', d.psf_flux_percentile95, p.percentile[5], 1e-6 * p.scale),
                    ('psf_flux_mad', d.psf_flux_mad, s.mad, 1e-6 * p.scale),
                    ('psf_flux_skew', d.psf_flux_skew, s.skew, 1e-5),
                    ('psf_flux_stetson_j', d.psf_flux_stetson_j, p.stetson_j, 1e-5),
                    ('psf_flux_linear_slope', d.psf_flux_linear_slope, s.slope, 1e-9 * s.slope_scale),
                    ('psf_flux_linear_intercept', d.psf_flux_linear_intercept, p.fit_flux - s.slope * p.fit_mjd,
                     1e-9 * (s.slope_scale * abs(p.fit_mjd) + p.scale))
                  ) as v(name, stored, counted, tolerance)
                 where l1_api.differs(v.stored, v.counted, 1e-5, coalesce(v.tolerance, 0))) as found
          from due d
          left join placed p
            on p.dia_object_id = d.dia_object_id
           and p.begins = d.begins
           and p.band = d.band
          left join shaped s
            on s.dia_object_id = d.dia_object_id
           and s.begins = d.begins
           and s.band = d.band
    )
    select 'dia_object_band', c.dia_object_id, c.band || ': ' || (array_agg(c.found order by c.begins desc))[1]
      from compared c
     group by c.dia_object_id, c.band
    having bool_and(c.found is not null)
$$;
comment on function l1_api.broken_daily_bands(bigint, bigint) is
    'The statistics that are measured by day are those of the sources, where they are said to be up to date';
