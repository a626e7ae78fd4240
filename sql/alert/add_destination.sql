create function l1_api.add_destination(
    p_destination   text,
    p_kind          text,
    p_format        text,
    p_settings      jsonb,
    p_selection     text default null,
    p_give_up_after interval default '7 days',
    p_start         text default 'now'
)
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, l1, l1_api, pg_temp
as $$
-- Function: l1_api.add_destination(7)
--
--   Makes a destination of packets, and its consumer of alerts, `destination:<name>`.  `l1db destination add` also looks
--   whether the settings are in order and the peer answers.
--
-- Parameters:
--   p_destination    - name: 1 to 50 letters, digits and _ . -
--   p_kind           - vtp, kafka, webhook, email or file
--   p_format         - lsst-11.1, l1db or voevent
--   p_settings       - what the transport needs to know; secrets only as names of environment variables
--   p_selection      - SQL condition on l1_api.alert_candidate; NULL: all alerts go
--   p_give_up_after  - alerts older than this are not tried any more
--   p_start          - as add_consumer
-- Writes:  l1.destination, l1.alert_cursor
begin
    perform l1_api.refuse_other_isolation();
    if exists (select from l1.destination d where d.destination = p_destination) then
        raise exception 'there is a destination % already, or there was one', p_destination
            using errcode = 'L1D02',
                  hint = 'Its ledger is kept under that name; take another.';
    end if;
    if p_destination is null or p_destination !~ '^[A-Za-z0-9_.-]{1,50}$' then
        raise exception '% is no name for a destination', coalesce(quote_literal(p_destination), 'NULL')
            using errcode = 'L1D03',
                  hint = 'Use 1 to 50 letters, digits and the characters _ . -';
    end if;
    insert into l1.destination (destination, kind, format, settings, selection, give_up_after)
    values (p_destination, p_kind, p_format, p_settings, nullif(btrim(p_selection), ''), p_give_up_after);
    perform l1_api.add_consumer('destination:' || p_destination, p_start);
    perform pg_notify('l1_destination', p_destination);
end
$$;
comment on function l1_api.add_destination(text, text, text, jsonb, text, interval, text) is
    'Makes a destination of packets, and its consumer of alerts';
