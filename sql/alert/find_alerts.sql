create function l1_api.find_alerts(
    p_ra     double precision default null,
    p_dec    double precision default null,
    p_radius double precision default null,
    p_since  double precision default null,
    p_until  double precision default null
)
returns setof l1.alert
language sql
stable
parallel safe
as $$
    -- Function: l1_api.find_alerts(5)
    --
    --   The archive of alerts by position and time: a view with parameters.
    --
    -- Parameters:
    --   p_ra, p_dec, p_radius  - alerts of DiaObjects that ever were within so many arcsec of a place [deg]; NULL: anywhere
    --   p_since, p_until       - midpoint of the trigger, MJD TAI [d]; NULL: at any time
    -- Returns:
    --   the alerts, retractions too, in no order
    -- Reads:  l1.alert, l1.dia_object, l1.dia_object_history, l1.dia_object_former_place
    --
    -- A version of an object lies within 4.5 arcsec of one of the places that are in an index: see cone_search_asof.
    select a.*
      from l1.alert a
     where (p_ra is null
            or a.dia_object_id in (
                select v.dia_object_id
                  from (
                    select o.dia_object_id
                      from l1.dia_object o
                     where public.q3c_join(p_ra, p_dec, o.ra, o.dec, (p_radius + 4.5) / 3600)
                    union
                    select f.dia_object_id
                      from l1.dia_object_former_place f
                     where public.q3c_join(p_ra, p_dec, f.ra, f.dec, (p_radius + 4.5) / 3600)
                  ) as near
                  join l1_api.dia_object_version v
                    on v.dia_object_id = near.dia_object_id
                 where public.q3c_sindist(p_ra, p_dec, v.ra, v.dec) < sin(radians(p_radius / 3600) / 2) ^ 2))
       and (p_since is null or a.midpoint_mjd_tai >= p_since)
       and (p_until is null or a.midpoint_mjd_tai < p_until)
$$;
comment on function l1_api.find_alerts(double precision, double precision, double precision, double precision,
                                       double precision) is
    'The archive of alerts by position and time';
