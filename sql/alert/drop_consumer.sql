create function l1_api.drop_consumer(p_consumer text)
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, l1, l1_api, pg_temp
as $$
-- Function: l1_api.drop_consumer(1)
--
--   Forgets a consumer and its batches.  The alerts stay.
--
-- Writes:  l1.alert_cursor, l1.alert_batch
begin
    perform l1_api.require_consumer(p_consumer);
    delete from l1.alert_cursor where consumer = p_consumer;
end
$$;
comment on function l1_api.drop_consumer(text) is 'Forgets a consumer and its batches';
