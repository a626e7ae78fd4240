create function l1_api.odd_forced_rows(
    p_first_object bigint default -9223372036854775808,
    p_last_object  bigint default 9223372036854775807
)
returns table (thing text, id bigint, found text)
language sql
stable
parallel safe
as $$
    -- Function: l1_api.odd_forced_rows(2)
    --
    --   Forced measurements that outlived their object: it was retired since, and other visits had measured it
    --
    -- Parameters:
    --   p_first_object, p_last_object - only objects with ids from the one to the other, both included
    -- Returns:
    --   what breaks this; nothing if all is well
    -- Reads: l1.dia_source, l1.dia_object, l1.dia_object_history
    --
    -- Algorithm:
    --   They are no mistake: a replacement takes back what it stored, not what other visits did. Nothing counts them.
    select 'dia_source', s.dia_source_id,
           format('is a forced measurement of object %s, which was %s', s.dia_object_id, gone.retired_reason)
      from l1.dia_source s
      left join l1.dia_object o
        on o.dia_object_id = s.dia_object_id
       and o.dia_object_id between p_first_object and p_last_object
      join (
        select h.dia_object_id, max(h.retired_reason) as retired_reason
          from l1.dia_object_history h
         where h.retired_reason is not null
           and h.dia_object_id between p_first_object and p_last_object
         group by h.dia_object_id
      ) as gone
        on gone.dia_object_id = s.dia_object_id
     where s.is_forced
       and s.dia_object_id between p_first_object and p_last_object
       and o.dia_object_id is null
$$;
comment on function l1_api.odd_forced_rows(bigint, bigint) is
    'Forced measurements that outlived their object: it was retired since, and other visits had measured it';
