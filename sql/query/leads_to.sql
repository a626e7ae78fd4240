create function l1_api.leads_to(p_dia_object_id bigint)
returns bigint
language plpgsql
stable
strict
parallel safe
set search_path = pg_catalog, l1, l1_api, pg_temp
as $$
-- Function: l1_api.leads_to(1)
--
--   The DiaObject that an id stands for now: itself, or the one that it became part of by merges.
--
-- Parameters:
--   p_dia_object_id  - an id
-- Returns:
--   the current DiaObject; or, where the last in the chain was retired without one to follow, that one
-- Reads:   l1.dia_object, l1.dia_object_history
--
-- Algorithm:
--   An object is retired into a current one, so each step of the chain was retired later than the one before: it ends.
declare
    v_id   bigint := p_dia_object_id;
    v_next bigint;
begin
    loop
        if exists (select from l1.dia_object o where o.dia_object_id = v_id) then
            return v_id;
        end if;
        v_next := (select h.redirect_to
                     from l1.dia_object_history h
                    where h.dia_object_id = v_id
                    order by h.validity_start desc
                    limit 1);
        if v_next is null then
            return v_id;
        end if;
        v_id := v_next;
    end loop;
end
$$;
comment on function l1_api.leads_to(bigint) is 'The DiaObject that an id stands for now';
