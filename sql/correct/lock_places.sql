create function l1_api.lock_places(p_survey l1.survey, p_ra double precision[], p_dec double precision[])
returns integer
language plpgsql
volatile
set search_path = pg_catalog, l1, l1_api, public, pg_temp
as $$
-- Function: l1_api.lock_places(3)
--
--   Takes the sky around the sources and objects that a correction is about, as wide as an ingest does.
--
-- Parameters:
--   p_survey     - the rules in force
--   p_ra, p_dec  - positions [deg]
-- Returns:
--   number of cells locked
-- Locks:
--   see lock_sky
--
-- Algorithm:
--   As lock_footprints: one cap around everything, if that is no larger than a focal plane, else one for each place.
declare
    v_margin constant double precision := (l1_api.lock_margin() + 2 * p_survey.association_radius) / 3600;
    v_cap    record;
begin
    select * into v_cap from l1_api.bounding_cap(p_ra, p_dec);
    if v_cap.ra is null then
        return 0;
    end if;
    if v_cap.radius <= 3 then
        return l1_api.lock_sky(v_cap.ra, v_cap.dec, v_cap.radius + v_margin);
    end if;
    return l1_api.lock_cells(array(
        select distinct cell
          from (select distinct place.* from unnest(p_ra, p_dec) as place(ra, dec)) as place
         cross join lateral l1_api.sky_cells(place.ra, place.dec, v_margin) as cell));
end
$$;
comment on function l1_api.lock_places(l1.survey, double precision[], double precision[]) is
    'Takes the sky around the sources and objects that a correction is about';
