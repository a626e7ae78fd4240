create function l1_api.ensure_partitions(p_midpoint_mjd_tai double precision)
returns boolean
language plpgsql
volatile
strict
security definer
set search_path = pg_catalog, l1, l1_api, pg_temp
set extra_float_digits = 1
set default_tablespace = ''
as $$
-- Function: l1_api.ensure_partitions(1)
--
--   Makes the leaves of l1.dia_source and l1.alert that a time falls into, where they are missing.  Call it in a short
--   transaction before an ingest, never inside one.
--
-- Parameters:
--   p_midpoint_mjd_tai  - MJD TAI [d]
-- Returns:
--   true if leaves were made
-- Locks:
--   advisory (class 19506, leaf); SHARE UPDATE EXCLUSIVE on the parents, which lets open inserts go on
--
-- Algorithm:
--   CREATE TABLE LIKE + ATTACH: the short form CREATE TABLE PARTITION OF would wait behind every open insert.
--   extra_float_digits makes the bounds exact whatever the session prints floats with.
declare
    v_bounds record;
    v_leaf   integer;
    v_source text;
    v_alert  text;
begin
    if p_midpoint_mjd_tai <= 0 or p_midpoint_mjd_tai >= 2400000 or p_midpoint_mjd_tai = 'NaN' then
        raise exception 'midpoint % is no MJD', p_midpoint_mjd_tai
            using errcode = 'L1I02',
                  hint = 'Subtract 2400000.5 from a JD.';
    end if;

    select * into v_bounds from l1_api.leaf_bounds(p_midpoint_mjd_tai);
    v_leaf := floor(v_bounds.lower);
    v_source := format('dia_source_%s', v_leaf);
    v_alert := format('alert_%s', v_leaf);
    if to_regclass(format('l1.%I', v_alert)) is not null then
        -- A leaf is seen a moment before its making is told to other sessions; the lock is let go after that.
        perform pg_advisory_xact_lock_shared(19506, v_leaf);
        return false;
    end if;

    -- Look again, with a query: to_regclass would go on believing its cache, which an advisory lock does not refresh.
    perform pg_advisory_xact_lock(19506, v_leaf);
    if exists (select from pg_class c where c.relnamespace = 'l1'::regnamespace and c.relname = v_alert) then
        return false;
    end if;

    execute format('create table l1.%I (like l1.dia_source including all)', v_source);
    execute format('create unique index on l1.%I (dia_source_id)', v_source);
    execute format('create unique index on l1.%I (visit, dia_object_id) where not is_forced', v_source);
    execute format('create unique index on l1.%I (visit, detector, dia_object_id) where is_forced', v_source);
    execute format('alter table l1.dia_source attach partition l1.%I for values from (%L) to (%L)',
                   v_source, v_bounds.lower, v_bounds.upper);

    execute format('create table l1.%I (like l1.alert including all)', v_alert);
    execute format('create unique index on l1.%I (dia_source_id, kind)', v_alert);
    execute format('alter table l1.alert attach partition l1.%I for values from (%L) to (%L)',
                   v_alert, v_bounds.lower, v_bounds.upper);

    return true;
end
$$;
comment on function l1_api.ensure_partitions(double precision) is
    'Makes the partition leaves that a time falls into, where they are missing';
