create function l1_api.list_touched(p_survey l1.survey)
returns void
language plpgsql
volatile
set search_path = pg_catalog, l1, l1_api, public, pg_temp
as $$
-- Function: l1_api.list_touched(1)
--
--   Lists the objects, known before, that get a source of this ingest, with the time from which on they are measured.
--
-- Parameters:
--   p_survey  - the rules in force
-- Reads:   pg_temp.assignment, pg_temp.pair, l1.dia_source
-- Writes:  pg_temp.touched
--
-- Algorithm:
--   The history window counts back from the object's latest detection, this visit's included, and is open at its end.
--   Where it has no beginning either, the object's first epoch keeps the recomputation to leaves that hold something.
--   Bands other than the visit's change only where the window leaves sources behind, or the rules are newer than the
--   object's version.
declare
    v_first_is_known boolean := l1_api.first_is_known();
    v_rows           bigint;
begin
    insert into pg_temp.touched (dia_object_id, first_mjd_tai, all_bands)
    select a.dia_object_id,
           l1_api.window_start(p_survey.history_days, v_first_is_known, least(a.midpoint_mjd_tai, p.first_mjd_tai),
                               greatest(a.midpoint_mjd_tai, p.last_mjd_tai)),
           p.validity_start < p_survey.created_at
           or p_survey.history_days is not null
              and a.midpoint_mjd_tai > p.last_mjd_tai
              and exists (select
                            from l1.dia_source x
                           where x.dia_object_id = a.dia_object_id
                             and x.midpoint_mjd_tai >= p.last_mjd_tai - p_survey.history_days
                             and x.midpoint_mjd_tai < a.midpoint_mjd_tai - p_survey.history_days)
      from pg_temp.assignment a
      join pg_temp.pair p
        on p.ordinal = a.ordinal
       and p.dia_object_id = a.dia_object_id;
    get diagnostics v_rows = row_count;
    perform l1_api.refresh_statistics('touched', v_rows);
end
$$;
comment on function l1_api.list_touched(l1.survey) is
    'Lists the objects that get a source, with the beginning of their history window';
