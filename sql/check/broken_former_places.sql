create function l1_api.broken_former_places(
    p_first_object bigint default -9223372036854775808,
    p_last_object  bigint default 9223372036854775807
)
returns table (thing text, id bigint, found text)
language sql
stable
parallel safe
as $$
    -- Function: l1_api.broken_former_places(2)
    --
    --   Every place that an object left, to another small cell or for good, is on record, and no other
    --
    -- Parameters:
    --   p_first_object, p_last_object - only objects with ids from the one to the other, both included
    -- Returns:
    --   what breaks this; nothing if all is well
    -- Reads: l1.dia_object, l1.dia_object_history, l1.dia_object_former_place
    --
    -- Algorithm:
    --   cone_search_asof finds former versions by these places alone.
    with version as (
        select h.dia_object_id, h.validity_start, h.validity_end, h.ra, h.dec, h.retired_reason
          from l1.dia_object_history h
         where h.dia_object_id between p_first_object and p_last_object
        union all
        select o.dia_object_id, o.validity_start, 'infinity', o.ra, o.dec, null
          from l1.dia_object o
         where o.dia_object_id between p_first_object and p_last_object
    ), followed as (
        select version.*,
               lead(version.validity_start) over following as next_start,
               lead(version.ra) over following as next_ra,
               lead(version.dec) over following as next_dec
          from version
        window following as (partition by version.dia_object_id order by version.validity_start, version.validity_end)
    ), departure as (
        select f.dia_object_id, f.validity_end, f.ra, f.dec
          from followed f
         where f.validity_end < 'infinity'
           and (f.retired_reason is not null
                or (l1_api.small_cell(f.ra, f.dec) = l1_api.small_cell(f.next_ra, f.next_dec)) is not true)
    ), place as (
        select p.*
          from l1.dia_object_former_place p
         where p.dia_object_id between p_first_object and p_last_object
    )
    select 'dia_object', coalesce(d.dia_object_id, p.dia_object_id),
           case when p.dia_object_id is null then format('left (%s, %s) at %s, which is not on record', d.ra, d.dec, d.validity_end)
                when d.dia_object_id is null then format('did not leave (%s, %s) at %s', p.ra, p.dec, p.left_at)
                else format('left (%s, %s) at %s, not (%s, %s)', d.ra, d.dec, d.validity_end, p.ra, p.dec) end
      from departure d
      full join place p
        on p.dia_object_id = d.dia_object_id
       and p.left_at = d.validity_end
     where (d.ra, d.dec) is distinct from (p.ra, p.dec)
$$;
comment on function l1_api.broken_former_places(bigint, bigint) is
    'Every place that an object left, to another small cell or for good, is on record, and no other';
