create function l1_api.newest_withdrawn(p_visit l1.visit)
returns timestamptz
language plpgsql
stable
set search_path = pg_catalog, l1, l1_api, public, pg_temp
as $$
-- Function: l1_api.newest_withdrawn(1)
--
--   The newest version among the sources that this ingest will withdraw, which the stamp must be later than; most of them
--   are as old as their objects, but some have none.
--
-- Parameters:
--   p_visit  - the visit
-- Returns:
--   NULL if nothing is withdrawn
-- Reads:   pg_temp.claim, l1.dia_source
begin
    if not exists (select from pg_temp.claim c where c.former_attempt is not null) then
        return null;
    end if;
    return (
        select max(x.validity_start)
          from pg_temp.claim c
          join l1.dia_source x
            on x.detector = c.detector
         where c.former_attempt is not null
           and x.visit = p_visit.visit
           and not x.is_forced);
end
$$;
comment on function l1_api.newest_withdrawn(l1.visit) is
    'The newest version among the sources that this ingest will withdraw';
