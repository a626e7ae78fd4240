create function l1_api.broken_members(
    p_first_object bigint default -9223372036854775808,
    p_last_object  bigint default 9223372036854775807
)
returns table (thing text, id bigint, found text)
language sql
stable
parallel safe
as $$
    -- Function: l1_api.broken_members(2)
    --
    --   The object of every live source is current
    --
    -- Parameters:
    --   p_first_object, p_last_object - only objects with ids from the one to the other, both included
    -- Returns:
    --   what breaks this; nothing if all is well
    -- Reads: l1.dia_source, l1.dia_object
    select 'dia_source', s.dia_source_id,
           format('is a %s of object %s, which is not current',
                  case when s.is_forced then 'forced measurement' else 'detection' end, s.dia_object_id)
      from l1.dia_source s
      left join l1.dia_object o
        on o.dia_object_id = s.dia_object_id
       and o.dia_object_id between p_first_object and p_last_object
     where s.dia_object_id between p_first_object and p_last_object
       and o.dia_object_id is null
$$;
comment on function l1_api.broken_members(bigint, bigint) is
    'The object of every live source is current';
