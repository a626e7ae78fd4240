create function l1_api.hold_visit(p_visit bigint, p_alone boolean)
returns l1.visit
language plpgsql
volatile
security definer
set search_path = pg_catalog, l1, l1_api, pg_temp
as $$
-- Function: l1_api.hold_visit(2)
--
--   Holds a visit until the end of the transaction: detectors that come in for the first time share it, whoever changes
--   what is stored of it has it alone.  Nobody corrects a visit that somebody holds.
--
-- Parameters:
--   p_visit  - the visit
--   p_alone  - whether nobody else may hold it
-- Returns:
--   the visit as it is now; all NULL if it is not open
-- Reads:   l1.visit
-- Locks:   the row of the visit, before anything else that an ingest locks.  The share is that of the ledger's foreign
--          key, taken early: a row lock of another strength would make the two wait for each other.
declare
    v_visit l1.visit;
begin
    if p_alone then
        perform from l1.visit v where v.visit = p_visit for update;
    else
        perform from l1.visit v where v.visit = p_visit for key share;
    end if;
    select * into v_visit from l1.visit v where v.visit = p_visit;
    return v_visit;
end
$$;
comment on function l1_api.hold_visit(bigint, boolean) is 'Holds a visit until the end of the transaction';
