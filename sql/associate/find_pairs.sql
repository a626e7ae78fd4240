create function l1_api.find_pairs(p_visit l1.visit, p_survey l1.survey)
returns void
language plpgsql
volatile
set search_path = pg_catalog, l1, l1_api, public, pg_temp
as $$
-- Function: l1_api.find_pairs(2)
--
--   The pairs of a source and a DiaObject that may be one: within the radius, measured to where the object was before
--   this visit, or, if it drifts, to where that has brought it since.  So a detector of a visit sees the same objects
--   whether its neighbours came before it, with it or after.
--
-- Reads:   pg_temp.source, pg_temp.claim, l1.visit_detector, l1.dia_object, l1.dia_source
-- Writes:  pg_temp.mover, pg_temp.pair, pg_temp.taken
--
-- Algorithm:
--   If the visit has sources already, objects near ours may have a detection of this visit.  Their position without it
--   is the mean of their other detections; one that has no others was founded by this visit, and is no object to match,
--   only a possible twin.  The object of a twin lies up to two radii away, since the detection it took in moved it on:
--   hence the wider search.
--   What moves is searched for apart (list_movers), where it is by now: its stored position may be far behind.  COALESCE
--   keeps the planner from taking IS NULL for rare in a table that nobody has analysed, and from a loop over all pairs.
--   The object's row of the visit is looked up one by one (LIMIT): no statistics can know a visit that just came.
declare
    v_bounds       record;
    v_visit_exists boolean;
    v_reach        double precision;
    v_rows         bigint;
begin
    select * into v_bounds from l1_api.leaf_bounds(p_visit.midpoint_mjd_tai);
    -- The ledger knows; the leaf itself might be searched from end to end for a visit it does not have.
    select exists (
        select
          from l1.visit_detector v
         where v.visit = p_visit.visit
           and v.withdrawn_at is null
           and v.n_sources > 0)
      into v_visit_exists;
    v_reach := case when v_visit_exists then 2 else 1 end * p_survey.association_radius;

    if exists (select from pg_temp.cell) then
        perform l1_api.list_movers(p_visit, p_survey, v_reach);
    end if;

    insert into pg_temp.pair (ordinal, detector, dia_object_id, separation, variance, validity_start, first_mjd_tai,
                              last_mjd_tai)
    select s.ordinal,
           s.detector,
           o.dia_object_id,
           q3c_dist(s.ra, s.dec, o.ra, o.dec) * 3600,
           l1_api.offset_variance(
               s.variance,
               (o.ra_err::double precision ^ 2 + o.dec_err::double precision ^ 2) / 2 * 3600 ^ 2,
               p_survey.error_floor),
           o.validity_start,
           o.first_epoch_mjd_tai,
           o.last_dia_source_mjd_tai
      from pg_temp.source s
      join l1.dia_object o
        on q3c_join(s.ra, s.dec, o.ra, o.dec, v_reach / 3600)
     where coalesce(o.drift_ra is null, false)
    union all
    select s.ordinal,
           s.detector,
           m.dia_object_id,
           q3c_dist(s.ra, s.dec, m.ra, m.dec) * 3600,
           l1_api.offset_variance(s.variance, m.variance, p_survey.error_floor),
           m.validity_start,
           m.first_mjd_tai,
           m.last_mjd_tai
      from pg_temp.mover m
      join pg_temp.source s
        on floor((s.dec + 90) / (v_reach / 3600))::integer = m.zone
       and q3c_dist(s.ra, s.dec, m.ra, m.dec) * 3600 <= v_reach;
    get diagnostics v_rows = row_count;
    perform l1_api.refresh_statistics('pair', v_rows);
    if not v_visit_exists then
        return;
    end if;

    insert into pg_temp.taken (dia_object_id, detector, dia_source_id, ra, dec, variance, is_replaced)
    select p.dia_object_id,
           x.detector,
           x.dia_source_id,
           x.ra,
           x.dec,
           (x.ra_err::double precision ^ 2 + x.dec_err::double precision ^ 2) / 2 * 3600 ^ 2,
           exists (select
                     from pg_temp.claim c
                    where c.detector = x.detector
                      and c.former_attempt is not null)
      from (select distinct dia_object_id from pg_temp.pair) as p
     cross join lateral (
        select d.detector, d.dia_source_id, d.ra, d.dec, d.ra_err, d.dec_err
          from l1.dia_source d
         where d.visit = p_visit.visit
           and d.dia_object_id = p.dia_object_id
           and not d.is_forced
           and d.midpoint_mjd_tai >= v_bounds.lower
           and d.midpoint_mjd_tai < v_bounds.upper
         limit 1
     ) as x;
    get diagnostics v_rows = row_count;
    if v_rows > 0 then
        perform l1_api.refresh_statistics('taken', v_rows);
        perform l1_api.place_without_visit(p_visit, p_survey);
    end if;

    delete from pg_temp.pair p
     where p.separation > p_survey.association_radius;
end
$$;
comment on function l1_api.find_pairs(l1.visit, l1.survey) is
    'The pairs of a source and a DiaObject that may be one';
