create function l1_api.broken_stamps()
returns table (thing text, id bigint, found text)
language sql
stable
parallel safe
as $$
    -- Function: l1_api.broken_stamps(0)
    --
    --   Every time that versions, sources, alerts and the ledger carry is the stamp of a transaction
    --
    -- Returns:
    --   what breaks this; nothing if all is well
    -- Reads: l1.stamp, and all tables that carry stamps
    --
    -- Algorithm:
    --   Databases that are older than the list of stamps were given those that could be told, in one transaction:
    --   within that time nothing is asked.
    with carried as (
        select 'dia_object' as thing, 'validity_start' as what, v.validity_start as time, count(*) as n
          from l1.dia_object v
         where v.validity_start is not null
         group by v.validity_start
        union all
        select 'dia_object_history' as thing, 'validity_start' as what, v.validity_start as time, count(*) as n
          from l1.dia_object_history v
         where v.validity_start is not null
         group by v.validity_start
        union all
        select 'dia_object_history' as thing, 'validity_end' as what, v.validity_end as time, count(*) as n
          from l1.dia_object_history v
         where v.validity_end is not null
         group by v.validity_end
        union all
        select 'dia_object_band' as thing, 'validity_start' as what, v.validity_start as time, count(*) as n
          from l1.dia_object_band v
         where v.validity_start is not null
         group by v.validity_start
        union all
        select 'dia_object_band_history' as thing, 'validity_start' as what, v.validity_start as time, count(*) as n
          from l1.dia_object_band_history v
         where v.validity_start is not null
         group by v.validity_start
        union all
        select 'dia_object_band_history' as thing, 'validity_end' as what, v.validity_end as time, count(*) as n
          from l1.dia_object_band_history v
         where v.validity_end is not null
         group by v.validity_end
        union all
        select 'dia_source' as thing, 'validity_start' as what, v.validity_start as time, count(*) as n
          from l1.dia_source v
         where v.validity_start is not null
         group by v.validity_start
        union all
        select 'dia_source' as thing, 'time_processed' as what, v.time_processed as time, count(*) as n
          from l1.dia_source v
         where v.time_processed is not null
         group by v.time_processed
        union all
        select 'dia_source_history' as thing, 'validity_start' as what, v.validity_start as time, count(*) as n
          from l1.dia_source_history v
         where v.validity_start is not null
         group by v.validity_start
        union all
        select 'dia_source_history' as thing, 'validity_end' as what, v.validity_end as time, count(*) as n
          from l1.dia_source_history v
         where v.validity_end is not null
         group by v.validity_end
        union all
        select 'alert' as thing, 'stamp' as what, v.stamp as time, count(*) as n
          from l1.alert v
         where v.stamp is not null
         group by v.stamp
        union all
        select 'visit_detector' as thing, 'time_processed' as what, v.time_processed as time, count(*) as n
          from l1.visit_detector v
         where v.time_processed is not null
         group by v.time_processed
        union all
        select 'visit_detector' as thing, 'withdrawn_at' as what, v.withdrawn_at as time, count(*) as n
          from l1.visit_detector v
         where v.withdrawn_at is not null
         group by v.withdrawn_at
    ), entered as (
        select min(s.stamp) as first, max(s.stamp) as last
          from l1.stamp s
         where s.xid = (select e.xid from l1.stamp e order by e.stamp limit 1)
    )
    select c.thing, null::bigint, format('%s row(s) have %s %s, which is no stamp', c.n, c.what, c.time)
      from carried c
     cross join entered
     where not exists (select from l1.stamp s where s.stamp = c.time)
       and (c.time between entered.first and entered.last) is not true
$$;
comment on function l1_api.broken_stamps() is
    'Every time that versions, sources, alerts and the ledger carry is the stamp of a transaction';
