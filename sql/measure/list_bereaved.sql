create function l1_api.list_bereaved(p_visit l1.visit, p_survey l1.survey)
returns void
language plpgsql
volatile
set search_path = pg_catalog, l1, l1_api, public, pg_temp
set plan_cache_mode = force_custom_plan
as $$
-- Function: l1_api.list_bereaved(2)
--
--   Lists the objects that a replacement takes a detection or a forced measurement from, beside those that get a source.
--
-- Parameters:
--   p_visit, p_survey  - the visit, and the rules in force
-- Reads:   pg_temp.claim, l1.dia_object, l1.dia_source
-- Writes:  pg_temp.touched
--
-- Algorithm:
--   The window counts back from the latest other detection, however long ago that was.
-- Settings:
--   a plan kept for all times would have to look into every leaf
declare
    v_detectors      smallint[] := array(select c.detector from pg_temp.claim c where c.former_attempt is not null);
    v_first_is_known boolean := l1_api.first_is_known();
    v_bounds         record;
begin
    select * into v_bounds from l1_api.leaf_bounds(p_visit.midpoint_mjd_tai);

    insert into pg_temp.touched (dia_object_id, first_mjd_tai, all_bands)
    with withdrawn as (
        select x.dia_object_id
          from l1.dia_source x
         where x.visit = p_visit.visit
           and x.detector = any (v_detectors)
           and not x.is_forced
           and x.midpoint_mjd_tai >= v_bounds.lower
           and x.midpoint_mjd_tai < v_bounds.upper
        union
        select x.dia_object_id
          from l1.dia_source x
         where x.visit = p_visit.visit
           and x.detector = any (v_detectors)
           and x.is_forced
           and x.midpoint_mjd_tai >= v_bounds.lower
           and x.midpoint_mjd_tai < v_bounds.upper
    )
    select o.dia_object_id,
           l1_api.window_start(p_survey.history_days, v_first_is_known, o.first_epoch_mjd_tai,
                               coalesce(latest.mjd_tai, o.last_dia_source_mjd_tai)),
           p_survey.history_days is not null or o.validity_start < p_survey.created_at
      from withdrawn
      join l1.dia_object o
        on o.dia_object_id = withdrawn.dia_object_id
     cross join lateral (
        select case when p_survey.history_days is not null then (
                   select y.midpoint_mjd_tai
                     from l1.dia_source y
                    where y.dia_object_id = o.dia_object_id
                      and not y.is_forced
                      and not (y.visit = p_visit.visit and y.detector = any (v_detectors))
                    order by y.midpoint_mjd_tai desc
                    limit 1) end as mjd_tai
     ) as latest
     where not exists (select from pg_temp.touched t where t.dia_object_id = o.dia_object_id);
end
$$;
comment on function l1_api.list_bereaved(l1.visit, l1.survey) is
    'Lists the objects that a replacement takes a source from and gives none';
