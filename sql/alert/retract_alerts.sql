create function l1_api.retract_alerts(p_survey l1.survey, p_stamp timestamptz)
returns void
language plpgsql
volatile
set search_path = pg_catalog, l1, l1_api, public, pg_temp
set plan_cache_mode = force_custom_plan
as $$
-- Function: l1_api.retract_alerts(2)
--
--   Puts one retraction into the outbox for every source that had an alert and is withdrawn by this transaction.  Called
--   when all is written that it withdraws, by itself or with an object.
--
-- Parameters:
--   p_survey  - the rules in force
--   p_stamp   - stamp of this transaction
-- Reads:   pg_temp.correcting, l1.alert, l1.dia_object
-- Writes:  l1.alert
--
-- Algorithm:
--   A source that goes to another object, or to none, is still there, and so is one that a replacement brought again.  A
--   forced measurement that it brought again has another id (renew).  Its object is the one of the version that ends; it
--   shows the version that this transaction opened of it, or none if the object was retired.
--   What was withdrawn, came back and is withdrawn again was retracted before; nothing is issued twice.
--   A source that comes again in a replacement may have another midpoint, but within the exposure.  Each is looked up by
--   itself (LIMIT): no statistics know what is listed.
-- Settings:
--   a plan kept for all times would have to look into every leaf
declare
    v_lower double precision;
    v_upper double precision;
begin
    select min(c.midpoint_mjd_tai) - 1, max(c.midpoint_mjd_tai) + 1
      into v_lower, v_upper
      from pg_temp.correcting c
     where c.action in ('withdraw', 'renew');
    if v_lower is null then
        return;
    end if;

    insert into l1.alert (kind, dia_source_id, midpoint_mjd_tai, visit, detector, dia_object_id, dia_object_version,
                          survey_version, stamp)
    select 'retraction', c.dia_source_id, c.midpoint_mjd_tai, c.visit, c.detector, c.former_object, o.validity_start,
           p_survey.survey_version, p_stamp
      from pg_temp.correcting c
     cross join lateral (
        select a.kind
          from l1.alert a
         where a.dia_source_id = c.dia_source_id
           and a.kind <> 'retraction'
           and a.midpoint_mjd_tai >= c.midpoint_mjd_tai - 1
           and a.midpoint_mjd_tai <= c.midpoint_mjd_tai + 1
           and a.midpoint_mjd_tai >= v_lower
           and a.midpoint_mjd_tai <= v_upper
         limit 1
     ) as issued
      left join lateral (
        select a.alert_id
          from l1.alert a
         where a.dia_source_id = c.dia_source_id
           and a.kind = 'retraction'
           and a.midpoint_mjd_tai >= c.midpoint_mjd_tai - 1
           and a.midpoint_mjd_tai <= c.midpoint_mjd_tai + 1
           and a.midpoint_mjd_tai >= v_lower
           and a.midpoint_mjd_tai <= v_upper
         limit 1
      ) as former
        on true
      left join lateral (
        select x.validity_start
          from l1.dia_object x
         where x.dia_object_id = c.former_object
           and x.validity_start = p_stamp
         limit 1
      ) as o
        on true
     where c.action in ('withdraw', 'renew')
       and former.alert_id is null
     order by c.dia_source_id;
end
$$;
comment on function l1_api.retract_alerts(l1.survey, timestamptz) is
    'Puts one retraction into the outbox for every source that had an alert and is withdrawn by this transaction';
