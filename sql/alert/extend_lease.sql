create function l1_api.extend_lease(p_consumer text, p_batch_id bigint, p_lease interval)
returns boolean
language sql
volatile
security definer
set search_path = pg_catalog, l1, l1_api, pg_temp
as $$
    -- Function: l1_api.extend_lease(3)
    --
    --   Keeps a batch that takes longer than its lease.
    --
    -- Parameters:
    --   p_consumer, p_batch_id  - as next_alerts returned it
    --   p_lease                 - for how long from now
    -- Returns:
    --   false if it was acknowledged meanwhile
    -- Writes:  l1.alert_batch
    with extended as (
        update l1.alert_batch b
           set leased_until = clock_timestamp() + p_lease
         where b.consumer = p_consumer
           and b.batch_id = p_batch_id
           and b.acked_at is null
        returning 1
    )
    select exists (select from extended)
$$;
comment on function l1_api.extend_lease(text, bigint, interval) is 'Keeps a batch of alerts that takes longer than its lease';
