create function l1_api.alert_history(
    p_alert_ids bigint[],
    p_lower     double precision,
    p_upper     double precision
)
returns table (alert_id bigint, source l1.dia_source)
language sql
stable
parallel safe
as $$
    -- Function: l1_api.alert_history(3)
    --
    --   The previous DiaSources that alerts carry, detected, forced and precovery: a view with parameters.
    --
    -- Parameters:
    --   p_alert_ids       - the alerts
    --   p_lower, p_upper  - between which midpoints they lie, MJD TAI [d]
    -- Returns:
    --   the sources of each alert's object with earlier midpoints, within the history window of the rules that it was
    --   issued under, as they were known then; never the trigger
    -- Reads:  l1.alert, l1.survey, l1.dia_source, l1.dia_source_history
    select a.alert_id,
           s
      from l1.alert a
      join l1.survey r
        on r.survey_version = a.survey_version
     cross join lateral l1_api.dia_source_asof(a.stamp) as s
     where a.alert_id = any (p_alert_ids)
       and a.midpoint_mjd_tai between p_lower and p_upper
       and s.dia_object_id = a.dia_object_id
       and s.midpoint_mjd_tai < a.midpoint_mjd_tai
       and s.midpoint_mjd_tai >= a.midpoint_mjd_tai - coalesce(r.history_days, 'infinity')
$$;
comment on function l1_api.alert_history(bigint[], double precision, double precision) is
    'The previous DiaSources that alerts carry';
