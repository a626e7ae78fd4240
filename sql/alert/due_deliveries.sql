create function l1_api.due_deliveries(p_destination text, p_limit integer, p_lease interval)
returns setof bigint
language plpgsql
volatile
security definer
set search_path = pg_catalog, l1, l1_api, pg_temp
as $$
-- Function: l1_api.due_deliveries(3)
--
--   Takes alerts that failed and are to be tried again; nobody else gets them within the lease.
--
-- Parameters:
--   p_destination  - name
--   p_limit        - at most so many
--   p_lease        - for how long they are the caller's
-- Returns:
--   the alerts, in order of alert_id
-- Writes:  l1.delivery
-- Locks:   the rows it returns, passing over those of others
begin
    perform l1_api.refuse_other_isolation();
    return query
    with due as (
        select y.alert_id
          from l1.delivery y
         where y.destination = p_destination
           and y.next_at <= clock_timestamp()
         order by y.next_at, y.alert_id
         limit p_limit
           for update skip locked
    ), taken as (
        update l1.delivery y
           set next_at = clock_timestamp() + p_lease
          from due
         where y.destination = p_destination
           and y.alert_id = due.alert_id
        returning y.alert_id
    )
    select taken.alert_id from taken order by taken.alert_id;
end
$$;
comment on function l1_api.due_deliveries(text, integer, interval) is 'Takes alerts that failed and are to be tried again';
