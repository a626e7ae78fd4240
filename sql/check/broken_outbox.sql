create function l1_api.broken_outbox(
    p_from_mjd_tai double precision default '-infinity',
    p_upto_mjd_tai double precision default 'infinity'
)
returns table (thing text, id bigint, found text)
language sql
stable
parallel safe
as $$
    -- Function: l1_api.broken_outbox(2)
    --
    --   Every source that is to have an alert has one: detections with an object, and by the survey's rules forced
    --   measurements
    --
    -- Parameters:
    --   p_from_mjd_tai, p_upto_mjd_tai - only what was observed from the one up to the other, which is not included,
    --   MJD TAI [d]
    -- Returns:
    --   what breaks this; nothing if all is well
    -- Reads: l1.dia_source, l1.alert, l1.visit_detector, l1.survey
    --
    -- Algorithm:
    --   As issue_alerts: a source that comes again had its alert before.
    select 'dia_source', s.dia_source_id, format('has no alert, with visit %s, detector %s', s.visit, s.detector)
      from l1.dia_source s
     where s.midpoint_mjd_tai >= p_from_mjd_tai and s.midpoint_mjd_tai < p_upto_mjd_tai
       and s.dia_object_id is not null
       and not s.is_forced
       and not exists (select
                         from l1.alert a
                        where a.dia_source_id = s.dia_source_id
                          and a.kind = 'detection'
                          and a.midpoint_mjd_tai >= p_from_mjd_tai and a.midpoint_mjd_tai < p_upto_mjd_tai)
    union all
    select 'dia_source', s.dia_source_id,
           format('has no alert as a forced measurement, with visit %s, detector %s', s.visit, s.detector)
      from l1.dia_source s
      join l1.visit_detector d
        on d.visit = s.visit
       and d.detector = s.detector
       and d.withdrawn_at is null
      join l1.survey r
        on r.survey_version = d.survey_version
     where s.midpoint_mjd_tai >= p_from_mjd_tai and s.midpoint_mjd_tai < p_upto_mjd_tai
       and r.alert_on = 'all'
       and s.is_forced
       and not s.is_precovery
       and not exists (select
                         from l1.alert a
                        where a.dia_source_id = s.dia_source_id
                          and a.kind = 'forced'
                          and a.midpoint_mjd_tai >= p_from_mjd_tai and a.midpoint_mjd_tai < p_upto_mjd_tai)
$$;
comment on function l1_api.broken_outbox(double precision, double precision) is
    'Every source that is to have an alert has one: detections with an object, and by the survey''s rules forced measurements';
