create function l1_api.queue_forced(p_visit l1.visit, p_survey l1.survey, p_reason text)
returns void
language plpgsql
volatile
set search_path = pg_catalog, l1, l1_api, public, pg_temp
as $$
-- Function: l1_api.queue_forced(3)
--
--   Queues the forced measurements that were expected and are missing: of objects that appeared while the images were
--   measured, of all objects on images that could not be read, and of those on images that came late.
--
-- Parameters:
--   p_visit, p_survey  - the visit, and the rules in force
--   p_reason           - why measurements on readable images are missing
-- Reads:   pg_temp.stage_detector, pg_temp.claim, pg_temp.stage_forced, pg_temp.assignment, l1.dia_object,
--          l1.dia_source
-- Writes:  l1.precovery_task; pg_temp.claim, the counts
declare
    v_bounds record;
begin
    if p_survey.forced_on = 'none'
       or not exists (select from pg_temp.stage_detector d where d.has_images) then
        return;
    end if;
    select * into v_bounds from l1_api.leaf_bounds(p_visit.midpoint_mjd_tai);

    with outline as (
        select d.detector, d.image_trouble, d.footprint,
               array_agg(ring.value order by ring.rank) as corners,
               array_agg(st_x(corner.geom)) filter (where ring.rank % 2 = 0) as ra,
               array_agg(st_y(corner.geom)) filter (where ring.rank % 2 = 0) as dec
          from pg_temp.stage_detector d
          join pg_temp.claim c
            on c.detector = d.detector
         cross join lateral st_dumppoints(c.footprint::geometry) as corner
         cross join lateral (values
            (2 * corner.path[2], mod(st_x(corner.geom)::numeric + 360, 360)::double precision),
            (2 * corner.path[2] + 1, st_y(corner.geom))
         ) as ring(rank, value)
         where d.has_images
           and c.status in ('stored', 'replaced', 'released')
           and corner.path[2] > 1
         group by d.detector, d.image_trouble, d.footprint
    ), image as materialized (
        -- In zones of declination, so that few objects are held against each: its cap also holds the arcs between corners.
        select outline.detector, outline.image_trouble, outline.footprint, outline.corners, zone
          from outline
         cross join lateral l1_api.bounding_cap(outline.ra, outline.dec) as cap
         cross join lateral generate_series(floor((cap.dec - cap.radius) * 8)::integer,
                                            floor((cap.dec + cap.radius) * 8)::integer) as zone
    ), expected as materialized (
        select t.dia_object_id, t.ra, t.dec,
               floor(t.dec * 8)::integer as zone,
               exists (select
                         from pg_temp.assignment a
                        where a.dia_object_id = t.dia_object_id
                          and (a.is_new or p_survey.forced_on <> 'all')) as is_settled
          from (select array_agg(outline.footprint) as footprints from outline) as given
         cross join lateral l1_api.forced_targets(given.footprints, p_visit.midpoint_mjd_tai, false) as t
    ), missing as materialized (
        -- Each detector was measured at what it knew of, on its image or just off it.  What the call saw needs no forcing.
        select image.detector, image.image_trouble, e.dia_object_id
          from expected e
          join image
            on image.zone = e.zone
           and q3c_in_poly(e.ra, e.dec, image.corners)
         where not e.is_settled
           and not exists (select
                             from pg_temp.stage_forced s
                            where s.detector = image.detector
                              and s.dia_object_id = e.dia_object_id)
        union
        select image.detector, image.image_trouble, e.dia_object_id
          from image
          join expected e
            on e.zone = image.zone
           and q3c_in_poly(e.ra, e.dec, image.corners)
         where image.image_trouble is not null
    ), queued as (
        insert into l1.precovery_task (visit, detector, dia_object_id, reason)
        select p_visit.visit,
               e.detector,
               e.dia_object_id,
               case when e.image_trouble is null then p_reason else 'no_image' end
          from missing e
         cross join lateral (
            select bool_or(not x.is_forced) as seen,
                   bool_or(x.is_forced and x.detector = e.detector) as forced
              from l1.dia_source x
             where x.dia_object_id = e.dia_object_id
               and x.visit = p_visit.visit
               and x.midpoint_mjd_tai >= p_visit.midpoint_mjd_tai - 1
               and x.midpoint_mjd_tai <= p_visit.midpoint_mjd_tai + 1
               and x.midpoint_mjd_tai >= v_bounds.lower
               and x.midpoint_mjd_tai < v_bounds.upper
         ) as known
         where known.forced is not true
           and (p_survey.forced_on = 'all' or known.seen is not true)
            on conflict do nothing
        returning detector
    )
    update pg_temp.claim c
       set n_forced_queued = counted.n
      from (select queued.detector, count(*) as n from queued group by queued.detector) as counted
     where counted.detector = c.detector;
end
$$;
comment on function l1_api.queue_forced(l1.visit, l1.survey, text) is
    'Queues the forced measurements that were expected and are missing';
