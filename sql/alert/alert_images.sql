create function l1_api.alert_images(
    p_alert_ids bigint[],
    p_lower     double precision,
    p_upper     double precision
)
returns table (alert_id bigint, image l1.alert_image)
language sql
stable
parallel safe
as $$
    -- Function: l1_api.alert_images(3)
    --
    --   What was known of the images of alerts when these were issued: a view with parameters.
    --
    -- Parameters:
    --   p_alert_ids       - the alerts
    --   p_lower, p_upper  - between which midpoints they lie, MJD TAI [d]
    -- Reads:  l1.alert, l1.alert_image
    select a.alert_id,
           i
      from l1.alert a
      join l1.alert_image i
        on i.visit = a.visit
       and i.detector = a.detector
       and i.stamp = a.stamp
     where a.alert_id = any (p_alert_ids)
       and a.midpoint_mjd_tai between p_lower and p_upper
$$;
comment on function l1_api.alert_images(bigint[], double precision, double precision) is
    'What was known of the images of alerts when these were issued';
