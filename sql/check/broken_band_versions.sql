create function l1_api.broken_band_versions(
    p_first_object bigint default -9223372036854775808,
    p_last_object  bigint default 9223372036854775807
)
returns table (thing text, id bigint, found text)
language sql
stable
parallel safe
as $$
    -- Function: l1_api.broken_band_versions(2)
    --
    --   The versions of an object's statistics in a band do not overlap, leave a gap only where the band had no
    --   detection, and are current only if the object is
    --
    -- Parameters:
    --   p_first_object, p_last_object - only objects with ids from the one to the other, both included
    -- Returns:
    --   what breaks this; nothing if all is well
    -- Reads: l1.dia_object, l1.dia_object_history, l1.dia_object_band, l1.dia_object_band_history, l1.dia_source,
    -- l1.survey
    --
    -- Algorithm:
    --   Why a band ended is not written down. A gap is wrong if a detection that is live today was there at its
    --   beginning, within the shortest history window that the survey ever had.
    with version as (
        select h.dia_object_id, h.band, h.validity_start, h.validity_end
          from l1.dia_object_band_history h
         where h.dia_object_id between p_first_object and p_last_object
        union all
        select b.dia_object_id, b.band, b.validity_start, 'infinity'
          from l1.dia_object_band b
         where b.dia_object_id between p_first_object and p_last_object
    ), followed as (
        select version.*,
               lead(version.validity_start) over following as next_start
          from version
        window following as (partition by version.dia_object_id, version.band
                                 order by version.validity_start, version.validity_end)
    )
    select 'dia_object_band', f.dia_object_id, t.found
      from followed f
     cross join (
        select coalesce(min(s.history_days), 'infinity') as history_days from l1.survey s
     ) as rule
     cross join lateral (
        select case when f.validity_end <= f.validity_start
                    then format('%s: the version of %s ends at %s', f.band, f.validity_start, f.validity_end)
                    when f.next_start < f.validity_end
                    then format('%s: the version of %s ends at %s, after the next begins, %s', f.band, f.validity_start,
                                case when f.validity_end < 'infinity' then f.validity_end::text else 'no time' end,
                                f.next_start)
                    when f.next_start > f.validity_end
                     and exists (select
                                   from l1_api.dia_object_version o
                                   join l1.dia_source x
                                     on x.dia_object_id = o.dia_object_id
                                  where o.dia_object_id = f.dia_object_id
                                    and o.validity_start <= f.validity_end
                                    and (o.validity_end > f.validity_end or o.validity_end is null)
                                    and x.band = f.band
                                    and not x.is_forced
                                    and x.validity_start <= f.validity_end
                                    and x.midpoint_mjd_tai >= o.last_dia_source_mjd_tai - rule.history_days)
                    then format('%s: no version from %s to %s', f.band, f.validity_end, f.next_start) end as found
     ) as t
     where t.found is not null
    union all
    select 'dia_object_band', b.dia_object_id, format('%s: is current, and the object is not', b.band)
      from l1.dia_object_band b
      left join l1.dia_object o
        on o.dia_object_id = b.dia_object_id
     where b.dia_object_id between p_first_object and p_last_object
       and o.dia_object_id is null
$$;
comment on function l1_api.broken_band_versions(bigint, bigint) is
    'The versions of an object''s statistics in a band do not overlap, leave a gap only where the band had no detection, and are current only if the object is';
