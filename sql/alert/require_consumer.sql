create function l1_api.require_consumer(p_consumer text)
returns void
language plpgsql
stable
security definer
set search_path = pg_catalog, l1, l1_api, pg_temp
as $$
-- Function: l1_api.require_consumer(1)
--
--   Refuses the name of a consumer that does not exist, and lists those that do.
--
-- Reads:   l1.alert_cursor
begin
    if not exists (select from l1.alert_cursor c where c.consumer = p_consumer) then
        raise exception 'there is no consumer %; there are: %', coalesce(p_consumer, 'NULL'),
                        coalesce((select string_agg(c.consumer, ', ' order by c.consumer) from l1.alert_cursor c),
                                 'none')
            using errcode = 'L1A04',
                  hint = 'Add it with l1_api.add_consumer.';
    end if;
end
$$;
comment on function l1_api.require_consumer(text) is 'Refuses the name of a consumer that does not exist';
