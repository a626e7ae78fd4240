create function l1_api.prepare_nights()
returns integer
language sql
volatile
set search_path = pg_catalog, l1, l1_api, pg_temp
as $$
    -- Function: l1_api.prepare_nights(0)
    --
    --   Makes the partition leaves of the 30 nights after the latest visit, so that no ingest has to.
    --
    -- Returns:
    --   number of times that leaves were made
    -- Reads:   l1.visit
    -- Locks:   see ensure_partitions
    select count(*) filter (where l1_api.ensure_partitions(latest.mjd_tai + later.days))::integer
      from (select max(v.midpoint_mjd_tai) as mjd_tai from l1.visit v) as latest
     cross join (values (1), (30)) as later(days)
     where latest.mjd_tai is not null
$$;
comment on function l1_api.prepare_nights() is 'Makes the partition leaves of the nights to come';
