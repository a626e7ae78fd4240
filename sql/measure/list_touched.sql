create function l1_api.list_touched(p_visit l1.visit, p_survey l1.survey)
returns void
language plpgsql
volatile
set search_path = pg_catalog, l1, l1_api, public, pg_temp
as $$
-- Function: l1_api.list_touched(2)
--
--   Lists the objects, known before, that this ingest changes, with the span of time in which their history window lies.
--
-- Parameters:
--   p_visit, p_survey  - the visit, and the rules in force
-- Reads:   pg_temp.assignment, pg_temp.pair, pg_temp.claim, l1.dia_object, l1.dia_source
-- Writes:  pg_temp.touched
--
-- Algorithm:
--   The window counts back from the object's latest detection, this visit's included.  The span keeps the recomputation
--   to the leaves that can hold something.
declare
    v_history_days double precision := coalesce(p_survey.history_days, 'infinity');
    v_bounds       record;
    v_rows         bigint;
begin
    select * into v_bounds from l1_api.leaf_bounds(p_visit.midpoint_mjd_tai);

    insert into pg_temp.touched (dia_object_id, validity_start, first_mjd_tai, last_mjd_tai)
    select a.dia_object_id,
           p.validity_start,
           greatest(least(a.midpoint_mjd_tai, p.first_mjd_tai),
                    greatest(a.midpoint_mjd_tai, p.last_mjd_tai) - v_history_days),
           greatest(a.midpoint_mjd_tai, p.last_mjd_tai)
      from pg_temp.assignment a
      join pg_temp.pair p
        on p.ordinal = a.ordinal
       and p.dia_object_id = a.dia_object_id;
    get diagnostics v_rows = row_count;
    perform l1_api.refresh_statistics('touched', v_rows);

    -- What a replacement takes a source from changes too; its window then counts back from its latest other detection.
    if exists (select from pg_temp.claim c where c.former_attempt is not null) then
        insert into pg_temp.touched (dia_object_id, validity_start, first_mjd_tai, last_mjd_tai)
        select o.dia_object_id,
               o.validity_start,
               greatest(coalesce(other.first_mjd_tai, o.first_dia_source_mjd_tai),
                        coalesce(other.last_mjd_tai, o.last_dia_source_mjd_tai) - v_history_days),
               coalesce(other.last_mjd_tai, o.last_dia_source_mjd_tai)
          from pg_temp.claim c
          join l1.dia_source x
            on x.detector = c.detector
          join l1.dia_object o
            on o.dia_object_id = x.dia_object_id
         cross join lateral (
            select min(y.midpoint_mjd_tai) as first_mjd_tai,
                   max(y.midpoint_mjd_tai) as last_mjd_tai
              from l1.dia_source y
             where y.dia_object_id = o.dia_object_id
               and y.dia_source_id <> x.dia_source_id
               and not y.is_forced
         ) as other
         where c.former_attempt is not null
           and x.visit = p_visit.visit
           and not x.is_forced
           and x.midpoint_mjd_tai >= v_bounds.lower
           and x.midpoint_mjd_tai < v_bounds.upper
           and not exists (select from pg_temp.touched t where t.dia_object_id = x.dia_object_id);
    end if;
end
$$;
comment on function l1_api.list_touched(l1.visit, l1.survey) is
    'Lists the objects that this ingest changes, with the span of their history window';
