create function l1_api.broken_objects(
    p_first_object bigint default -9223372036854775808,
    p_last_object  bigint default 9223372036854775807
)
returns table (thing text, id bigint, found text)
language sql
stable
parallel safe
as $$
    -- Function: l1_api.broken_objects(2)
    --
    --   Position, errors, times and counts of an object are those of its sources, and it has a detection
    --
    -- Parameters:
    --   p_first_object, p_last_object - only objects with ids from the one to the other, both included
    -- Returns:
    --   what breaks this; nothing if all is well
    -- Reads: l1.dia_object, l1.dia_source, l1_api.measuring_period
    --
    -- Algorithm:
    --   Counted anew from the live sources, by the rules that were in force when the version was opened: they changed
    --   with no source since, so they still are what they then were. Where rules changed within the hour before, an
    --   ingest may have begun under the former ones: the object may agree with either. Positions are held to 1e-10
    --   rad, errors, which are stored in single precision, to 1e-5.
    with candidate as (
        select o.*,
               r.begins,
               r.forced_min_reliability,
               coalesce(o.last_dia_source_mjd_tai - r.history_days, '-infinity') as window_mjd_tai
          from l1.dia_object o
          join l1_api.measuring_period r
            on r.begins <= o.validity_start
           and r.ends > o.validity_start - interval '1 hour'
         where o.dia_object_id between p_first_object and p_last_object
    ), counted as (
        select c.dia_object_id,
               c.begins,
               count(*) filter (where not x.is_forced) as n,
               count(*) filter (where x.is_forced) as n_forced,
               count(*) filter (where not x.is_forced
                                  and (c.forced_min_reliability is null
                                       or x.reliability is null
                                       or x.reliability >= c.forced_min_reliability)) as n_good,
               min(x.midpoint_mjd_tai) filter (where not x.is_forced) as first_mjd_tai,
               max(x.midpoint_mjd_tai) filter (where not x.is_forced) as last_mjd_tai,
               min(x.midpoint_mjd_tai) as epoch_mjd_tai,
               sum(x.midpoint_mjd_tai - c.radec_mjd_tai) filter (where not x.is_forced) as days_off,
               sum(cosd(x.dec) * cosd(x.ra)) filter (where not x.is_forced) as x,
               sum(cosd(x.dec) * sind(x.ra)) filter (where not x.is_forced) as y,
               sum(sind(x.dec)) filter (where not x.is_forced) as z,
               sum(x.ra_err::double precision * x.ra_err) filter (where not x.is_forced)
                   / nullif(count(x.ra_err) filter (where not x.is_forced), 0) as ra_variance,
               sum(x.dec_err::double precision * x.dec_err) filter (where not x.is_forced)
                   / nullif(count(x.dec_err) filter (where not x.is_forced), 0) as dec_variance,
               sum(x.ra_dec_cov::double precision) filter (where not x.is_forced)
                   / nullif(count(x.ra_dec_cov) filter (where not x.is_forced), 0) as covariance
          from candidate c
          join l1.dia_source x
            on x.dia_object_id = c.dia_object_id
         where x.dia_object_id between p_first_object and p_last_object
           and x.midpoint_mjd_tai >= c.window_mjd_tai
         group by c.dia_object_id, c.begins
    ), compared as materialized (
        select c.dia_object_id,
               c.begins,
               case when coalesce(k.n, 0) = 0 then 'has no detection'
                    else nullif(concat_ws(', ',
                        case when c.n_dia_sources <> k.n then format('n_dia_sources is %s, not %s', c.n_dia_sources, k.n) end,
                        case when c.n_forced <> k.n_forced then format('n_forced is %s, not %s', c.n_forced, k.n_forced) end,
                        case when c.n_good_dia_sources <> k.n_good
                             then format('n_good_dia_sources is %s, not %s', c.n_good_dia_sources, k.n_good) end,
                        case when c.first_dia_source_mjd_tai <> k.first_mjd_tai
                             then format('first_dia_source_mjd_tai is %s, not %s', c.first_dia_source_mjd_tai,
                                         k.first_mjd_tai) end,
                        case when c.last_dia_source_mjd_tai <> k.last_mjd_tai
                             then format('last_dia_source_mjd_tai is %s, not %s', c.last_dia_source_mjd_tai,
                                         k.last_mjd_tai) end,
                        case when c.first_epoch_mjd_tai <> k.epoch_mjd_tai
                             then format('first_epoch_mjd_tai is %s, not %s', c.first_epoch_mjd_tai, k.epoch_mjd_tai) end,
                        case when not (abs(k.days_off) / k.n < 1e-6)
                             then format('radec_mjd_tai is %s, not %s', c.radec_mjd_tai, c.radec_mjd_tai + k.days_off / k.n)
                             end,
                        case when not (abs(cosd(c.dec) * cosd(c.ra) - k.x / r.length)
                                       + abs(cosd(c.dec) * sind(c.ra) - k.y / r.length)
                                       + abs(sind(c.dec) - k.z / r.length) < 1e-10)
                             then format('(%s, %s) is not the mean position of its detections', c.ra, c.dec) end,
                        case when l1_api.differs(c.ra_err, sqrt(k.ra_variance / k.n), 1e-5, 0)
                             then format('ra_err is %s, not %s', c.ra_err, sqrt(k.ra_variance / k.n)) end,
                        case when l1_api.differs(c.dec_err, sqrt(k.dec_variance / k.n), 1e-5, 0)
                             then format('dec_err is %s, not %s', c.dec_err, sqrt(k.dec_variance / k.n)) end,
                        case when l1_api.differs(c.ra_dec_cov, k.covariance / k.n, 1e-5,
                                                 1e-5 * coalesce(sqrt(k.ra_variance * k.dec_variance), 0))
                             then format('ra_dec_cov is %s, not %s', c.ra_dec_cov, k.covariance / k.n) end), '') end as found
          from candidate c
          left join counted k
            on k.dia_object_id = c.dia_object_id
           and k.begins = c.begins
         cross join lateral (
            select sqrt(k.x * k.x + k.y * k.y + k.z * k.z) as length
         ) as r
    )
    select 'dia_object', c.dia_object_id, (array_agg(c.found order by c.begins desc))[1]
      from compared c
     group by c.dia_object_id
    having bool_and(c.found is not null)
$$;
comment on function l1_api.broken_objects(bigint, bigint) is
    'Position, errors, times and counts of an object are those of its sources, and it has a detection';
