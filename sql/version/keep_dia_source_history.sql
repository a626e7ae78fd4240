create function l1_api.keep_dia_source_history()
returns trigger
language plpgsql
volatile
security definer
set search_path = pg_catalog, l1, l1_api, pg_temp
as $$
-- Trigger function: l1_api.keep_dia_source_history(0)
--
--   Writes the former versions of changed and deleted rows of l1.dia_source to its history, once per statement, so that
--   current + history = every version ever.
--
-- Reads:   the transition tables; settings l1.stamp, l1.closed_reason
-- Writes:  l1.dia_source_history, whose columns are the closing ones, then those of l1.dia_source
declare
    v_stamp timestamptz;
begin
    if not exists (select from former) then
        return null;
    end if;
    v_stamp := l1_api.stamp_in_force();

    if tg_op = 'UPDATE' then
        if exists (select from present where present.validity_start <> v_stamp) then
            raise exception 'a changed row of dia_source must carry the stamp of its transaction'
                using errcode = 'L1V01',
                      hint = 'Set validity_start to the value that take_stamp returned.';
        end if;
    end if;

    insert into l1.dia_source_history
    select v_stamp,
           nullif(current_setting('l1.closed_reason', true), ''),
           former.*
      from former;

    return null;
end
$$;
comment on function l1_api.keep_dia_source_history() is
    'Trigger: writes former versions of dia_source to its history';

create trigger "10_keep_history_of_updated"
    after update on l1.dia_source
    referencing old table as former new table as present
    for each statement
    execute function l1_api.keep_dia_source_history();

create trigger "10_keep_history_of_deleted"
    after delete on l1.dia_source
    referencing old table as former
    for each statement
    execute function l1_api.keep_dia_source_history();
