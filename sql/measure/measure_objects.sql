create function l1_api.measure_objects(p_band text, p_survey l1.survey)
returns void
language plpgsql
volatile
set search_path = pg_catalog, l1, l1_api, public, pg_temp
as $$
-- Function: l1_api.measure_objects(2)
--
--   Recomputes the touched objects from their live sources in the history window, which counts back from the object's latest
--   detection and is open at its end: position and counts, and the statistics of the visit's band.  Where the window moved
--   past sources, or the rules changed, also those of the other bands.  By the survey's rules the costlier of them, too;
--   else they are left to the day (measure_by_day).
--
-- Parameters:
--   p_band    - the band of the visit
--   p_survey  - the rules in force
-- Reads:   pg_temp.touched
-- Writes:  pg_temp.measured, pg_temp.measured_band
declare
    v_first double precision;
begin
    -- The first of all windows' beginnings says the same once more, so that leaves before it are not even opened.
    select min(t.first_mjd_tai) into v_first from pg_temp.touched t;
    if v_first is null then
        return;
    end if;
    perform l1_api.measure_positions(p_survey, v_first);
    perform l1_api.measure_bands(p_band, p_survey, v_first);
    if p_survey.statistics_at_ingest = 'all' then
        perform l1_api.measure_shapes(p_survey, v_first);
    end if;

    -- An object that has forced rows only is about to be retired.
    if exists (select from pg_temp.measured m where m.n_dia_sources = 0) then
        delete from pg_temp.measured_band b
         using pg_temp.measured m
         where m.dia_object_id = b.dia_object_id
           and m.n_dia_sources = 0;
    end if;
    perform l1_api.refresh_statistics('measured', (select count(*) from pg_temp.measured));
    perform l1_api.refresh_statistics('measured_band', (select count(*) from pg_temp.measured_band));
end
$$;
comment on function l1_api.measure_objects(text, l1.survey) is
    'Recomputes the touched objects from their live sources in the history window';
