create function l1_api.check_stage(p_visit l1.visit)
returns void
language plpgsql
volatile
set search_path = pg_catalog, l1, l1_api, public, pg_temp
as $$
-- Function: l1_api.check_stage(1)
--
--   Refuses a call whose rows cannot be stored as they are.  The error's message names the first such row; its DETAIL
--   lists all of them as JSON, so that a client can name rows of the user's file, or leave them out.
--
-- Parameters:
--   p_visit  - the visit
-- Reads:    pg_temp.stage_source, pg_temp.stage_detector, l1.dia_source, l1.dia_source_history
-- Errors:   L1B01
--
-- Algorithm:
--   One cheap pass looks for any trouble; only if there is some, a second names it.
declare
    v_half_exposure double precision := coalesce(p_visit.exposure_time, 1728) / 2 + 1;
    v_bounds        record;
    v_first_id      bigint;
    v_last_id       bigint;
    v_trouble       jsonb := jsonb '[]';
    v_some          jsonb;
begin
    if exists (select s.detector from pg_temp.stage_source s
               except
               select d.detector from pg_temp.stage_detector d) then
        raise exception 'visit %: staged sources of a detector that is not staged', p_visit.visit
            using errcode = 'L1B02',
                  hint = 'Stage every detector of the call in stage_detector.';
    end if;
    select min(s.dia_source_id), max(s.dia_source_id) into v_first_id, v_last_id from pg_temp.stage_source s;

    if exists (
        select
          from pg_temp.stage_source s
         where (s.ra >= 0 and s.ra < 360
                and s.dec >= -90 and s.dec <= 90
                and abs(s.midpoint_mjd_tai - p_visit.midpoint_mjd_tai) * 86400 <= v_half_exposure
                and s.psf_flux > '-infinity' and s.psf_flux < 'infinity'
                and s.psf_flux_err > 0 and s.psf_flux_err < 'infinity') is not true
            or s.ra_err < 0 or s.ra_err >= 'infinity'
            or s.dec_err < 0 or s.dec_err >= 'infinity'
            or s.dia_source_id < 1 or s.dia_source_id >= 4611686018427387904
    ) then
        select jsonb_agg(jsonb_build_object('ordinal', s.ordinal, 'column', t.name, 'why', t.why)
                         order by s.ordinal, t.rank)
          into v_trouble
          from pg_temp.stage_source s
         cross join lateral (values
            (1, 'ra', (s.ra >= 0 and s.ra < 360) is not true,
                format('%s is not in [0, 360)', coalesce(s.ra::text, 'missing'))),
            (2, 'dec', (s.dec >= -90 and s.dec <= 90) is not true,
                format('%s is not in [-90, 90]', coalesce(s.dec::text, 'missing'))),
            (3, 'midpoint_mjd_tai', (abs(s.midpoint_mjd_tai - p_visit.midpoint_mjd_tai) * 86400
                                     <= v_half_exposure) is not true,
                case when s.midpoint_mjd_tai > 2400000
                     then format('%s is a JD, not an MJD', s.midpoint_mjd_tai)
                     else format('%s is not within the exposure of visit %s, centred on %s',
                                 coalesce(s.midpoint_mjd_tai::text, 'missing'), p_visit.visit,
                                 p_visit.midpoint_mjd_tai) end),
            (4, 'psf_flux', (s.psf_flux > '-infinity' and s.psf_flux < 'infinity') is not true,
                format('%s is not a finite flux', coalesce(s.psf_flux::text, 'missing'))),
            (5, 'psf_flux_err', (s.psf_flux_err > 0 and s.psf_flux_err < 'infinity') is not true,
                format('%s is not a positive, finite error', coalesce(s.psf_flux_err::text, 'missing'))),
            (6, 'ra_err', s.ra_err < 0 or s.ra_err >= 'infinity', format('%s is not an error', s.ra_err)),
            (7, 'dec_err', s.dec_err < 0 or s.dec_err >= 'infinity', format('%s is not an error', s.dec_err)),
            (8, 'dia_source_id', s.dia_source_id < 1 or s.dia_source_id >= 4611686018427387904,
                format('%s is not in 1 to 2^62 - 1', s.dia_source_id))
         ) as t(rank, name, is_wrong, why)
         where t.is_wrong;
    end if;

    if exists (select from pg_temp.stage_source s group by s.detector, s.ra, s.dec having count(*) > 10) then
        select jsonb_agg(jsonb_build_object(
                   'ordinal', r.ordinal, 'column', 'ra',
                   'why', format('more than 10 sources of the detector are at (%s, %s)', r.ra, r.dec)) order by r.ordinal)
          into v_some
          from (
            select s.ordinal, s.ra, s.dec,
                   row_number() over (partition by s.detector, s.ra, s.dec order by s.ordinal) as occurrence
              from pg_temp.stage_source s
          ) as r
         where r.occurrence > 10;
        v_trouble := v_trouble || v_some;
    end if;

    if v_first_id is not null then
        if (select count(s.dia_source_id) > count(distinct s.dia_source_id) from pg_temp.stage_source s) then
            select jsonb_agg(jsonb_build_object(
                       'ordinal', r.ordinal, 'column', 'dia_source_id',
                       'why', format('%s occurs more than once', r.dia_source_id)) order by r.ordinal)
              into v_some
              from (
                select s.ordinal,
                       s.dia_source_id,
                       row_number() over (partition by s.dia_source_id order by s.ordinal) as occurrence
                  from pg_temp.stage_source s
                 where s.dia_source_id is not null
              ) as r
             where r.occurrence > 1;
            v_trouble := v_trouble || v_some;
        end if;

        -- An id that is stored already may only come again from its own visit and detector, where the ledger decides.
        -- ORDER BY and LIMIT have the index on ids used: no statistics know a visit that just came.
        select * into v_bounds from l1_api.leaf_bounds(p_visit.midpoint_mjd_tai);
        if (select x.dia_source_id
              from l1.dia_source x
             where x.dia_source_id between v_first_id and v_last_id
               and x.midpoint_mjd_tai >= v_bounds.lower
               and x.midpoint_mjd_tai < v_bounds.upper
             order by x.dia_source_id
             limit 1) is not null then
            select min(s.dia_source_id), max(s.dia_source_id)
              into v_first_id, v_last_id
              from pg_temp.stage_source s
              left join lateral (
                select x.visit, x.detector, x.is_forced
                  from l1.dia_source x
                 where x.dia_source_id = s.dia_source_id
                   and x.midpoint_mjd_tai >= v_bounds.lower
                   and x.midpoint_mjd_tai < v_bounds.upper
                 limit 1
              ) as known
                on true
             where (known.visit = p_visit.visit and known.detector = s.detector and not known.is_forced) is not true;
        end if;

        -- Where no leaf has an id of the range of the others, as with ids that rise with time, none is looked up.
        if exists (select from l1.dia_source x where x.dia_source_id between v_first_id and v_last_id) then
            select jsonb_agg(jsonb_build_object(
                       'ordinal', s.ordinal, 'column', 'dia_source_id',
                       'why', format('%s is already stored, with visit %s, detector %s',
                                     s.dia_source_id, known.visit, known.detector)) order by s.ordinal)
              into v_some
              from pg_temp.stage_source s
              join l1.dia_source known
                on known.dia_source_id = s.dia_source_id
             where s.dia_source_id between v_first_id and v_last_id
               and ((known.visit, known.detector) <> (p_visit.visit, s.detector)
                    or known.is_forced);
            v_trouble := v_trouble || coalesce(v_some, '[]');
        end if;

        if exists (select from l1.dia_source_history h where h.dia_source_id between v_first_id and v_last_id) then
            select jsonb_agg(jsonb_build_object(
                       'ordinal', s.ordinal, 'column', 'dia_source_id',
                       'why', format('%s was withdrawn from visit %s, detector %s',
                                     s.dia_source_id, former.visit, former.detector)) order by s.ordinal)
              into v_some
              from pg_temp.stage_source s
              join l1.dia_source_history former
                on former.dia_source_id = s.dia_source_id
             where (former.visit, former.detector) <> (p_visit.visit, s.detector);
            v_trouble := v_trouble || coalesce(v_some, '[]');
        end if;
    end if;

    -- 20 arcsec of grace, in metres on PostGIS's sphere: the great-circle edges of an outline only approximate an image.
    -- q3c is quick to say what is inside; only for the others PostGIS is asked how far out they are.
    if v_trouble = '[]' then
        with given as materialized (
            select d.detector, st_geogfromtext(d.footprint) as footprint
              from pg_temp.stage_detector d
        ), outline as materialized (
            select given.detector,
                   given.footprint,
                   array_agg(ring.value order by ring.rank) as corners
              from given
             cross join lateral st_dumppoints(given.footprint::geometry) as corner
             cross join lateral (values
                (2 * corner.path[2], mod(st_x(corner.geom)::numeric + 360, 360)::double precision),
                (2 * corner.path[2] + 1, st_y(corner.geom))
             ) as ring(rank, value)
             where corner.path[2] > 1
             group by given.detector, given.footprint
        )
        select jsonb_agg(jsonb_build_object(
                   'ordinal', s.ordinal, 'column', 'ra',
                   'why', format('(%s, %s) is outside the footprint of detector %s', s.ra, s.dec, s.detector))
                   order by s.ordinal)
          into v_some
          from pg_temp.stage_source s
          join outline d
            on d.detector = s.detector
         where not q3c_in_poly(s.ra, s.dec, d.corners)
           and not st_dwithin(d.footprint,
                              st_setsrid(st_makepoint(case when s.ra > 180 then s.ra - 360 else s.ra end, s.dec),
                                         4326)::geography,
                              20 * 30.8875, false);
        v_trouble := v_trouble || coalesce(v_some, '[]');
    end if;

    if v_trouble <> '[]' then
        raise exception 'visit %: % unusable row(s), the first is source %, column %: %',
                        p_visit.visit, jsonb_array_length(v_trouble),
                        v_trouble -> 0 ->> 'ordinal', v_trouble -> 0 ->> 'column', v_trouble -> 0 ->> 'why'
            using errcode = 'L1B01',
                  detail = v_trouble::text,
                  hint = 'Correct or leave out these rows; nothing was stored.';
    end if;
end
$$;
comment on function l1_api.check_stage(l1.visit) is 'Refuses a call whose rows cannot be stored as they are';
