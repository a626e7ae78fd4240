create function l1_api.broken_alert_sources(
    p_from_mjd_tai double precision default '-infinity',
    p_upto_mjd_tai double precision default 'infinity'
)
returns table (thing text, id bigint, found text)
language sql
stable
parallel safe
as $$
    -- Function: l1_api.broken_alert_sources(2)
    --
    --   Every alert has its source, live or former, of the same visit and detector
    --
    -- Parameters:
    --   p_from_mjd_tai, p_upto_mjd_tai - only what was observed from the one up to the other, which is not included,
    --   MJD TAI [d]
    -- Returns:
    --   what breaks this; nothing if all is well
    -- Reads: l1.alert, l1.dia_source, l1.dia_source_history
    select 'alert', a.alert_id, format('there is no source %s of visit %s, detector %s', a.dia_source_id, a.visit, a.detector)
      from l1.alert a
     where a.midpoint_mjd_tai >= p_from_mjd_tai and a.midpoint_mjd_tai < p_upto_mjd_tai
       and not exists (select
                         from l1.dia_source s
                        where s.dia_source_id = a.dia_source_id
                          and s.visit = a.visit
                          and s.detector = a.detector
                          and s.midpoint_mjd_tai >= p_from_mjd_tai and s.midpoint_mjd_tai < p_upto_mjd_tai)
       and not exists (select
                         from l1.dia_source_history h
                        where h.dia_source_id = a.dia_source_id
                          and h.visit = a.visit
                          and h.detector = a.detector
                          and h.midpoint_mjd_tai >= p_from_mjd_tai and h.midpoint_mjd_tai < p_upto_mjd_tai)
$$;
comment on function l1_api.broken_alert_sources(double precision, double precision) is
    'Every alert has its source, live or former, of the same visit and detector';
