create function l1_api.broken_source_versions(
    p_from_mjd_tai double precision default '-infinity',
    p_upto_mjd_tai double precision default 'infinity'
)
returns table (thing text, id bigint, found text)
language sql
stable
parallel safe
as $$
    -- Function: l1_api.broken_source_versions(2)
    --
    --   The versions of a source do not overlap, each ends after it begins, and one that was revised is followed at
    --   once
    --
    -- Parameters:
    --   p_from_mjd_tai, p_upto_mjd_tai - only what was observed from the one up to the other, which is not included,
    --   MJD TAI [d]
    -- Returns:
    --   what breaks this; nothing if all is well
    -- Reads: l1.dia_source, l1.dia_source_history
    --
    -- Algorithm:
    --   A source that was withdrawn may stay so, or come again later.
    with former as materialized (
        select h.dia_source_id, h.validity_start, h.validity_end, h.closed_reason
          from l1.dia_source_history h
         where h.midpoint_mjd_tai >= p_from_mjd_tai and h.midpoint_mjd_tai < p_upto_mjd_tai
    ), version as (
        select former.*
          from former
        union all
        select s.dia_source_id, s.validity_start, 'infinity', null
          from l1.dia_source s
         where s.midpoint_mjd_tai >= p_from_mjd_tai and s.midpoint_mjd_tai < p_upto_mjd_tai
           and s.dia_source_id in (select former.dia_source_id from former)
    ), followed as (
        select version.*,
               lead(version.validity_start) over following as next_start
          from version
        window following as (partition by version.dia_source_id order by version.validity_start, version.validity_end)
    )
    select 'dia_source', f.dia_source_id, t.found
      from followed f
     cross join lateral (
        select case when f.validity_end <= f.validity_start
                    then format('the version of %s ends at %s', f.validity_start, f.validity_end)
                    when f.next_start < f.validity_end
                    then format('the version of %s ends at %s, after the next begins, %s', f.validity_start,
                                case when f.validity_end < 'infinity' then f.validity_end::text else 'no time' end,
                                f.next_start)
                    when f.closed_reason = 'revised' and f.next_start is distinct from f.validity_end
                    then format('was revised at %s, and then begins %s', f.validity_end,
                                coalesce('at ' || f.next_start, 'no more')) end as found
     ) as t
     where t.found is not null
$$;
comment on function l1_api.broken_source_versions(double precision, double precision) is
    'The versions of a source do not overlap, each ends after it begins, and one that was revised is followed at once';
