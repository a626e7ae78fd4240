create function l1_api.lock_correcting(p_survey l1.survey, p_dia_source_ids bigint[], p_dia_object_id bigint default null)
returns void
language plpgsql
volatile
set search_path = pg_catalog, l1, l1_api, public, pg_temp
as $$
-- Function: l1_api.lock_correcting(3)
--
--   Lists live sources for a correction, behind the locks of their sky and of their objects'.
--
-- Parameters:
--   p_survey          - the rules in force
--   p_dia_source_ids  - the sources
--   p_dia_object_id   - an object that the correction is about, too, current or retired; NULL: none
-- Reads:   l1.dia_object, l1.dia_object_history
-- Writes:  pg_temp.correcting
-- Locks:   see lock_places
--
-- Algorithm:
--   Listed once to know what to lock, and once more behind the locks, since it may have changed before.  Sources stay
--   where they are and objects nearly so; whether they did, apply_correction looks.
declare
    v_objects bigint[];
begin
    perform l1_api.list_correcting(p_dia_source_ids);
    v_objects := array(
        select c.former_object from pg_temp.correcting c where c.former_object is not null
        union
        select p_dia_object_id where p_dia_object_id is not null);
    perform l1_api.lock_places(p_survey, array_agg(place.ra), array_agg(place.dec))
       from (
        select c.ra, c.dec
          from pg_temp.correcting c
        union all
        select o.ra, o.dec
          from l1.dia_object o
         where o.dia_object_id = any (v_objects)
        union all
        (select h.ra, h.dec
           from l1.dia_object_history h
          where h.dia_object_id = p_dia_object_id
          order by h.validity_start desc
          limit 1)
       ) as place;

    perform l1_api.list_correcting(p_dia_source_ids);
end
$$;
comment on function l1_api.lock_correcting(l1.survey, bigint[], bigint) is
    'Lists live sources for a correction, behind the locks of their sky';
