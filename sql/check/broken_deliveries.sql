create function l1_api.broken_deliveries()
returns table (thing text, id bigint, found text)
language sql
stable
parallel safe
as $$
    -- Function: l1_api.broken_deliveries(0)
    --
    --   What was built or delivered is an alert that was issued, and what was delivered was built
    --
    -- Returns:
    --   what breaks this; nothing if all is well
    -- Reads: l1.alert, l1.alert_packet, l1.delivery, l1.destination
    select 'alert', p.alert_id, format('its packet of format %s was built, and there is no such alert', p.format)
      from l1.alert_packet p
     where not exists (select from l1.alert a where a.alert_id = p.alert_id)
    union all
    select 'alert', y.alert_id, format('%s at %s, and there is no such alert', y.state, y.destination)
      from l1.delivery y
     where not exists (select from l1.alert a where a.alert_id = y.alert_id)
    union all
    select 'alert', y.alert_id, format('delivered to %s, and no packet of format %s was built', y.destination, d.format)
      from l1.delivery y
      join l1.destination d
        on d.destination = y.destination
     where y.state = 'delivered'
       and not exists (select
                         from l1.alert_packet p
                        where p.alert_id = y.alert_id
                          and p.format = d.format)
$$;
comment on function l1_api.broken_deliveries() is
    'What was built or delivered is an alert that was issued, and what was delivered was built';
