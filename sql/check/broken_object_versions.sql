create function l1_api.broken_object_versions(
    p_first_object bigint default -9223372036854775808,
    p_last_object  bigint default 9223372036854775807
)
returns table (thing text, id bigint, found text)
language sql
stable
parallel safe
as $$
    -- Function: l1_api.broken_object_versions(2)
    --
    --   The versions of an object follow each other without overlap or gap, only the last is current, and where none
    --   is, the last says why
    --
    -- Parameters:
    --   p_first_object, p_last_object - only objects with ids from the one to the other, both included
    -- Returns:
    --   what breaks this; nothing if all is well
    -- Reads: l1.dia_object, l1.dia_object_history
    --
    -- Algorithm:
    --   A retired object may come back: then its versions may leave a gap behind the one that has a reason.
    with version as (
        select h.dia_object_id, h.validity_start, h.validity_end, h.retired_reason
          from l1.dia_object_history h
         where h.dia_object_id between p_first_object and p_last_object
        union all
        select o.dia_object_id, o.validity_start, 'infinity', null
          from l1.dia_object o
         where o.dia_object_id between p_first_object and p_last_object
    ), followed as (
        select version.*,
               lead(version.validity_start) over following as next_start
          from version
        window following as (partition by version.dia_object_id order by version.validity_start, version.validity_end)
    )
    select 'dia_object', f.dia_object_id, t.found
      from followed f
     cross join lateral (
        select case when f.validity_end <= f.validity_start
                    then format('the version of %s ends at %s', f.validity_start, f.validity_end)
                    when f.next_start < f.validity_end
                    then format('the version of %s ends at %s, after the next begins, %s', f.validity_start,
                                case when f.validity_end < 'infinity' then f.validity_end::text else 'no time' end,
                                f.next_start)
                    when f.next_start > f.validity_end and f.retired_reason is null
                    then format('no version from %s to %s', f.validity_end, f.next_start)
                    when f.next_start is null and f.validity_end < 'infinity' and f.retired_reason is null
                    then format('no version since %s, and no reason', f.validity_end) end as found
     ) as t
     where t.found is not null
$$;
comment on function l1_api.broken_object_versions(bigint, bigint) is
    'The versions of an object follow each other without overlap or gap, only the last is current, and where none is, the last says why';
