create function l1_api.withdraw_detectors(
    p_visit     bigint,
    p_detectors smallint[],
    p_reason    text,
    p_operator  text default null
)
returns bigint
language plpgsql
volatile
set search_path = pg_catalog, l1, l1_api, public, pg_temp
as $$
-- Function: l1_api.withdraw_detectors(4)
--
--   Withdraws all that is stored of some detectors of a visit, as if they had not been ingested: sources, forced
--   measurements, their places in the ledger, and measurements still to be made (which an undo does not bring back).  They
--   can be ingested again as the same exposure; their images stay known.
--
-- Parameters:
--   p_visit      - the visit
--   p_detectors  - its detectors; NULL: all
--   p_reason     - why
--   p_operator   - who; by default the login
-- Returns:
--   correction_id
-- Reads:   l1.visit, l1.visit_detector, l1.dia_object; see list_detectors
-- Writes:  l1.visit_detector, l1.precovery_task; see apply_correction
-- Locks:   the visit, alone; then the sky around its footprints, its sources and their objects
declare
    v_survey    l1.survey;
    v_visit     l1.visit;
    v_detectors smallint[];
    v_unknown   text;
    v_id        bigint;
begin
    v_survey := l1_api.begin_correction(p_reason);
    v_visit := l1_api.hold_visit(p_visit, true);
    if v_visit.visit is null then
        raise exception 'visit % is unknown', coalesce(p_visit::text, 'NULL')
            using errcode = 'L1C02',
                  hint = 'Nothing was changed.';
    end if;
    v_detectors := coalesce(p_detectors, array(
        select v.detector from l1.visit_detector v where v.visit = p_visit and v.withdrawn_at is null));
    select string_agg(coalesce(given.detector::text, 'NULL'), ', ' order by given.detector)
      into v_unknown
      from unnest(v_detectors) as given(detector)
     where not exists (select
                         from l1.visit_detector v
                        where v.visit = p_visit
                          and v.detector = given.detector
                          and v.withdrawn_at is null);
    if v_unknown is not null or cardinality(v_detectors) = 0 then
        raise exception 'visit % has no %', p_visit,
                        case when v_unknown is null then 'detector that is stored' else 'stored detector ' || v_unknown end
            using errcode = 'L1C02',
                  hint = 'Nothing was changed.';
    end if;

    perform l1_api.list_detectors(v_visit, v_detectors);
    perform l1_api.lock_places(v_survey, array_agg(place.ra), array_agg(place.dec))
       from (
        select c.ra, c.dec
          from pg_temp.correcting c
        union all
        select o.ra, o.dec
          from l1.dia_object o
         where o.dia_object_id in (select c.former_object from pg_temp.correcting c)
        union all
        select mod(st_x(corner.geom)::numeric + 360, 360)::double precision, st_y(corner.geom)
          from l1.visit_detector v
         cross join lateral st_dumppoints(v.footprint::geometry) as corner
         where v.visit = p_visit
           and v.detector = any (v_detectors)
           and v.withdrawn_at is null
       ) as place;

    -- Behind the locks once more.
    perform l1_api.list_detectors(v_visit, v_detectors);
    perform l1_api.free_twins(v_survey);

    v_id := l1_api.apply_correction(v_survey, 'withdraw_detectors', p_reason, p_operator,
                                    jsonb_build_object('visit', p_visit::text, 'detectors', v_detectors));
    update l1.visit_detector v
       set withdrawn_at = (select c.stamp from l1.correction c where c.correction_id = v_id),
           withdrawn_reason = 'withdrawn'
     where v.visit = p_visit
       and v.detector = any (v_detectors)
       and v.withdrawn_at is null;
    delete from l1.precovery_task t
     where t.visit = p_visit
       and t.detector = any (v_detectors);
    return v_id;
end
$$;
comment on function l1_api.withdraw_detectors(bigint, smallint[], text, text) is
    'Withdraws all that is stored of some detectors of a visit, with a reason';
