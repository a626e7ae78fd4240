create function l1_api.lock_cells(p_cells integer[])
returns integer
language plpgsql
volatile
set search_path = pg_catalog, l1, l1_api, public, pg_temp
as $$
-- Function: l1_api.lock_cells(1)
--
--   Takes cells of the sky for this transaction, in ascending order.
--
-- Parameters:
--   p_cells  - numbers of level-9 q3c cells, in any order
-- Returns:
--   number of cells locked
-- Locks:
--   advisory (class 19505, cell), exclusive, to the end of the transaction
--
-- Algorithm:
--   A statement of its own: only the next statement takes a snapshot that shows what the former holders committed.  One
--   statement that locked and read would decide upon stale rows.  More cells than a share of PostgreSQL's default lock
--   table are refused, before they would fail other sessions.
declare
    v_cells integer;
begin
    perform l1_api.refuse_other_isolation();
    if cardinality(p_cells) > 4000 then
        raise exception 'one call would take % cells of the sky', cardinality(p_cells)
            using errcode = 'L1I11',
                  hint = 'Hand in fewer detectors or sources at a time.';
    end if;

    select count(*)
      into v_cells
      from (
        select pg_advisory_xact_lock(19505, cell.number)
          from (
            select distinct number
              from unnest(p_cells) as number
             order by number
          ) as cell
      ) as taken;

    return v_cells;
end
$$;
comment on function l1_api.lock_cells(integer[]) is 'Takes cells of the sky for this transaction, in ascending order';
