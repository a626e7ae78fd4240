create function l1_api.forced_targets(p_detectors smallint[], p_footprints text[])
returns table (detector smallint, dia_object_id bigint, ra double precision, "dec" double precision, is_target boolean)
language plpgsql
stable
set search_path = pg_catalog, l1, l1_api, public, pg_temp
set seq_page_cost = 10
as $$
-- Function: l1_api.forced_targets(2)
--
--   The current DiaObjects in and around images: those that the survey's rules have forced, and the others, which may be
--   neighbours in a joint fit.  Which lie on the image itself, its WCS says.
--
-- Parameters:
--   p_detectors   - detectors of one visit
--   p_footprints  - their images' outlines, WKT polygons with longitude = ra, or ra - 360 above 180 [deg]
-- Returns:
--   detector, dia_object_id  - an object near that detector's image; near two it is there twice
--   ra, dec                  - where it is to be measured [deg]
--   is_target                - whether it is to be forced
-- Reads:  l1.dia_object, l1.survey
declare
    v_survey l1.survey;
begin
    select * into v_survey from l1_api.current_survey();

    return query
    select image.detector,
           o.dia_object_id,
           o.ra,
           o.dec,
           v_survey.forced_on <> 'none' and o.n_good_dia_sources >= v_survey.forced_min_dia_sources
      from unnest(p_detectors, p_footprints) as image(detector, footprint)
     cross join lateral (
        select array_agg(st_x(corner.geom)) as ra,
               array_agg(st_y(corner.geom)) as dec
          from st_dumppoints(st_geomfromtext(image.footprint)) as corner
     ) as outline
     cross join lateral l1_api.bounding_cap(outline.ra, outline.dec) as cap
      join l1.dia_object o
        on q3c_join(cap.ra, cap.dec, o.ra, o.dec, cap.radius + v_survey.forced_margin / 3600);
end
$$;
comment on function l1_api.forced_targets(smallint[], text[]) is
    'The current DiaObjects in and around images, and which of them are to be forced';
