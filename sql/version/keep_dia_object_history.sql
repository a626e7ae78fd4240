create function l1_api.keep_dia_object_history()
returns trigger
language plpgsql
volatile
security definer
set search_path = pg_catalog, l1, l1_api, pg_temp
set enable_nestloop = off
as $$
-- Trigger function: l1_api.keep_dia_object_history(0)
--
--   Writes the former versions of changed and deleted rows of l1.dia_object to its history, once per statement, so that
--   current + history = every version ever; and the places of those that have left their small cell of the sky, so that
--   cone_search_asof finds every version without an index on all of them.
--
-- Reads:   the transition tables; settings l1.stamp, l1.closed_reason, l1.redirect_to
-- Writes:  l1.dia_object_history, whose columns are the closing ones, then those of l1.dia_object;
--          l1.dia_object_former_place
declare
    v_stamp timestamptz;
begin
    if not exists (select from former) then
        return null;
    end if;
    v_stamp := l1_api.stamp_in_force();

    if tg_op = 'UPDATE' then
        if exists (select from present where present.validity_start <> v_stamp) then
            raise exception 'a changed row of dia_object must carry the stamp of its transaction'
                using errcode = 'L1V01',
                      hint = 'Set validity_start to the value that take_stamp returned.';
        end if;
    end if;

    insert into l1.dia_object_history
    select v_stamp,
           case when tg_op = 'DELETE' then nullif(current_setting('l1.closed_reason', true), '') end,
           case when tg_op = 'DELETE' then nullif(current_setting('l1.redirect_to', true), '')::bigint end,
           former.*
      from former;

    if tg_op = 'UPDATE' then
        insert into l1.dia_object_former_place (dia_object_id, left_at, ra, dec)
        select former.dia_object_id, v_stamp, former.ra, former.dec
          from former
          join present
            on present.dia_object_id = former.dia_object_id
         where l1_api.small_cell(former.ra, former.dec) <> l1_api.small_cell(present.ra, present.dec);
    else
        insert into l1.dia_object_former_place (dia_object_id, left_at, ra, dec)
        select former.dia_object_id, v_stamp, former.ra, former.dec
          from former;
    end if;

    return null;
end
$$;
comment on function l1_api.keep_dia_object_history() is
    'Trigger: writes former versions of dia_object to its history';

create trigger "10_keep_history_of_updated"
    after update on l1.dia_object
    referencing old table as former new table as present
    for each statement
    execute function l1_api.keep_dia_object_history();

create trigger "10_keep_history_of_deleted"
    after delete on l1.dia_object
    referencing old table as former
    for each statement
    execute function l1_api.keep_dia_object_history();
