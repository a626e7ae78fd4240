create function l1_api.broken_object_cells(
    p_first_object bigint default -9223372036854775808,
    p_last_object  bigint default 9223372036854775807
)
returns table (thing text, id bigint, found text)
language sql
stable
parallel safe
as $$
    -- Function: l1_api.broken_object_cells(2)
    --
    --   The upper 27 bits of a dia_object_id are the level-12 cell in which the object was discovered
    --
    -- Parameters:
    --   p_first_object, p_last_object - only objects with ids from the one to the other, both included
    -- Returns:
    --   what breaks this; nothing if all is well
    -- Reads: l1.dia_object, l1.dia_object_history, l1.correction
    --
    -- Algorithm:
    --   The first version of an object is its discovery: it has that place and no other source.  One that a correction
    --   made of several sources has its id from the first of them, and may lie in the next cell.
    with first as (
        select distinct on (v.dia_object_id) v.dia_object_id, v.validity_start, v.ra, v.dec
          from (
            select h.dia_object_id, h.validity_start, h.ra, h.dec
              from l1.dia_object_history h
             where h.dia_object_id between p_first_object and p_last_object
            union all
            select o.dia_object_id, o.validity_start, o.ra, o.dec
              from l1.dia_object o
             where o.dia_object_id between p_first_object and p_last_object
          ) as v
         order by v.dia_object_id, v.validity_start
    )
    select 'dia_object', f.dia_object_id,
           format('was discovered in cell %s, and its id says %s', public.q3c_ang2ipix(f.ra, f.dec) >> 36,
                  f.dia_object_id >> 36)
      from first f
     where public.q3c_ang2ipix(f.ra, f.dec) >> 36 <> f.dia_object_id >> 36
       and not exists (select from l1.correction c where c.stamp = f.validity_start)
$$;
comment on function l1_api.broken_object_cells(bigint, bigint) is
    'The upper 27 bits of a dia_object_id are the level-12 cell in which the object was discovered';
