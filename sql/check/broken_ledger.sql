create function l1_api.broken_ledger()
returns table (thing text, id bigint, found text)
language sql
stable
parallel safe
as $$
    -- Function: l1_api.broken_ledger(0)
    --
    --   The ledger counts what is stored: sources, with objects old and new and without, forced measurements and
    --   alerts; and of the sources those that corrections withdrew since
    --
    -- Returns:
    --   what breaks this; nothing if all is well
    -- Reads: l1.visit_detector, l1.dia_source, l1.dia_object_history, l1.alert, l1.correction, l1.update_record
    --
    -- Algorithm:
    --   A source founded its object if the version that its transaction opened closed none before it. Sources and
    --   forced rows of attempts that were withdrawn are in the history; their alerts stay, and an alert is of the
    --   attempt that was live at its stamp. n_alerts counts alerts of detections. What became of sources by corrections
    --   since, and of forced measurements whose objects were retired, is not the ledger's, which tells of the ingest; those
    --   that n_withdrawn counts are no longer stored.
    with stored as (
        select s.visit,
               s.detector,
               count(*) filter (where not s.is_forced) as n_sources,
               count(*) filter (where not s.is_forced and s.dia_object_id is null) as n_without_object,
               count(*) filter (where s.is_forced and not s.is_precovery) as n_forced
          from l1.dia_source s
         group by s.visit, s.detector
    ), founded as (
        select s.visit, s.detector, count(*) as n
          from l1.dia_source s
         where not s.is_forced
           and s.dia_object_id is not null
           and not exists (select
                             from l1.dia_object_history h
                            where h.dia_object_id = s.dia_object_id
                              and h.validity_end = s.validity_start)
         group by s.visit, s.detector
    ), issued as (
        select d.visit, d.detector, d.attempt, sum(a.n) as n
          from (
            select a.visit, a.detector, a.stamp, count(*) as n
              from l1.alert a
             where a.kind = 'detection'
               and not exists (select from l1.correction c where c.stamp = a.stamp)
             group by a.visit, a.detector, a.stamp
          ) as a
          join l1.visit_detector d
            on d.visit = a.visit
           and d.detector = a.detector
           and d.time_processed <= a.stamp
           and (d.withdrawn_at > a.stamp or d.withdrawn_at is null)
         group by d.visit, d.detector, d.attempt
    ), changed as (
        select u.visit,
               u.detector,
               max(u.stamp) filter (where u.update_type = 'withdraw_diaforcedsource') as forced_at,
               max(u.stamp) filter (where u.update_type <> 'withdraw_diaforcedsource' and u.correction_id is not null)
                   as source_at
          from l1.update_record u
         where u.dia_source_id is not null
         group by u.visit, u.detector
    ), compared as materialized (
        select d.visit,
               d.detector,
               d.attempt,
               concat_ws(', ',
                   case when d.time_processed is null then 'time_processed is missing' end,
                   case when d.withdrawn_at is null then (
                       select string_agg(format('%s is %s, not %s', v.name, v.said, v.counted), ', ')
                         from (values
                           ('n_sources - n_withdrawn', d.n_sources - d.n_withdrawn, coalesce(s.n_sources, 0), null),
                           ('n_associated', d.n_associated,
                            coalesce(s.n_sources, 0) - coalesce(s.n_without_object, 0) - coalesce(f.n, 0), k.source_at),
                           ('n_new_objects', d.n_new_objects, coalesce(f.n, 0), k.source_at),
                           ('n_without_object', d.n_without_object, coalesce(s.n_without_object, 0), k.source_at),
                           ('n_forced', d.n_forced, coalesce(s.n_forced, 0), k.forced_at)
                         ) as v(name, said, counted, changed_at)
                        where v.said <> v.counted
                          and (v.changed_at is null or v.changed_at < d.time_processed)) end,
                   case when d.n_alerts <> coalesce(i.n, 0) then format('n_alerts is %s, not %s', d.n_alerts, coalesce(i.n, 0)) end
               ) as found
          from l1.visit_detector d
          left join stored s
            on s.visit = d.visit
           and s.detector = d.detector
          left join founded f
            on f.visit = d.visit
           and f.detector = d.detector
          left join changed k
            on k.visit = d.visit
           and k.detector = d.detector
          left join issued i
            on i.visit = d.visit
           and i.detector = d.detector
           and i.attempt = d.attempt
    )
    select 'visit', c.visit, format('detector %s, attempt %s: %s', c.detector, c.attempt, c.found)
      from compared c
     where c.found <> ''
$$;
comment on function l1_api.broken_ledger() is
    'The ledger counts what is stored: sources, with objects old and new and without, forced measurements and alerts; and of the sources those that corrections withdrew since';
