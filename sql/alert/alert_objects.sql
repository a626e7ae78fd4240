create function l1_api.alert_objects(
    p_alert_ids bigint[],
    p_lower     double precision,
    p_upper     double precision
)
returns table (alert_id bigint, object l1.dia_object)
language sql
stable
parallel safe
as $$
    -- Function: l1_api.alert_objects(3)
    --
    --   The DiaObject versions that alerts speak of, those which their transactions opened: a view with parameters.
    --
    -- Parameters:
    --   p_alert_ids       - the alerts
    --   p_lower, p_upper  - between which midpoints they lie, MJD TAI [d]
    -- Returns:
    --   no row for an alert without one: of an SSObject, or a retraction that left its object without detections
    -- Reads:  l1.alert, l1.dia_object, l1.dia_object_history
    select a.alert_id,
           o
      from l1.alert a
     cross join lateral l1_api.dia_object_asof(a.dia_object_version) as o
     where a.alert_id = any (p_alert_ids)
       and a.midpoint_mjd_tai between p_lower and p_upper
       and o.dia_object_id = a.dia_object_id
       and o.validity_start = a.dia_object_version
$$;
comment on function l1_api.alert_objects(bigint[], double precision, double precision) is
    'The DiaObject versions that alerts speak of';
