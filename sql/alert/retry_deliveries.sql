create function l1_api.retry_deliveries(p_destination text)
returns bigint
language plpgsql
volatile
security definer
set search_path = pg_catalog, l1, l1_api, pg_temp
as $$
-- Function: l1_api.retry_deliveries(1)
--
--   Has everything tried again at once that a destination refused, that failed or was given up.  What is too old by now is
--   given up again after one attempt; give_up_after may be changed before.
--
-- Parameters:
--   p_destination  - name
-- Returns:
--   number of alerts
-- Writes:  l1.delivery
declare
    v_n bigint;
begin
    perform l1_api.refuse_other_isolation();
    perform l1_api.require_destination(p_destination);
    update l1.delivery y
       set state = 'failed',
           next_at = clock_timestamp()
     where y.destination = p_destination
       and y.state <> 'delivered';
    get diagnostics v_n = row_count;
    perform pg_notify('l1_destination', p_destination);
    return v_n;
end
$$;
comment on function l1_api.retry_deliveries(text) is
    'Has everything tried again at once that a destination did not take';
