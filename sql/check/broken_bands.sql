create function l1_api.broken_bands(
    p_first_object bigint default -9223372036854775808,
    p_last_object  bigint default 9223372036854775807
)
returns table (thing text, id bigint, found text)
language sql
stable
parallel safe
as $$
    -- Function: l1_api.broken_bands(2)
    --
    --   The statistics of an object in a band are those of its sources, and there are some for every band that has
    --   any
    --
    -- Parameters:
    --   p_first_object, p_last_object - only objects with ids from the one to the other, both included
    -- Returns:
    --   what breaks this; nothing if all is well
    -- Reads: l1.dia_object, l1.dia_object_band, l1.dia_source, l1_api.measuring_period
    --
    -- Algorithm:
    --   As broken_objects. A band is of the rules under which it or its object was measured last, whichever was later
    --   (measure_by_day opens versions of bands alone). A band that is missing is wrong only if it should be there by
    --   all rules since. Deviations are taken from the mean in a second pass, where measure_bands takes them from the
    --   first flux in one.
    with candidate as (
        select o.dia_object_id,
               o.validity_start,
               r.begins,
               r.ends,
               r.stats_include_forced,
               coalesce(o.last_dia_source_mjd_tai - r.history_days, '-infinity') as window_mjd_tai
          from l1.dia_object o
          join l1_api.measuring_period r
            on r.ends > o.validity_start - interval '1 hour'
         where o.dia_object_id between p_first_object and p_last_object
    ), epoch as (
        select c.dia_object_id,
               c.begins,
               x.band,
               x.midpoint_mjd_tai,
               x.is_forced,
               t.counts,
               x.science_flux::double precision as science_flux,
               case when x.science_flux_err > 0 and x.science_flux is not null
                    then 1 / (x.science_flux_err::double precision * x.science_flux_err) end as science_weight,
               case when t.counts then x.psf_flux::double precision end as flux,
               case when t.counts and x.psf_flux is not null then x.psf_flux_err::double precision end as flux_err,
               case when t.counts and x.psf_flux is not null and x.psf_flux_err > 0
                    then 1 / (x.psf_flux_err::double precision * x.psf_flux_err) end as weight
          from candidate c
          join l1.dia_source x
            on x.dia_object_id = c.dia_object_id
         cross join lateral (
            select not x.is_forced or c.stats_include_forced as counts
         ) as t
         where x.dia_object_id between p_first_object and p_last_object
           and x.midpoint_mjd_tai >= c.window_mjd_tai
    ), centred as (
        select e.*,
               sum(e.weight * e.flux) over band / sum(e.weight) over band as mean,
               lag(e.flux) over light_curve as former_flux,
               lag(e.midpoint_mjd_tai) over light_curve as former_mjd_tai
          from epoch e
        window band as (partition by e.dia_object_id, e.begins, e.band),
               light_curve as (partition by e.dia_object_id, e.begins, e.band, e.flux is null
                                   order by e.midpoint_mjd_tai, e.flux)
    ), counted as (
        select e.dia_object_id,
               e.begins,
               e.band,
               count(e.weight) as ndata,
               max(e.mean) as mean,
               1 / sqrt(sum(e.weight)) as mean_err,
               stddev_samp(e.flux) as sigma,
               min(e.flux) as min,
               max(e.flux) as max,
               avg(e.flux_err) as err_mean,
               sum(e.weight * (e.flux - e.mean) * (e.flux - e.mean)) as chi2,
               coalesce(sum(e.weight), 0) as weight,
               max((e.flux - e.former_flux) / (e.midpoint_mjd_tai - e.former_mjd_tai))
                   filter (where e.midpoint_mjd_tai > e.former_mjd_tai) as max_slope,
               sum(e.science_weight * e.science_flux) filter (where e.counts)
                   / sum(e.science_weight) filter (where e.counts) as science_mean,
               1 / sqrt(sum(e.science_weight) filter (where e.counts)) as science_mean_err,
               stddev_samp(e.science_flux) filter (where e.counts) as science_sigma,
               sum(e.science_weight * e.science_flux) filter (where e.is_forced)
                   / sum(e.science_weight) filter (where e.is_forced) as fp_mean,
               1 / sqrt(sum(e.science_weight) filter (where e.is_forced)) as fp_mean_err,
               stddev_samp(e.science_flux) filter (where e.is_forced) as fp_sigma,
               coalesce(max(abs(e.flux)), 0) as scale,
               coalesce(max(abs(e.science_flux)), 0) as science_scale
          from centred e
         group by e.dia_object_id, e.begins, e.band
        having count(e.flux) > 0
            or count(e.science_flux) > 0
    ), compared as materialized (
        select b.dia_object_id,
               b.band,
               c.begins,
               case when k.band is null then 'there is no epoch'
                    else nullif(concat_ws(', ', (
                        select string_agg(format('%s is %s, not %s', v.name, v.stored, v.counted), ', ')
                          from (values
                            ('psf_flux_ndata', b.psf_flux_ndata, k.ndata, 0),
                            ('psf_flux_mean', b.psf_flux_mean, k.mean, 1e-5 * k.scale),
                            ('psf_flux_mean_err', b.psf_flux_mean_err, k.mean_err, 0),
                            ('psf_flux_sigma', b.psf_flux_sigma, k.sigma, 1e-6 * k.scale),
                            ('psf_flux_min', b.psf_flux_min, k.min, 0),
                            ('psf_flux_max', b.psf_flux_max, k.max, 0),
                            ('psf_flux_err_mean', b.psf_flux_err_mean, k.err_mean, 0),
                            ('psf_flux_chi2', b.psf_flux_chi2, k.chi2,
                             1e-6 * k.ndata + 1e-15 * k.weight * (k.max - k.min) * (k.max - k.min)),
                            ('psf_flux_max_slope', b.psf_flux_max_slope, k.max_slope, 0),
                            ('science_flux_mean', b.science_flux_mean, k.science_mean, 1e-5 * k.science_scale),
                            ('science_flux_mean_err', b.science_flux_mean_err, k.science_mean_err, 0),
                            ('science_flux_sigma', b.science_flux_sigma, k.science_sigma, 1e-6 * k.science_scale),
                            ('fp_flux_mean', b.fp_flux_mean, k.fp_mean, 1e-5 * k.science_scale),
                            ('fp_flux_mean_err', b.fp_flux_mean_err, k.fp_mean_err, 0),
                            ('fp_flux_sigma', b.fp_flux_sigma, k.fp_sigma, 1e-6 * k.science_scale)
                          ) as v(name, stored, counted, tolerance)
                         where l1_api.differs(v.stored, v.counted, 1e-5, v.tolerance))), '') end as found
          from l1.dia_object_band b
          join candidate c
            on c.dia_object_id = b.dia_object_id
           and c.begins <= greatest(b.validity_start, c.validity_start)
           and c.ends > greatest(b.validity_start, c.validity_start) - interval '1 hour'
          left join counted k
            on k.dia_object_id = b.dia_object_id
           and k.begins = c.begins
           and k.band = b.band
         where b.dia_object_id between p_first_object and p_last_object
    )
    select 'dia_object_band', c.dia_object_id, c.band || ': ' || (array_agg(c.found order by c.begins desc))[1]
      from compared c
     group by c.dia_object_id, c.band
    having bool_and(c.found is not null)
    union all
    select 'dia_object_band', k.dia_object_id, format('%s: is missing, with %s epoch(s)', k.band, max(k.ndata))
      from counted k
      left join l1.dia_object_band b
        on b.dia_object_id = k.dia_object_id
       and b.band = k.band
       and b.dia_object_id between p_first_object and p_last_object
     where b.dia_object_id is null
     group by k.dia_object_id, k.band
    having count(*) = (select count(*) from candidate c where c.dia_object_id = k.dia_object_id)
$$;
comment on function l1_api.broken_bands(bigint, bigint) is
    'The statistics of an object in a band are those of its sources, and there are some for every band that has any';
