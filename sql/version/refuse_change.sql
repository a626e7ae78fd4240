create function l1_api.refuse_change()
returns trigger
language plpgsql
volatile
set search_path = pg_catalog, l1, l1_api
as $$
-- Trigger function: l1_api.refuse_change(0)
--
--   Keeps append-only tables append-only: versions of the survey's rules, histories, and alerts.
begin
    raise exception '% is append-only', tg_table_name
        using errcode = 'L1V02',
              hint = 'Add a new row instead.';
end
$$;
comment on function l1_api.refuse_change() is 'Trigger: keeps append-only tables append-only';

create trigger "00_refuse_change"
    before update or delete or truncate on l1.survey
    for each statement
    execute function l1_api.refuse_change();

create trigger "00_refuse_change"
    before update or delete on l1.dia_source_history
    for each statement
    execute function l1_api.refuse_change();

create trigger "00_refuse_change"
    before update or delete on l1.dia_object_history
    for each statement
    execute function l1_api.refuse_change();

create trigger "00_refuse_change"
    before update or delete on l1.dia_object_band_history
    for each statement
    execute function l1_api.refuse_change();

create trigger "00_refuse_change"
    before update or delete on l1.alert
    for each statement
    execute function l1_api.refuse_change();
