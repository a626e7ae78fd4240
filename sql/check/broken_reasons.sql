create function l1_api.broken_reasons(
    p_from_mjd_tai double precision default '-infinity',
    p_upto_mjd_tai double precision default 'infinity'
)
returns table (thing text, id bigint, found text)
language sql
stable
parallel safe
as $$
    -- Function: l1_api.broken_reasons(2)
    --
    --   A source has an object or a reason why not, never both; what is forced has an object, and only what is forced
    --   is precovery
    --
    -- Parameters:
    --   p_from_mjd_tai, p_upto_mjd_tai - only what was observed from the one up to the other, which is not included,
    --   MJD TAI [d]
    -- Returns:
    --   what breaks this; nothing if all is well
    -- Reads: l1.dia_source
    select 'dia_source', s.dia_source_id, t.found
      from l1.dia_source s
     cross join lateral (
        select case when s.is_forced and s.dia_object_id is null then 'is forced, and has no object'
                    when s.is_precovery and not s.is_forced then 'is precovery, and not forced'
                    when s.dia_object_id is null and s.ss_object_id is null and s.no_object_reason is null
                    then 'has neither object nor reason'
                    when (s.dia_object_id is not null or s.ss_object_id is not null) and s.no_object_reason is not null
                    then format('has an object, and the reason %s why not', s.no_object_reason) end as found
     ) as t
     where s.midpoint_mjd_tai >= p_from_mjd_tai and s.midpoint_mjd_tai < p_upto_mjd_tai
       and t.found is not null
$$;
comment on function l1_api.broken_reasons(double precision, double precision) is
    'A source has an object or a reason why not, never both; what is forced has an object, and only what is forced is precovery';
