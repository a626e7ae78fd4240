create function l1_api.lock_sky(
    p_ra     double precision,
    p_dec    double precision,
    p_radius double precision
)
returns integer
language plpgsql
volatile
set search_path = pg_catalog, l1, l1_api, public
as $$
-- Function: l1_api.lock_sky(3)
--
--   Takes the sky of a cap for this transaction.  Every writer of objects and sources goes through here, after its ledger
--   keys and before it reads anything it decides upon; so two writers that could see the same object, or found the same
--   new one, come one after the other.
--
-- Parameters:
--   p_ra, p_dec  - centre of the cap [deg]
--   p_radius     - radius of the cap [deg], the margin included
-- Returns:
--   number of cells locked
-- Locks:
--   advisory (class 19505, level-9 q3c cell), exclusive, to the end of the transaction, in ascending order
--
-- Algorithm:
--   A statement of its own: only the next statement takes a snapshot that shows what the former holders committed.  One
--   statement that locked and read would decide upon stale rows.
declare
    v_cells integer;
begin
    perform l1_api.refuse_other_isolation();

    select count(*)
      into v_cells
      from (
        select pg_advisory_xact_lock(19505, cell.number)
          from (
            select number
              from l1_api.sky_cells(p_ra, p_dec, p_radius) as number
             order by number
          ) as cell
      ) as taken;

    return v_cells;
end
$$;
comment on function l1_api.lock_sky(double precision, double precision, double precision) is
    'Takes the sky of a cap for this transaction: the one lock of all writers of objects and sources';
