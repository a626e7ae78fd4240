create function l1_api.refuse_change()
returns trigger
language plpgsql
volatile
set search_path = pg_catalog, l1, l1_api, pg_temp
as $$
-- Trigger function: l1_api.refuse_change(0)
--
--   Keeps append-only tables append-only: versions of the survey's rules, histories, stamps, corrections, alerts and
--   what their packets are made from.
--   Tables with a history may not be truncated, which would pass their histories by.
begin
    if tg_op = 'TRUNCATE' then
        raise exception '% is not truncated', tg_table_name
            using errcode = 'L1V02',
                  hint = 'What it holds is a record; make another database to start anew.';
    end if;
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
    before update or delete or truncate on l1.dia_source_history
    for each statement
    execute function l1_api.refuse_change();

create trigger "00_refuse_change"
    before update or delete or truncate on l1.dia_object_history
    for each statement
    execute function l1_api.refuse_change();

create trigger "00_refuse_change"
    before update or delete or truncate on l1.dia_object_band_history
    for each statement
    execute function l1_api.refuse_change();

create trigger "00_refuse_change"
    before update or delete or truncate on l1.dia_object_former_place
    for each statement
    execute function l1_api.refuse_change();

create trigger "00_refuse_change"
    before update or delete or truncate on l1.stamp
    for each statement
    execute function l1_api.refuse_change();

create trigger "00_refuse_change"
    before update or delete or truncate on l1.correction
    for each statement
    execute function l1_api.refuse_change();

create trigger "00_refuse_change"
    before update or delete or truncate on l1.update_record
    for each statement
    execute function l1_api.refuse_change();

create trigger "00_refuse_change"
    before update or delete or truncate on l1.alert
    for each statement
    execute function l1_api.refuse_change();

create trigger "00_refuse_change"
    before update or delete or truncate on l1.alert_image
    for each statement
    execute function l1_api.refuse_change();

create trigger "00_refuse_change"
    before update or delete or truncate on l1.cutout
    for each statement
    execute function l1_api.refuse_change();

create trigger "00_refuse_change"
    before update or delete or truncate on l1.alert_packet
    for each statement
    execute function l1_api.refuse_change();

create trigger "00_refuse_truncate"
    before truncate on l1.dia_source
    for each statement
    execute function l1_api.refuse_change();

create trigger "00_refuse_truncate"
    before truncate on l1.dia_object
    for each statement
    execute function l1_api.refuse_change();

create trigger "00_refuse_truncate"
    before truncate on l1.dia_object_band
    for each statement
    execute function l1_api.refuse_change();
