create function l1_api.record_deliveries(
    p_destination text,
    p_alert_ids   bigint[],
    p_states      text[],
    p_details     text[]
)
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, l1, l1_api, pg_temp
as $$
-- Function: l1_api.record_deliveries(4)
--
--   Enters into the ledger what became of alerts at a destination.  What failed is tried again after twice as long each
--   time, from one second to an hour, until it is too old.
--
-- Parameters:
--   p_destination  - name
--   p_alert_ids, p_states, p_details  - the alerts; delivered, refused or failed; and why
-- Reads:   l1.destination, l1.alert
-- Writes:  l1.delivery; what is delivered stays so
declare
    v_destination l1.destination;
    v_now         timestamptz := clock_timestamp();
begin
    perform l1_api.refuse_other_isolation();
    -- Also of one that was removed meanwhile: what happened, happened.
    select d.* into v_destination from l1.destination d where d.destination = p_destination;

    insert into l1.delivery as y (destination, alert_id, state, n_attempts, first_at, last_at, next_at, detail)
    select p_destination, outcome.alert_id, outcome.state, 1, v_now, v_now,
           case when outcome.state = 'failed' then v_now + interval '1 second' end, outcome.detail
      from unnest(p_alert_ids, p_states, p_details) as outcome(alert_id, state, detail)
     order by outcome.alert_id
        on conflict (destination, alert_id) do update
       set state = excluded.state,
           n_attempts = y.n_attempts + 1,
           last_at = excluded.last_at,
           next_at = case when excluded.state = 'failed'
                          then v_now + least(interval '1 second' * 2.0 ^ least(y.n_attempts, 20), interval '1 hour') end,
           detail = excluded.detail
     where y.state <> 'delivered';

    update l1.delivery y
       set state = 'given_up',
           next_at = null
      from l1.alert a
     where y.destination = p_destination
       and y.alert_id = any (p_alert_ids)
       and y.state = 'failed'
       and a.alert_id = y.alert_id
       and (v_now - greatest(a.stamp, v_destination.created_at) > v_destination.give_up_after
            or v_destination.removed_at is not null);
end
$$;
comment on function l1_api.record_deliveries(text, bigint[], text[], text[]) is
    'Enters into the ledger what became of alerts at a destination';
