create function l1_api.drop_consumer(p_consumer text)
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, l1, l1_api, pg_temp
as $$
-- Function: l1_api.drop_consumer(1)
--
--   Forgets a consumer and its batches.  The alerts stay.  That of a destination goes with it, by remove_destination.
--
-- Reads:   l1.destination
-- Writes:  l1.alert_cursor, l1.alert_batch
begin
    perform l1_api.require_consumer(p_consumer);
    if exists (select from l1.destination d where 'destination:' || d.destination = p_consumer and d.removed_at is null) then
        raise exception 'consumer % is that of a destination, whose alerts would be lost', p_consumer
            using errcode = 'L1A09',
                  hint = 'Remove the destination with l1db destination remove.';
    end if;
    delete from l1.alert_cursor where consumer = p_consumer;
end
$$;
comment on function l1_api.drop_consumer(text) is 'Forgets a consumer and its batches';
