create function l1_api.found_objects()
returns void
language plpgsql
volatile
set search_path = pg_catalog, l1, l1_api, public, pg_temp
as $$
-- Function: l1_api.found_objects(0)
--
--   Gives every source that founds an object the id of that object.
--
-- Reads:   pg_temp.source
-- Writes:  pg_temp.assignment
--
-- Algorithm:
--   The upper 27 bits of the id are the level-12 cell of the discovery, the lower 36 a running number, so that neighbours
--   on the sky are neighbours in every index, and an id alone says where to look.  The id never changes.
begin
    update pg_temp.assignment a
       set dia_object_id = (q3c_ang2ipix(s.ra, s.dec) >> 36 << 36) | nextval('l1.dia_object_seq')
      from pg_temp.source s
     where a.is_new
       and s.ordinal = a.ordinal;
end
$$;
comment on function l1_api.found_objects() is 'Gives every source that founds an object the id of that object';
