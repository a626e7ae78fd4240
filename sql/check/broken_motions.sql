create function l1_api.broken_motions(
    p_first_object bigint default -9223372036854775808,
    p_last_object  bigint default 9223372036854775807
)
returns table (thing text, id bigint, found text)
language sql
stable
parallel safe
as $$
    -- Function: l1_api.broken_motions(2)
    --
    --   A motion that is not due is of all detections, ten at least of five nights over a year, and whoever has these has
    --   one; no detection is earlier than is said
    --
    -- Parameters:
    --   p_first_object, p_last_object - only objects with ids from the one to the other, both included
    -- Returns:
    --   what breaks this; nothing if all is well
    -- Reads: l1.dia_object, l1.dia_source, l1.survey
    select 'dia_object', o.dia_object_id, t.found
      from l1.dia_object o
      join (
        select x.dia_object_id,
               count(*) as n,
               min(x.midpoint_mjd_tai) as first_mjd_tai,
               count(*) >= 10
               and count(distinct floor(x.midpoint_mjd_tai - noon.mjd)) >= 5
               and max(x.midpoint_mjd_tai) - min(x.midpoint_mjd_tai) >= 365.25 as is_enough
          from l1.dia_source x
         cross join (select s.night_offset_hours::double precision / 24 as mjd from l1_api.current_survey() as s) as noon
         where x.dia_object_id between p_first_object and p_last_object
           and not x.is_forced
         group by x.dia_object_id
      ) as counted
        on counted.dia_object_id = o.dia_object_id
     cross join lateral (
        select case when num_nulls(o.pm_ra, o.pm_ra_err, o.pm_dec, o.pm_dec_err, o.pm_ra_pm_dec_cov, o.pm_ndata)
                         not in (0, 6)
                    then 'has a part of a motion'
                    when num_nulls(o.drift_ra, o.drift_dec, o.drift_err) not in (0, 3) then 'has a part of a drift'
                    when o.earliest_mjd_tai > counted.first_mjd_tai
                    then format('has a detection at %s, before earliest_mjd_tai %s', counted.first_mjd_tai,
                                o.earliest_mjd_tai)
                    when o.motion_is_due then null
                    when counted.is_enough and o.pm_ndata is distinct from counted.n
                    then format('has %s detections, and a motion of %s', counted.n, coalesce(o.pm_ndata::text, 'none'))
                    when not counted.is_enough and o.pm_ndata is not null
                    then format('has too few detections for a motion, and one of %s', o.pm_ndata) end as found
     ) as t
     where o.dia_object_id between p_first_object and p_last_object
       and t.found is not null
$$;
comment on function l1_api.broken_motions(bigint, bigint) is
    'A motion that is not due is of all detections, ten at least of five nights over a year, and whoever has these has one; no detection is earlier than is said';
