create function l1_api.object_names(p_dia_object_ids bigint[])
returns table (dia_object_id bigint, name text)
language sql
stable
set search_path = pg_catalog, l1, pg_temp
set extra_float_digits = 1
as $$
    -- Function: l1_api.object_names(1)
    --
    --   Names DiaObjects by their first source, so that two databases that were given the same data name them alike.
    --
    -- Parameters:
    --   p_dia_object_ids  - objects, current or retired
    -- Returns:
    --   the name of each: midpoint, ra and dec of the source that founded it
    -- Reads:  l1.dia_object, l1.dia_object_history
    --
    -- Algorithm:
    --   An object's first version is a copy of what its first source says, and stays as it is whatever becomes of that
    --   source.  The source itself is not looked up, nor its rank: for objects of earlier nights that would mean to read
    --   their first nights whole.  first_source does it for a few.
    select i.dia_object_id,
           concat_ws(' ', coalesce(h.first_dia_source_mjd_tai, o.first_dia_source_mjd_tai)::text,
                     coalesce(h.ra, o.ra)::text, coalesce(h.dec, o.dec)::text)
      from unnest(p_dia_object_ids) as i(dia_object_id)
      left join lateral (
        select h.first_dia_source_mjd_tai, h.ra, h.dec
          from l1.dia_object_history h
         where h.dia_object_id = i.dia_object_id
         order by h.validity_start
         limit 1
      ) as h
        on true
      left join lateral (
        select o.first_dia_source_mjd_tai, o.ra, o.dec
          from l1.dia_object o
         where o.dia_object_id = i.dia_object_id
           and h.ra is null
         limit 1
      ) as o
        on true
$$;
comment on function l1_api.object_names(bigint[]) is
    'Names DiaObjects by time and place of their first source';
