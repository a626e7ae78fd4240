create function l1_api.refuse_unlocked(p_objects bigint[])
returns void
language plpgsql
volatile
set search_path = pg_catalog, l1, l1_api, public, pg_temp
as $$
-- Function: l1_api.refuse_unlocked(1)
--
--   Stops a writer that is about to write objects whose sky it has not taken: while it waited for its locks, somebody gave
--   one of its sources to an object far off.
--
-- Parameters:
--   p_objects  - the objects
-- Reads:   pg_temp.cell, l1.dia_object
declare
    v_trouble text;
begin
    select string_agg(elsewhere.dia_object_id::text, ', ' order by elsewhere.dia_object_id)
      into v_trouble
      from (
        select o.dia_object_id
          from l1.dia_object o
         where o.dia_object_id = any (p_objects)
           and (q3c_ang2ipix(o.ra, o.dec) >> 42)::integer not in (select c.number from pg_temp.cell c)
         order by o.dia_object_id
         limit 3
      ) as elsewhere;
    if v_trouble is not null then
        raise exception 'somebody else gave sources of this to DiaObject % at the same moment', v_trouble
            using errcode = 'L1C04',
                  hint = 'Nothing was changed; try again.';
    end if;
end
$$;
comment on function l1_api.refuse_unlocked(bigint[]) is
    'Stops a writer that is about to write objects whose sky it has not taken';
