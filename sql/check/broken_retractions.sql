create function l1_api.broken_retractions(
    p_from_mjd_tai double precision default '-infinity',
    p_upto_mjd_tai double precision default 'infinity'
)
returns table (thing text, id bigint, found text)
language sql
stable
parallel safe
as $$
    -- Function: l1_api.broken_retractions(2)
    --
    --   Every alert is retracted whose source was withdrawn, and no other
    --
    -- Parameters:
    --   p_from_mjd_tai, p_upto_mjd_tai - only what was observed from the one up to the other, which is not included,
    --   MJD TAI [d]
    -- Returns:
    --   what breaks this; nothing if all is well
    -- Reads: l1.alert, l1.alert_image, l1.dia_source, l1.dia_source_history
    --
    -- Algorithm:
    --   A source is withdrawn when a version of it ends and none begins with the same stamp.  It may be live again since, by
    --   an undo or another ingest, and withdrawn once more: it is retracted the first time.  What was withdrawn before
    --   there were retractions has none; these are as old as l1.alert_image.  That one that was revised goes on at once is
    --   the promise of broken_source_versions.
    with withdrawal as materialized (
        select h.dia_source_id, h.validity_end as stamp, h.closed_reason
          from l1.dia_source_history h
         where h.midpoint_mjd_tai >= p_from_mjd_tai and h.midpoint_mjd_tai < p_upto_mjd_tai
           and not exists (select
                             from l1.dia_source s
                            where s.dia_source_id = h.dia_source_id
                              and s.visit = h.visit
                              and s.detector = h.detector
                              and s.validity_start = h.validity_end
                              and s.midpoint_mjd_tai >= p_from_mjd_tai and s.midpoint_mjd_tai < p_upto_mjd_tai)
           and not exists (select
                             from l1.dia_source_history next
                            where next.dia_source_id = h.dia_source_id
                              and next.visit = h.visit
                              and next.detector = h.detector
                              and next.validity_start = h.validity_end
                              and next.midpoint_mjd_tai >= p_from_mjd_tai and next.midpoint_mjd_tai < p_upto_mjd_tai)
    )
    select 'alert', a.alert_id, format('source %s was withdrawn at %s, and no retraction says so', a.dia_source_id, w.stamp)
      from l1.alert a
      join withdrawal w
        on w.dia_source_id = a.dia_source_id
       and w.stamp > a.stamp
       and w.closed_reason is distinct from 'revised'
       and w.stamp >= (select min(i.stamp) from l1.alert_image i)
     where a.midpoint_mjd_tai >= p_from_mjd_tai and a.midpoint_mjd_tai < p_upto_mjd_tai
       and a.kind <> 'retraction'
       and not exists (select
                         from l1.alert r
                        where r.dia_source_id = a.dia_source_id
                          and r.kind = 'retraction'
                          and r.stamp <= w.stamp
                          and r.midpoint_mjd_tai >= p_from_mjd_tai and r.midpoint_mjd_tai < p_upto_mjd_tai)
    union all
    select 'alert', r.alert_id, format('retracts source %s, which was not withdrawn at %s', r.dia_source_id, r.stamp)
      from l1.alert r
     where r.midpoint_mjd_tai >= p_from_mjd_tai and r.midpoint_mjd_tai < p_upto_mjd_tai
       and r.kind = 'retraction'
       and not exists (select
                         from withdrawal w
                        where w.dia_source_id = r.dia_source_id
                          and w.stamp = r.stamp)
    union all
    select 'alert', r.alert_id, format('retracts source %s, which had no alert', r.dia_source_id)
      from l1.alert r
     where r.midpoint_mjd_tai >= p_from_mjd_tai and r.midpoint_mjd_tai < p_upto_mjd_tai
       and r.kind = 'retraction'
       and not exists (select
                         from l1.alert a
                        where a.dia_source_id = r.dia_source_id
                          and a.kind <> 'retraction'
                          and a.stamp < r.stamp
                          and a.midpoint_mjd_tai >= p_from_mjd_tai and a.midpoint_mjd_tai < p_upto_mjd_tai)
$$;
comment on function l1_api.broken_retractions(double precision, double precision) is
    'Every alert is retracted whose source was withdrawn, and no other';
