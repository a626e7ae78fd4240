create function l1_api.list_forced(p_survey l1.survey)
returns void
language plpgsql
volatile
set search_path = pg_catalog, l1, l1_api, public, pg_temp
as $$
-- Function: l1_api.list_forced(1)
--
--   Lists the objects that may get a forced measurement: of those that were measured before the call, the ones that are
--   still current and that the survey's rules have forced.
--
-- Parameters:
--   p_survey  - the rules in force
-- Reads:   pg_temp.stage_forced, pg_temp.claim, l1.dia_object
-- Writes:  pg_temp.forced
declare
    v_first_is_known boolean := l1_api.first_is_known();
    v_rows           bigint;
begin
    select count(*) into v_rows from pg_temp.stage_forced;
    if v_rows = 0 or p_survey.forced_on = 'none' then
        return;
    end if;
    perform l1_api.refresh_statistics('stage_forced', v_rows);

    insert into pg_temp.forced (detector, dia_object_id, is_on_image, validity_start, first_mjd_tai)
    select s.detector,
           s.dia_object_id,
           s.is_on_image,
           o.validity_start,
           l1_api.window_start(p_survey.history_days, v_first_is_known, o.first_epoch_mjd_tai, o.last_dia_source_mjd_tai)
      from pg_temp.stage_forced s
      join pg_temp.claim c
        on c.detector = s.detector
      join l1.dia_object o
        on o.dia_object_id = s.dia_object_id
     where c.status in ('stored', 'replaced', 'released')
       and o.n_good_dia_sources >= p_survey.forced_min_dia_sources;
    get diagnostics v_rows = row_count;
    perform l1_api.refresh_statistics('forced', v_rows);
end
$$;
comment on function l1_api.list_forced(l1.survey) is 'Lists the objects that may get a forced measurement';
