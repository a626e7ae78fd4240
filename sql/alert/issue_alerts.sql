create function l1_api.issue_alerts(p_visit l1.visit, p_survey l1.survey, p_stamp timestamptz)
returns void
language plpgsql
volatile
set search_path = pg_catalog, l1, l1_api, public, pg_temp
as $$
-- Function: l1_api.issue_alerts(3)
--
--   Puts one alert into the outbox for every source of the call that has an object, and by the survey's rules for every
--   forced measurement; first of all, retractions of what a replacement withdrew.  A source that had its alert before it
--   was withdrawn gets no second one when it comes again.
--
-- Parameters:
--   p_visit, p_survey  - the visit, and the rules in force
--   p_stamp            - stamp of this transaction: the version of the object that the alert shows
-- Calls:   retract_alerts, keep_given_cutouts, describe_images
-- Reads:   pg_temp.claim, pg_temp.correcting, pg_temp.stage_cutout
-- Writes:  l1.alert, l1.alert_image, l1.cutout; pg_temp.assignment, where it marks those that had theirs
declare
    v_bounds    record;
    v_elsewhere record;
begin
    select * into v_bounds from l1_api.leaf_bounds(p_visit.midpoint_mjd_tai);
    if exists (select from pg_temp.correcting) then
        perform l1_api.retract_alerts(p_survey, p_stamp);
    end if;
    if exists (select from pg_temp.claim c where c.attempt > 1 or c.status = 'supplemented') then
        update pg_temp.assignment a
           set is_repeated = true
         where exists (select
                         from l1.alert former
                        where former.dia_source_id = a.dia_source_id
                          and former.kind = 'detection'
                          and former.midpoint_mjd_tai >= v_bounds.lower
                          and former.midpoint_mjd_tai < v_bounds.upper);
    end if;

    insert into l1.alert (kind, dia_source_id, midpoint_mjd_tai, visit, detector, dia_object_id, dia_object_version,
                          survey_version, stamp)
    select 'detection',
           a.dia_source_id,
           a.midpoint_mjd_tai,
           p_visit.visit,
           a.detector,
           a.dia_object_id,
           p_stamp,
           p_survey.survey_version,
           p_stamp
      from pg_temp.assignment a
     where a.dia_object_id is not null
       and not a.is_repeated
     order by a.ordinal;

    if p_survey.alert_on = 'all' then
        insert into l1.alert (kind, dia_source_id, midpoint_mjd_tai, visit, detector, dia_object_id, dia_object_version,
                              survey_version, stamp)
        select 'forced',
               f.dia_source_id,
               p_visit.midpoint_mjd_tai,
               p_visit.visit,
               f.detector,
               f.dia_object_id,
               p_stamp,
               p_survey.survey_version,
               p_stamp
          from pg_temp.forced f
         order by f.dia_object_id, f.detector;
    end if;

    if exists (select from pg_temp.stage_cutout) then
        perform l1_api.keep_given_cutouts(p_visit, p_stamp);
    end if;

    -- Objects that a replacement retired have taken forced measurements of other nights with them.
    select min(c.midpoint_mjd_tai) as lower, max(c.midpoint_mjd_tai) as upper into v_elsewhere from pg_temp.correcting c;
    perform l1_api.describe_images(p_stamp, least(v_bounds.lower, v_elsewhere.lower),
                                   greatest(v_bounds.upper, v_elsewhere.upper));
end
$$;
comment on function l1_api.issue_alerts(l1.visit, l1.survey, timestamptz) is
    'Puts one alert into the outbox for every source of the call that has an object';
