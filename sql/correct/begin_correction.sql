create function l1_api.begin_correction(p_reason text)
returns l1.survey
language plpgsql
volatile
set search_path = pg_catalog, l1, l1_api, public, pg_temp
as $$
-- Function: l1_api.begin_correction(1)
--
--   What every correction begins with: an isolation level at which locks help, working tables that nobody uses, and a
--   reason.
--
-- Parameters:
--   p_reason  - why it is made
-- Returns:
--   the survey's rules in force
-- Writes:  pg_temp
declare
    v_survey l1.survey;
begin
    perform l1_api.refuse_other_isolation();
    if p_reason is null or p_reason !~ '[^[:space:]]' then
        raise exception 'a correction needs a reason'
            using errcode = 'L1C01',
                  hint = 'Say in a sentence why it is made; it is kept with the correction.';
    end if;
    perform l1_api.open_stage();
    if exists (select from pg_temp.claim) or exists (select from pg_temp.touched) or exists (select from pg_temp.correcting)
    then
        raise exception 'this transaction has written already'
            using errcode = 'L1I09',
                  hint = 'Commit, and make each correction in a transaction of its own.';
    end if;
    select * into v_survey from l1_api.current_survey();
    return v_survey;
end
$$;
comment on function l1_api.begin_correction(text) is 'What every correction begins with';
