create function l1_api.withdraw_sources(p_dia_source_ids bigint[], p_reason text, p_operator text default null)
returns bigint
language plpgsql
volatile
set search_path = pg_catalog, l1, l1_api, public, pg_temp
as $$
-- Function: l1_api.withdraw_sources(3)
--
--   Withdraws DiaSources: they move to the history, their objects are measured anew, and objects without detections are
--   retired.  A duplicate that another detector saw takes the place of what is withdrawn.  Repeated ingests and
--   supplements do not bring them back; undo_correction does.
--
-- Parameters:
--   p_dia_source_ids  - the sources, detected or forced
--   p_reason          - why
--   p_operator        - who; by default the login
-- Returns:
--   correction_id
-- Reads, writes:  see apply_correction
-- Locks:   the visits, each alone; then the sky around the sources
declare
    v_survey l1.survey;
begin
    v_survey := l1_api.begin_correction(p_reason);
    perform l1_api.list_correcting(p_dia_source_ids);
    perform l1_api.hold_visit(held.visit, true)
       from (select distinct c.visit from pg_temp.correcting c order by c.visit) as held;
    perform l1_api.lock_correcting(v_survey, p_dia_source_ids);
    update pg_temp.correcting c
       set action = 'withdraw',
           reason = 'withdrawn';
    perform l1_api.free_twins(v_survey);
    return l1_api.apply_correction(v_survey, 'withdraw_sources', p_reason, p_operator,
                                   jsonb_build_object('dia_source_ids', p_dia_source_ids::text[]));
end
$$;
comment on function l1_api.withdraw_sources(bigint[], text, text) is
    'Withdraws DiaSources, with a reason; their objects are measured anew or retired';
