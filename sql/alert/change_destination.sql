create function l1_api.change_destination(p_destination text, p_changes jsonb)
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, l1, l1_api, pg_temp
as $$
-- Function: l1_api.change_destination(2)
--
--   Changes a destination: where it is, what goes there, whether anything does.  Alerts that wait, go by the new rules.
--
-- Parameters:
--   p_destination  - name
--   p_changes      - {"column": value, ...} of settings, selection, give_up_after, is_enabled
-- Writes:  l1.destination
declare
    v_present l1.destination;
    v_unknown text;
begin
    perform l1_api.refuse_other_isolation();
    v_present := l1_api.require_destination(p_destination);
    select string_agg(k, ', ' order by k)
      into v_unknown
      from jsonb_object_keys(p_changes) as k
     where k not in ('settings', 'selection', 'give_up_after', 'is_enabled');
    if v_unknown is not null then
        raise exception 'a destination''s % cannot be changed', v_unknown
            using errcode = 'L1D04',
                  hint = 'Change settings, selection, give_up_after or is_enabled; else add another destination.';
    end if;
    update l1.destination d
       set settings = changed.settings,
           selection = nullif(btrim(changed.selection), ''),
           give_up_after = changed.give_up_after,
           is_enabled = changed.is_enabled
      from jsonb_populate_record(v_present, p_changes) as changed
     where d.destination = p_destination;
    perform pg_notify('l1_destination', p_destination);
end
$$;
comment on function l1_api.change_destination(text, jsonb) is 'Changes a destination';
