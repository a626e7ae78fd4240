create function l1_api.apply_correction(
    p_survey      l1.survey,
    p_kind        text,
    p_reason      text,
    p_operator    text,
    p_given       jsonb,
    p_redirect_to bigint default null,
    p_undoes      bigint default null
)
returns bigint
language plpgsql
volatile
set search_path = pg_catalog, l1, l1_api, public, pg_temp
set work_mem = '64MB'
as $$
-- Function: l1_api.apply_correction(7)
--
--   Carries out what the caller has listed, behind its locks: changes the sources, measures their objects anew, closes and
--   opens their versions, retires those without detections, and records it all.  The same steps as an ingest's, under one
--   stamp.
--
-- Parameters:
--   p_survey            - the rules in force
--   p_kind, p_given     - the function that was called, and its arguments
--   p_reason            - why
--   p_operator          - who; NULL: the login
--   p_redirect_to       - the object that retired ones became part of; NULL: none
--   p_undoes            - the correction that is undone; NULL: none is
-- Returns:
--   correction_id
-- Reads:   pg_temp.correcting
-- Writes:  l1.dia_source, l1.dia_object, l1.dia_object_band (histories by trigger), l1.visit_detector, l1.alert,
--          l1.alert_image, l1.precovery_task, l1.update_record, l1.correction; pg_temp
declare
    v_stamp     timestamptz;
    v_bands     text[];
    v_n_retired bigint;
    v_id        bigint;
begin
    perform l1_api.refresh_statistics('correcting', (select count(*) from pg_temp.correcting));
    perform l1_api.refuse_unlocked(array(
        select c.former_object from pg_temp.correcting c where c.former_object is not null
        union
        select c.object from pg_temp.correcting c where c.object is not null));
    perform l1_api.refuse_conflicts();
    v_stamp := l1_api.take_stamp();

    perform l1_api.change_sources(v_stamp);
    perform l1_api.list_corrected(p_survey);

    v_bands := array(select distinct c.band from pg_temp.correcting c);
    perform l1_api.measure_objects(case when cardinality(v_bands) = 1 then v_bands[1] end, p_survey);
    perform l1_api.open_versions(case when cardinality(v_bands) = 1 then v_bands[1] end, p_survey,
                                 (select min(c.midpoint_mjd_tai) from pg_temp.correcting c), v_stamp, true);
    perform l1_api.reopen_objects(p_survey, v_stamp);
    v_n_retired := l1_api.retire_objects(case when p_redirect_to is null then 'orphaned' else 'merged' end, p_redirect_to);

    perform l1_api.retract_alerts(p_survey, v_stamp);
    -- What has an object at last has its alert, unless it had one; with another midpoint perhaps, within the exposure.
    insert into l1.alert (kind, dia_source_id, midpoint_mjd_tai, visit, detector, dia_object_id, dia_object_version,
                          survey_version, stamp)
    select 'detection', c.dia_source_id, c.midpoint_mjd_tai, c.visit, c.detector, c.object, v_stamp,
           p_survey.survey_version, v_stamp
      from pg_temp.correcting c
      left join lateral (
        select a.alert_id
          from l1.alert a
         where a.dia_source_id = c.dia_source_id
           and a.kind = 'detection'
           and a.midpoint_mjd_tai >= c.midpoint_mjd_tai - 1
           and a.midpoint_mjd_tai <= c.midpoint_mjd_tai + 1
         limit 1
      ) as former
        on true
     where c.action = 'move'
       and c.object is not null
       and c.former_object is null
       and not c.is_forced
       and former.alert_id is null
     order by c.dia_source_id;
    perform l1_api.describe_images(v_stamp, min(c.midpoint_mjd_tai), max(c.midpoint_mjd_tai))
       from pg_temp.correcting c;

    update l1.visit_detector v
       set n_withdrawn = v.n_withdrawn + changed.n
      from (
        select c.visit,
               c.detector,
               count(*) filter (where c.action = 'withdraw') - count(*) filter (where c.action = 'restore') as n
          from pg_temp.correcting c
         where not c.is_forced
         group by c.visit, c.detector
      ) as changed
     where changed.n <> 0
       and p_kind <> 'withdraw_detectors'
       and not exists (select from l1.correction k where k.correction_id = p_undoes and k.kind = 'withdraw_detectors')
       and v.visit = changed.visit
       and v.detector = changed.detector
       and v.withdrawn_at is null;

    insert into l1.correction (kind, reason, operator, given, undoes, n_sources, n_objects, n_retired, stamp)
    values (p_kind, p_reason, coalesce(nullif(btrim(p_operator), ''), session_user), p_given, p_undoes,
            (select count(*) from pg_temp.correcting), (select count(*) from pg_temp.touched), v_n_retired, v_stamp)
    returning correction_id into v_id;
    perform l1_api.record_updates(v_id, v_stamp);
    return v_id;
end
$$;
comment on function l1_api.apply_correction(l1.survey, text, text, text, jsonb, bigint, bigint) is
    'Carries out what a correction has listed, and records it';
