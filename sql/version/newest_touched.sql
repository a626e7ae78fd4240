create function l1_api.newest_touched(p_visit l1.visit, p_survey l1.survey)
returns timestamptz
language plpgsql
volatile
set search_path = pg_catalog, l1, l1_api, public, pg_temp
as $$
-- Function: l1_api.newest_touched(2)
--
--   The newest of the versions that this ingest may close: of the objects that get a source or are forced, and of their
--   bands, which measure_by_day may have opened later.
--
-- Parameters:
--   p_visit, p_survey  - the visit, and the rules in force
-- Returns:
--   newest validity_start; NULL: none exists
-- Reads:   pg_temp.touched, pg_temp.forced, l1.dia_object_band
begin
    return (
        with object as materialized (
            select t.dia_object_id, t.validity_start, t.all_bands
              from pg_temp.touched t
            union all
            select f.dia_object_id, f.validity_start, f.validity_start < p_survey.created_at
              from pg_temp.forced f
        ), newest as (
            select max(object.validity_start) as stamp
              from object
            union all
            select max(b.validity_start)
              from object
              join l1.dia_object_band b
                on b.dia_object_id = object.dia_object_id
               and b.band = p_visit.band
            union all
            select max(b.validity_start)
              from object
              join l1.dia_object_band b
                on b.dia_object_id = object.dia_object_id
             where object.all_bands
        )
        select max(newest.stamp) from newest);
end
$$;
comment on function l1_api.newest_touched(l1.visit, l1.survey) is
    'The newest of the versions that an ingest may close';
