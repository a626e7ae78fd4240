create function l1_api.remove_destination(p_destination text)
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, l1, l1_api, pg_temp
as $$
-- Function: l1_api.remove_destination(1)
--
--   Removes a destination and its consumer: nothing goes there any more.  Its ledger stays.
--
-- Writes:  l1.destination, l1.alert_cursor, l1.alert_batch; l1.delivery, where what was to be tried again is given up
begin
    perform l1_api.refuse_other_isolation();
    perform l1_api.require_destination(p_destination);
    update l1.destination d
       set removed_at = clock_timestamp(),
           is_enabled = false
     where d.destination = p_destination;
    perform l1_api.drop_consumer('destination:' || p_destination);
    update l1.delivery y
       set state = 'given_up',
           next_at = null
     where y.destination = p_destination
       and y.next_at is not null;
    perform pg_notify('l1_destination', p_destination);
end
$$;
comment on function l1_api.remove_destination(text) is 'Removes a destination; its ledger stays';
