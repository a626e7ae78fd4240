create function l1_api.lock_places(p_survey l1.survey, p_ra double precision[], p_dec double precision[])
returns integer
language plpgsql
volatile
set search_path = pg_catalog, l1, l1_api, public, pg_temp
as $$
-- Function: l1_api.lock_places(3)
--
--   Takes the sky around the sources and objects that a correction is about, as much wider as an ingest does.
--
-- Parameters:
--   p_survey     - the rules in force
--   p_ra, p_dec  - positions [deg]
-- Returns:
--   number of cells locked
-- Writes:  pg_temp.cell: what it has locked
-- Locks:
--   see lock_cells
--
-- Algorithm:
--   One cap around the places in each cell: they may be many, and lie all over the sky.
declare
    v_margin constant double precision := (l1_api.lock_margin() + 2 * p_survey.association_radius) / 3600;
    v_cells  integer[];
begin
    v_cells := array(
        select distinct cell
          from (
            select array_agg(place.ra) as ra,
                   array_agg(place.dec) as dec
              from unnest(p_ra, p_dec) as place(ra, dec)
             group by q3c_ang2ipix(place.ra, place.dec) >> 42
          ) as given
         cross join lateral l1_api.bounding_cap(given.ra, given.dec) as cap
         cross join lateral l1_api.sky_cells(cap.ra, cap.dec, cap.radius + v_margin) as cell);
    insert into pg_temp.cell (number)
    select unnest(v_cells);
    return l1_api.lock_cells(v_cells);
end
$$;
comment on function l1_api.lock_places(l1.survey, double precision[], double precision[]) is
    'Takes the sky around the sources and objects that a correction is about';
