create function l1_api.list_corrected(p_survey l1.survey)
returns void
language plpgsql
volatile
set search_path = pg_catalog, l1, l1_api, public, pg_temp
as $$
-- Function: l1_api.list_corrected(1)
--
--   Lists the objects that a correction takes sources from or gives some to, with the time from which on they are
--   measured.  The sources are changed by now.
--
-- Parameters:
--   p_survey  - the rules in force
-- Reads:   pg_temp.correcting, l1.dia_object, l1.dia_source
-- Writes:  pg_temp.touched
--
-- Algorithm:
--   As for an ingest (list_touched, list_bereaved): without limit the window begins with the earliest epoch; else it
--   counts back from the latest detection that is left.  Where more than one band is concerned, all are measured.
declare
    v_first_is_known constant boolean := l1_api.first_is_known();
    v_all_bands      constant boolean := (select min(c.band) <> max(c.band) from pg_temp.correcting c);
    v_rows           bigint;
begin
    insert into pg_temp.touched (dia_object_id, first_mjd_tai, all_bands)
    with concerned as (
        select given.dia_object_id,
               min(given.midpoint_mjd_tai) as first_mjd_tai
          from (
            select c.former_object as dia_object_id, c.midpoint_mjd_tai from pg_temp.correcting c
            union all
            select c.object, c.midpoint_mjd_tai from pg_temp.correcting c
          ) as given
         where given.dia_object_id is not null
         group by given.dia_object_id
    )
    select concerned.dia_object_id,
           l1_api.window_start(p_survey.history_days, v_first_is_known,
                               least(concerned.first_mjd_tai, o.first_epoch_mjd_tai),
                               coalesce(latest.mjd_tai, concerned.first_mjd_tai)),
           v_all_bands or p_survey.history_days is not null
           or coalesce(o.validity_start < p_survey.created_at, false)
      from concerned
      left join l1.dia_object o
        on o.dia_object_id = concerned.dia_object_id
     cross join lateral (
        select case when p_survey.history_days is not null then (
                   select y.midpoint_mjd_tai
                     from l1.dia_source y
                    where y.dia_object_id = concerned.dia_object_id
                      and not y.is_forced
                    order by y.midpoint_mjd_tai desc
                    limit 1) end as mjd_tai
     ) as latest;
    get diagnostics v_rows = row_count;
    perform l1_api.refresh_statistics('touched', v_rows);
end
$$;
comment on function l1_api.list_corrected(l1.survey) is
    'Lists the objects that a correction takes sources from or gives some to';
