create function l1_api.alert_bands(
    p_alert_ids bigint[],
    p_lower     double precision,
    p_upper     double precision
)
returns table (alert_id bigint, band l1.dia_object_band)
language sql
stable
parallel safe
as $$
    -- Function: l1_api.alert_bands(3)
    --
    --   The light-curve statistics of the DiaObject versions that alerts speak of: a view with parameters.
    --
    -- Parameters:
    --   p_alert_ids       - the alerts
    --   p_lower, p_upper  - between which midpoints they lie, MJD TAI [d]
    -- Returns:
    --   one row for each band in which the object was measured by then
    -- Reads:  l1.alert, l1.dia_object_band, l1.dia_object_band_history
    select a.alert_id,
           b
      from l1.alert a
     cross join lateral l1_api.dia_object_band_asof(a.dia_object_version) as b
     where a.alert_id = any (p_alert_ids)
       and a.midpoint_mjd_tai between p_lower and p_upper
       and b.dia_object_id = a.dia_object_id
$$;
comment on function l1_api.alert_bands(bigint[], double precision, double precision) is
    'The light-curve statistics of the DiaObject versions that alerts speak of';
