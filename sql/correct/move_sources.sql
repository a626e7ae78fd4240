create function l1_api.move_sources(
    p_dia_source_ids bigint[],
    p_dia_object_id  bigint,
    p_reason         text,
    p_operator       text default null
)
returns bigint
language plpgsql
volatile
set search_path = pg_catalog, l1, l1_api, public, pg_temp
as $$
-- Function: l1_api.move_sources(4)
--
--   Gives DiaSources to another DiaObject; the objects are measured anew, and one that is left without detections is
--   retired.  Moving them back undoes it: a retired object is opened again under its id, with its forced measurements.
--
-- Parameters:
--   p_dia_source_ids  - the sources; with detections their forced ones may go, too, and those without object may get one
--   p_dia_object_id   - the object, current or retired; NULL: a new one
--   p_reason          - why
--   p_operator        - who; by default the login
-- Returns:
--   correction_id
-- Reads:   l1.dia_object, l1.dia_object_history, l1.dia_source_history, l1.visit_detector; see apply_correction
-- Writes:  see apply_correction
-- Locks:   the sky around the sources and the objects
declare
    v_survey  l1.survey;
    v_object  bigint := p_dia_object_id;
    v_retired timestamptz;
begin
    v_survey := l1_api.begin_correction(p_reason);
    if p_dia_object_id is not null
       and not exists (select from l1_api.dia_object_version v where v.dia_object_id = p_dia_object_id)
    then
        raise exception 'DiaObject % is unknown', p_dia_object_id
            using errcode = 'L1C02',
                  hint = 'Nothing was changed.';
    end if;
    perform l1_api.lock_correcting(v_survey, p_dia_source_ids, p_dia_object_id);
    if v_object is null then
        select (q3c_ang2ipix(c.ra, c.dec) >> 36 << 36) | nextval('l1.dia_object_seq')
          into v_object
          from pg_temp.correcting c
         where not c.is_forced
         order by c.midpoint_mjd_tai, c.dia_source_id
         limit 1;
    end if;
    if exists (select
                 from pg_temp.correcting c
                where c.is_forced
                  and not exists (select
                                    from pg_temp.correcting d
                                   where not d.is_forced
                                     and d.former_object = c.former_object))
    then
        raise exception 'forced measurements go with detections of their DiaObject, not alone'
            using errcode = 'L1C02',
                  hint = 'Nothing was changed.';
    end if;
    delete from pg_temp.correcting c where c.former_object = v_object;
    update pg_temp.correcting c
       set action = 'move',
           object = v_object,
           reason = 'moved';
    if not exists (select from pg_temp.correcting) then
        raise exception 'all of these DiaSources belong to DiaObject % already', v_object
            using errcode = 'L1C02',
                  hint = 'Nothing was changed.';
    end if;

    if not exists (select from l1.dia_object o where o.dia_object_id = v_object) then
        if not exists (select from pg_temp.correcting c where not c.is_forced) then
            raise exception 'a DiaObject needs a detection'
                using errcode = 'L1C02',
                      hint = 'Move detections, with or without forced measurements.';
        end if;
        -- Its forced measurements went when it was retired; those come back whose images still stand.
        select max(h.validity_end) into v_retired from l1.dia_object_history h where h.dia_object_id = v_object;
        insert into pg_temp.correcting (dia_source_id, midpoint_mjd_tai, ra, dec, visit, detector, band, is_forced,
                                        validity_start, action, object, reason)
        select h.dia_source_id, h.midpoint_mjd_tai, h.ra, h.dec, h.visit, h.detector, h.band, h.is_forced,
               h.validity_start, 'restore', v_object, 'moved'
          from l1.dia_source_history h
          join l1.visit_detector d
            on d.visit = h.visit
           and d.detector = h.detector
         where h.dia_object_id = v_object
           and h.validity_end = v_retired
           and h.closed_reason = 'orphaned'
           and d.withdrawn_at is null
           and d.time_processed < v_retired
           and not exists (select from pg_temp.correcting c
                            where c.is_forced and c.visit = h.visit and c.detector = h.detector);
    end if;

    return l1_api.apply_correction(v_survey, 'move_sources', p_reason, p_operator,
                                   jsonb_build_object('dia_source_ids', p_dia_source_ids::text[],
                                                      'dia_object_id', v_object::text));
end
$$;
comment on function l1_api.move_sources(bigint[], bigint, text, text) is
    'Gives DiaSources to another DiaObject, with a reason; moving them back undoes it';
