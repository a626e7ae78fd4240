create function l1_api.open_deliveries(p_destination text, p_alert_ids bigint[])
returns setof bigint
language plpgsql
volatile
security definer
set search_path = pg_catalog, l1, l1_api, pg_temp
as $$
-- Function: l1_api.open_deliveries(2)
--
--   Which alerts of a batch are still to go to a destination: not those that the ledger has, whatever became of them, and
--   not those that are too old by now, which it enters as given up.
--
-- Parameters:
--   p_destination  - name
--   p_alert_ids    - the alerts of the batch
-- Returns:
--   those to be sent, in the order given
-- Reads:   l1.destination, l1.alert
-- Writes:  l1.delivery
--
-- Algorithm:
--   Alerts from before the destination count as old as it is: who asks for them from the start on, is to get them.
declare
    v_destination l1.destination := l1_api.require_destination(p_destination);
    v_too_old     bigint[];
begin
    perform l1_api.refuse_other_isolation();
    v_too_old := array(
        select a.alert_id
          from l1.alert a
         where a.alert_id = any (p_alert_ids)
           and clock_timestamp() - greatest(a.stamp, v_destination.created_at) > v_destination.give_up_after);

    insert into l1.delivery (destination, alert_id, state, n_attempts, first_at, last_at, detail)
    select p_destination, old.alert_id, 'given_up', 0, clock_timestamp(), clock_timestamp(), 'too old when its turn came'
      from unnest(v_too_old) as old(alert_id)
     order by old.alert_id
        on conflict do nothing;

    return query
    select given.alert_id
      from unnest(p_alert_ids) with ordinality as given(alert_id, rank)
     where not exists (select
                         from l1.delivery y
                        where y.destination = p_destination
                          and y.alert_id = given.alert_id)
     order by given.rank;
end
$$;
comment on function l1_api.open_deliveries(text, bigint[]) is 'Which alerts of a batch are still to go to a destination';
