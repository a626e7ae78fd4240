create function l1_api.alert_facts(
    p_alert_ids bigint[],
    p_lower     double precision,
    p_upper     double precision
)
returns table (
    alert_id           bigint,
    kind               text,
    dia_source_id      bigint,
    midpoint_mjd_tai   double precision,
    visit              bigint,
    detector           smallint,
    dia_object_id      bigint,
    dia_object_version timestamptz,
    ss_object_id       bigint,
    ss_object_version  timestamptz,
    survey_version     integer,
    stamp              timestamptz,
    database_id        text,
    survey_name        text,
    ivo_authority      text,
    operational        boolean
)
language sql
stable
parallel safe
as $$
    -- Function: l1_api.alert_facts(3)
    --
    --   Alerts, and who issued them: a view with parameters.
    --
    -- Parameters:
    --   p_alert_ids       - the alerts
    --   p_lower, p_upper  - between which midpoints they lie, MJD TAI [d]
    -- Reads:  l1.alert, l1.survey
    select a.alert_id, a.kind, a.dia_source_id, a.midpoint_mjd_tai, a.visit, a.detector, a.dia_object_id,
           a.dia_object_version, a.ss_object_id, a.ss_object_version, a.survey_version, a.stamp,
           r.database_id::text, r.name, r.ivo_authority, r.operational
      from l1.alert a
      join l1.survey r
        on r.survey_version = a.survey_version
     where a.alert_id = any (p_alert_ids)
       and a.midpoint_mjd_tai between p_lower and p_upper
$$;
comment on function l1_api.alert_facts(bigint[], double precision, double precision) is
    'Alerts, and who issued them';
