create view l1_api.destination_status as
    -- View: l1_api.destination_status
    --
    --   What became of the alerts at each destination, and how far behind it is.
    select d.destination,
           d.kind,
           d.format,
           d.is_enabled,
           coalesce(ledger.n_delivered, 0) as n_delivered,
           coalesce(ledger.n_refused, 0) as n_refused,
           coalesce(ledger.n_given_up, 0) as n_given_up,
           coalesce(ledger.n_failed, 0) as n_failed,
           c.open_alerts + c.waiting_alerts as n_waiting,
           least(c.oldest_open, c.oldest_waiting, ledger.oldest_failed) as oldest,
           ledger.last_delivered_at,
           d.trouble,
           d.trouble_since,
           failure.last_at as last_failure_at,
           failure.detail as last_failure
      from l1.destination d
      left join l1_api.consumer_status c
        on c.consumer = 'destination:' || d.destination
      left join lateral (
        select count(*) filter (where y.state = 'delivered') as n_delivered,
               count(*) filter (where y.state = 'refused') as n_refused,
               count(*) filter (where y.state = 'given_up') as n_given_up,
               count(*) filter (where y.state = 'failed') as n_failed,
               min(y.first_at) filter (where y.state = 'failed') as oldest_failed,
               max(y.last_at) filter (where y.state = 'delivered') as last_delivered_at
          from l1.delivery y
         where y.destination = d.destination
      ) as ledger
        on true
      left join lateral (
        select y.last_at,
               y.detail
          from l1.delivery y
         where y.destination = d.destination
           and y.state <> 'delivered'
         order by y.last_at desc
         limit 1
      ) as failure
        on true
     where d.removed_at is null;
comment on view l1_api.destination_status is
    'What became of the alerts at each destination, and how far behind it is';
