create function l1_api.ack_alerts(p_consumer text, p_batch_id bigint)
returns boolean
language plpgsql
volatile
security definer
set search_path = pg_catalog, l1, l1_api, pg_temp
as $$
-- Function: l1_api.ack_alerts(2)
--
--   Ends a batch: its alerts are done with and are not handed out again.
--
-- Parameters:
--   p_consumer  - name
--   p_batch_id  - as next_alerts returned it
-- Returns:
--   false if it was acknowledged before, by whoever got it after the lease had run out
-- Writes:  l1.alert_batch
begin
    perform l1_api.require_consumer(p_consumer);
    update l1.alert_batch b
       set acked_at = clock_timestamp()
     where b.consumer = p_consumer
       and b.batch_id = p_batch_id
       and b.acked_at is null;
    if found then
        return true;
    end if;

    if not exists (select from l1.alert_batch b where b.consumer = p_consumer and b.batch_id = p_batch_id) then
        raise exception 'consumer % has no batch %', p_consumer, p_batch_id
            using errcode = 'L1A06',
                  hint = 'Acknowledge a batch_id that next_alerts returned to this consumer.';
    end if;
    return false;
end
$$;
comment on function l1_api.ack_alerts(text, bigint) is 'Ends a batch of alerts';
