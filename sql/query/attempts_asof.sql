create function l1_api.attempts_asof(p_visit bigint, p_asof timestamptz)
returns setof l1.visit_detector
language sql
stable
parallel safe
as $$
    -- Function: l1_api.attempts_asof(2)
    --
    --   The ledger of a visit as of a time: a view with parameters.
    --
    -- Parameters:
    --   p_visit  - the visit
    --   p_asof   - database time
    -- Returns:
    --   the rows of what had been ingested by then; withdrawn_at may be later
    -- Reads:  l1.visit_detector, l1.correction
    --
    -- Algorithm:
    --   An undone withdrawal made a further attempt with the times of the withdrawn one: it was not there before the undo.
    select d.*
      from l1.visit_detector d
     where d.visit = p_visit
       and d.time_processed <= p_asof
       and not exists (
            select
              from l1.visit_detector former
              join l1.correction withdrawal
                on withdrawal.stamp = former.withdrawn_at
              join l1.correction undo
                on undo.undoes = withdrawal.correction_id
             where former.visit = d.visit
               and former.detector = d.detector
               and former.attempt < d.attempt
               and former.time_processed = d.time_processed
               and undo.stamp > p_asof)
$$;
comment on function l1_api.attempts_asof(bigint, timestamptz) is 'The ledger of a visit as of a time';
