create function l1_api.withdraw_visit(p_visit bigint, p_reason text, p_operator text default null)
returns bigint
language sql
volatile
set search_path = pg_catalog, l1, l1_api, pg_temp
as $$
    -- Function: l1_api.withdraw_visit(3)
    --
    --   Withdraws all that is stored of a visit; see withdraw_detectors.
    --
    -- Parameters:
    --   p_visit     - the visit
    --   p_reason    - why
    --   p_operator  - who; by default the login
    -- Returns:
    --   correction_id
    select l1_api.withdraw_detectors(p_visit, null, p_reason, p_operator)
$$;
comment on function l1_api.withdraw_visit(bigint, text, text) is 'Withdraws all that is stored of a visit, with a reason';
