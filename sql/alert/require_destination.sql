create function l1_api.require_destination(p_destination text)
returns l1.destination
language plpgsql
stable
set search_path = pg_catalog, l1, l1_api, pg_temp
as $$
-- Function: l1_api.require_destination(1)
--
--   A destination by its name; refuses one that does not exist or was removed, and lists those that do.
--
-- Reads:   l1.destination
declare
    v_destination l1.destination;
begin
    select d.* into v_destination from l1.destination d where d.destination = p_destination and d.removed_at is null;
    if exists (select from l1.destination d where d.destination = p_destination and d.removed_at is not null) then
        raise exception 'destination % was removed', p_destination
            using errcode = 'L1D01',
                  hint = 'Its ledger is kept under that name; add another with l1db destination add.';
    end if;
    if v_destination.destination is null then
        raise exception 'there is no destination %; there are: %', coalesce(p_destination, 'NULL'),
                        coalesce((select string_agg(d.destination, ', ' order by d.destination)
                                    from l1.destination d
                                   where d.removed_at is null),
                                 'none')
            using errcode = 'L1D01',
                  hint = 'Add it with l1db destination add.';
    end if;
    return v_destination;
end
$$;
comment on function l1_api.require_destination(text) is 'A destination by its name; refuses one that does not exist';
