create function l1_api.forced_targets(p_footprints text[], p_mjd_tai double precision, p_neighbours boolean)
returns table (dia_object_id bigint, ra double precision, "dec" double precision, is_target boolean)
language plpgsql
stable
set search_path = pg_catalog, l1, l1_api, public, pg_temp
set seq_page_cost = 10
set plan_cache_mode = force_custom_plan
as $$
-- Function: l1_api.forced_targets(3)
--
--   The current DiaObjects in and around images that the survey's rules have forced.  Which lie on which image, its WCS
--   says.
--
-- Parameters:
--   p_footprints  - outlines of the images, WKT polygons with longitude = ra, or ra - 360 above 180 [deg]
--   p_mjd_tai     - when they were taken, MJD TAI [d]; NULL: not asked, objects that drift are where they were on average
--   p_neighbours  - whether the others are listed, too, which may be neighbours in a joint fit
-- Returns:
--   dia_object_id  - an object whose mean position is within a cap around the images, the survey's margin wider; each once
--   ra, dec        - where it is to be measured [deg]
--   is_target      - whether it is to be forced
-- Reads:  l1.dia_object, l1.survey
--
-- Algorithm:
--   One cap around all, if that is no larger than a focal plane: far quicker than one for each detector, whose index
--   ranges overlap several times.  q3c_radial_query of a constant cap reads a quarter of what q3c_join does, but loses
--   objects where the cap holds a corner of q3c's cube, that is a direction (+-1, +-1, +-1) (q3c 2.0.0).
declare
    v_survey    l1.survey;
    v_least     integer;
    v_cap       record;
    v_radius    double precision;
    v_to_corner double precision;
begin
    select * into v_survey from l1_api.current_survey();
    v_least := case when p_neighbours then 0 else v_survey.forced_min_dia_sources end;
    select cap.ra, cap.dec, cap.radius
      into v_cap
      from (
        select array_agg(st_x(corner.geom)) as ra,
               array_agg(st_y(corner.geom)) as dec
          from unnest(p_footprints) as footprint
         cross join lateral st_dumppoints(st_geomfromtext(footprint)) as corner
      ) as given
     cross join lateral l1_api.bounding_cap(given.ra, given.dec) as cap;
    v_radius := v_cap.radius + v_survey.forced_margin / 3600;
    v_to_corner := acosd(least(1, (abs(cosd(v_cap.dec) * cosd(v_cap.ra)) + abs(cosd(v_cap.dec) * sind(v_cap.ra))
                                   + abs(sind(v_cap.dec))) / sqrt(3::double precision)));
    if v_radius <= 4 and v_to_corner > v_radius + 0.1 then
        return query
        select o.dia_object_id,
               case when o.drift_ra is null or p_mjd_tai is null then o.ra else place.ra end,
               case when o.drift_ra is null or p_mjd_tai is null then o.dec else place.dec end,
               v_survey.forced_on <> 'none' and o.n_good_dia_sources >= v_survey.forced_min_dia_sources
          from l1.dia_object o
         cross join lateral l1_api.place_at(o.ra, o.dec, o.drift_ra, o.drift_dec, p_mjd_tai - o.radec_mjd_tai) as place
         where q3c_radial_query(o.ra, o.dec, v_cap.ra, v_cap.dec, v_radius)
           and o.n_good_dia_sources >= v_least;
        return;
    end if;

    return query
    select distinct
           o.dia_object_id,
           case when o.drift_ra is null or p_mjd_tai is null then o.ra else place.ra end,
           case when o.drift_ra is null or p_mjd_tai is null then o.dec else place.dec end,
           v_survey.forced_on <> 'none' and o.n_good_dia_sources >= v_survey.forced_min_dia_sources
      from unnest(p_footprints) as footprint
     cross join lateral (
        select array_agg(st_x(corner.geom)) as ra,
               array_agg(st_y(corner.geom)) as dec
          from st_dumppoints(st_geomfromtext(footprint)) as corner
     ) as outline
     cross join lateral l1_api.bounding_cap(outline.ra, outline.dec) as cap
      join l1.dia_object o
        on q3c_join(cap.ra, cap.dec, o.ra, o.dec, cap.radius + v_survey.forced_margin / 3600)
     cross join lateral l1_api.place_at(o.ra, o.dec, o.drift_ra, o.drift_dec, p_mjd_tai - o.radec_mjd_tai) as place
     where o.n_good_dia_sources >= v_least;
end
$$;
comment on function l1_api.forced_targets(text[], double precision, boolean) is
    'The current DiaObjects in and around images, and which of them are to be forced';
