create function l1_api.oldest_announced()
returns timestamptz
language sql
stable
parallel restricted
as $$
    -- Function: l1_api.oldest_announced(0)
    --
    --   The least of the bounds that open transactions have announced for their stamps; see take_stamp.
    --
    -- Returns:
    --   database time; NULL: no transaction has announced one
    -- Reads:   pg_locks, which every role may.  It shows what holds now, whatever the snapshot.
    select min(timestamptz '2000-01-01Z'
               + bound.micros / 1000000 * interval '1 second'
               + bound.micros % 1000000 * interval '1 microsecond')
      from pg_catalog.pg_locks l
     cross join lateral (
        select l.classid::bigint << 32 | l.objid::bigint as key
     ) as held
     cross join lateral (
        select held.key & ((1::bigint << 55) - 1) as micros
     ) as bound
     where l.locktype = 'advisory'
       and l.objsubid = 1
       and l.granted
       and l.mode = 'ShareLock'
       and l.database = (select d.oid from pg_catalog.pg_database d where d.datname = current_database())
       and held.key >> 55 = 195
$$;
comment on function l1_api.oldest_announced() is
    'The least of the bounds that open transactions have announced for their stamps';
