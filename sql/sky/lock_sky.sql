create function l1_api.lock_sky(
    p_ra     double precision,
    p_dec    double precision,
    p_radius double precision
)
returns integer
language plpgsql
volatile
set search_path = pg_catalog, l1, l1_api, public, pg_temp
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
--   see lock_cells
begin
    if p_radius > 10 then
        raise exception 'a circle of % deg is too much sky for one call', round(p_radius::numeric, 1)
            using errcode = 'L1I11',
                  hint = 'Hand in fewer detectors or sources at a time.';
    end if;
    return l1_api.lock_cells(array(select l1_api.sky_cells(p_ra, p_dec, p_radius)));
end
$$;
comment on function l1_api.lock_sky(double precision, double precision, double precision) is
    'Takes the sky of a cap for this transaction: the one lock of all writers of objects and sources';
