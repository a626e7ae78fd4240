create function l1_api.add_consumer(p_consumer text, p_start text default 'now')
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, l1, l1_api, pg_temp
as $$
-- Function: l1_api.add_consumer(2)
--
--   Registers a consumer of alerts.  How to consume:
--
--     select l1_api.add_consumer('my_listener', 'start');           -- once
--     listen l1_alert;                                              -- the doorbell; losing one costs time, not alerts
--     select * from l1_api.next_alerts('my_listener', 100);         -- a batch, or nothing
--     select l1_api.ack_alerts('my_listener', <batch_id>);          -- done with it
--
--   Several sessions may work for one consumer; each gets batches of its own.  A batch that is not acknowledged within
--   its lease is handed out again, the same alerts under the same batch_id.
--
-- Parameters:
--   p_consumer  - name: 1 to 63 letters, digits and _ . : -
--   p_start     - where it begins: 'now', 'start' (with the first alert there is), or a time: alerts stamped since
-- Reads:   l1.destination
-- Writes:  l1.alert_cursor
declare
    v_not_before timestamptz;
begin
    perform l1_api.refuse_other_isolation();
    if p_consumer is null or p_consumer !~ '^[A-Za-z0-9_.:-]{1,63}$' then
        raise exception '% is no name for a consumer', coalesce(quote_literal(p_consumer), 'NULL')
            using errcode = 'L1A01',
                  hint = 'Use 1 to 63 letters, digits and the characters _ . : -';
    end if;
    if starts_with(p_consumer, 'destination:')
       and not exists (select from l1.destination d where 'destination:' || d.destination = p_consumer) then
        raise exception '% is a name for the consumer of a destination, and there is none of that name', p_consumer
            using errcode = 'L1A01',
                  hint = 'Take another name, or add the destination with l1db destination add.';
    end if;
    if p_start is null or p_start not in ('now', 'start') then
        begin
            v_not_before := p_start::timestamptz;
        exception when data_exception then
            v_not_before := null;
        end;
        if v_not_before is null then
            raise exception '% is no place to start', coalesce(quote_literal(p_start), 'NULL')
                using errcode = 'L1A02',
                      hint = 'Start at now, start, or a time such as 2026-01-31T12:00:00Z.';
        end if;
        if v_not_before > clock_timestamp() then
            raise exception '% lies in the future', p_start
                using errcode = 'L1A02',
                      hint = 'Start at now to get what comes.';
        end if;
    end if;

    -- Transactions before the first are all visible in '1:1:', and no alert is of one of them.
    insert into l1.alert_cursor (consumer, seen, window_end, not_before)
    values (p_consumer,
            case when p_start = 'now' then l1_api.present_snapshot() else '1:1:' end,
            case when p_start <> 'now' then l1_api.present_snapshot() end,
            v_not_before)
    on conflict do nothing;
    if not found then
        raise exception 'consumer % exists already', p_consumer
            using errcode = 'L1A03',
                  hint = 'Use it, or drop_consumer first.';
    end if;
end
$$;
comment on function l1_api.add_consumer(text, text) is
    'Registers a consumer of alerts, starting at now, start, or a time';
