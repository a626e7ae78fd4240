create function l1_api.first_source(p_dia_object_id bigint)
returns table (visit bigint, detector smallint, name text)
language sql
stable
set search_path = pg_catalog, l1, l1_api, pg_temp
as $$
    -- Function: l1_api.first_source(1)
    --
    --   The source that founded a DiaObject, even if it has been withdrawn or moved since.
    --
    -- Parameters:
    --   p_dia_object_id  - an object, current or retired
    -- Returns:
    --   its visit and detector, and its name there (source_names); no row if it is not to be found
    -- Reads:  l1.dia_object, l1.dia_object_history, l1.dia_source, l1.dia_source_history, l1.visit
    --
    -- Algorithm:
    --   The first version has the midpoint of the first source, by which the index of light curves finds it.  The history
    --   of sources has none by object; there it is among the visits within a day of the midpoint.
    with first as materialized (
        select v.first_dia_source_mjd_tai as mjd
          from (
            (select h.validity_start, h.first_dia_source_mjd_tai
               from l1.dia_object_history h
              where h.dia_object_id = p_dia_object_id
              order by h.validity_start
              limit 1)
            union all
            select o.validity_start, o.first_dia_source_mjd_tai
              from l1.dia_object o
             where o.dia_object_id = p_dia_object_id
          ) as v
         order by v.validity_start
         limit 1
    ), founder as (
        select s.visit, s.dia_source_id, s.time_processed, s.validity_start
          from l1.dia_source s
         where s.dia_object_id = p_dia_object_id
           and s.midpoint_mjd_tai = (select first.mjd from first)
           and not s.is_forced
        union all
        select h.visit, h.dia_source_id, h.time_processed, h.validity_start
          from l1.visit v
          join l1.dia_source_history h
            on h.visit = v.visit
         where v.midpoint_mjd_tai between (select first.mjd - 1 from first) and (select first.mjd + 1 from first)
           and h.dia_object_id = p_dia_object_id
           and h.midpoint_mjd_tai = (select first.mjd from first)
           and not h.is_forced
         order by validity_start, visit, dia_source_id
         limit 1
    )
    select founder.visit, n.detector, n.name
      from founder
     cross join lateral l1_api.source_names(founder.visit, 'infinity') as n
     where n.dia_source_id = founder.dia_source_id
       and n.time_processed = founder.time_processed
$$;
comment on function l1_api.first_source(bigint) is 'The source that founded a DiaObject: visit, detector and name there';
