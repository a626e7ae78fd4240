create function l1_api.alert_sources(
    p_alert_ids bigint[],
    p_lower     double precision,
    p_upper     double precision
)
returns table (alert_id bigint, source l1.dia_source)
language sql
stable
parallel safe
as $$
    -- Function: l1_api.alert_sources(3)
    --
    --   The DiaSources that triggered alerts, as they were known when these were issued: a view with parameters.
    --
    -- Parameters:
    --   p_alert_ids       - the alerts
    --   p_lower, p_upper  - between which midpoints they lie, MJD TAI [d]
    -- Returns:
    --   the version of each source that its alert speaks of; of a retraction, the last before it was withdrawn
    -- Reads:  l1.alert, l1.dia_source, l1.dia_source_history
    --
    -- Times of the database count whole microseconds: what was withdrawn at a stamp was there one before it.
    select a.alert_id,
           s
      from l1.alert a
     cross join lateral l1_api.dia_source_asof(
               case a.kind when 'retraction' then a.stamp - interval '1 microsecond' else a.stamp end) as s
     where a.alert_id = any (p_alert_ids)
       and a.midpoint_mjd_tai between p_lower and p_upper
       and s.dia_source_id = a.dia_source_id
       and s.midpoint_mjd_tai = a.midpoint_mjd_tai
       and s.midpoint_mjd_tai between p_lower and p_upper
$$;
comment on function l1_api.alert_sources(bigint[], double precision, double precision) is
    'The DiaSources that triggered alerts, as they were known then';
