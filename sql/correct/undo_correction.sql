create function l1_api.undo_correction(p_correction_id bigint, p_reason text, p_operator text default null)
returns bigint
language plpgsql
volatile
set search_path = pg_catalog, l1, l1_api, public, pg_temp
as $$
-- Function: l1_api.undo_correction(3)
--
--   Undoes a correction: every source that it changed becomes again what it was before, objects that it retired are opened
--   again under their ids, and all are measured anew.  Refused where a source belongs elsewhere since or was
--   ingested anew, or its object was retired since: a chain of corrections is undone from its end.
--
-- Parameters:
--   p_correction_id  - the correction; an undo is not undone, make the correction again instead
--   p_reason         - why
--   p_operator       - who; by default the login
-- Returns:
--   correction_id of the undo
-- Reads:   l1.correction, l1.update_record, l1.dia_source, l1.dia_source_history, l1.visit_detector
-- Writes:  l1.visit_detector: withdrawn detectors as further attempts; see apply_correction
-- Locks:   the visits, each alone, where detections or detectors were withdrawn; the sky around the sources and objects
--
-- Algorithm:
--   The correction's update records name the sources; the versions that end with its stamp are what they were.
declare
    v_survey  l1.survey;
    v_undone  l1.correction;
    v_trouble text;
    v_id      bigint;
begin
    v_survey := l1_api.begin_correction(p_reason);
    select * into v_undone from l1.correction c where c.correction_id = p_correction_id;
    if v_undone.correction_id is null then
        raise exception 'correction % is unknown', coalesce(p_correction_id::text, 'NULL')
            using errcode = 'L1C02',
                  hint = 'Table correction lists them.';
    end if;
    if v_undone.undoes is not null then
        raise exception 'correction % is an undo itself', p_correction_id
            using errcode = 'L1C03',
                  hint = 'Make the correction that it undid again.';
    end if;

    perform l1_api.hold_visit(held.visit, true)
       from (
        select distinct u.visit
          from l1.update_record u
         where u.correction_id = p_correction_id
           and u.update_type = 'withdraw_diasource'
        union
        select (v_undone.given ->> 'visit')::bigint
         where v_undone.kind = 'withdraw_detectors'
         order by 1
       ) as held;
    perform l1_api.lock_places(v_survey, array_agg(place.ra), array_agg(place.dec))
       from (
        select u.ra, u.dec
          from l1.update_record u
         where u.correction_id = p_correction_id
        union all
        select o.ra, o.dec
          from l1.dia_object o
         where o.dia_object_id in (select u.dia_object_id from l1.update_record u where u.correction_id = p_correction_id
                                   union
                                   select u.former_dia_object_id
                                     from l1.update_record u
                                    where u.correction_id = p_correction_id)
       ) as place;
    if exists (select from l1.correction c where c.undoes = p_correction_id) then
        raise exception 'correction % has been undone', p_correction_id
            using errcode = 'L1C03',
                  hint = 'Nothing was changed.';
    end if;

    insert into pg_temp.correcting (dia_source_id, midpoint_mjd_tai, ra, dec, visit, detector, band, is_forced,
                                    validity_start, former_object, action, reason, object, no_object_reason)
    select h.dia_source_id, h.midpoint_mjd_tai, h.ra, h.dec, h.visit, h.detector, h.band, h.is_forced,
           h.validity_start, now_is.dia_object_id,
           case when now_is.dia_source_id is null then 'restore' else 'move' end, 'undone', h.dia_object_id,
           h.no_object_reason
      from l1.update_record u
      join l1.dia_source_history h
        on h.dia_source_id = u.dia_source_id
       and h.validity_end = v_undone.stamp
      left join lateral (
        select x.dia_source_id, x.dia_object_id
          from l1.dia_source x
         where x.dia_source_id = u.dia_source_id
           and x.midpoint_mjd_tai = u.midpoint_mjd_tai
         limit 1
      ) as now_is
        on true
     where u.correction_id = p_correction_id
       and u.dia_source_id is not null;
    perform l1_api.refresh_statistics('correcting', (select count(*) from pg_temp.correcting));

    select string_agg(changed.why, ', ' order by changed.dia_source_id)
      into v_trouble
      from (
        select c.dia_source_id,
               case when is_other.ingest
                    then format('visit %s, detector %s, of DiaSource %s was ingested anew or withdrawn since',
                                c.visit, c.detector, c.dia_source_id)
                    when is_other.object_since is not null
                    then format('DiaObject %s of DiaSource %s was retired since', c.object, c.dia_source_id)
                    else format('DiaSource %s belongs elsewhere since', c.dia_source_id) end as why
          from pg_temp.correcting c
          join l1.update_record u
            on u.correction_id = p_correction_id
           and u.dia_source_id = c.dia_source_id
         cross join lateral (
            select exists (select
                             from l1.visit_detector d
                            where d.visit = c.visit
                              and d.detector = c.detector
                              and d.time_processed > v_undone.stamp)
                   or not exists (select
                                    from l1.visit_detector d
                                   where d.visit = c.visit
                                     and d.detector = c.detector
                                     and (d.withdrawn_at is null or d.withdrawn_at = v_undone.stamp)) as ingest,
                   (select h.validity_end
                      from l1.dia_object_history h
                     where h.dia_object_id = c.object
                       and h.validity_end > v_undone.stamp
                       and h.retired_reason is not null
                       and not exists (select from l1.dia_object o where o.dia_object_id = c.object)
                     limit 1) as object_since
         ) as is_other
         where is_other.ingest
            or is_other.object_since is not null
            or c.action = 'move'
           and c.former_object is distinct from u.dia_object_id
            or c.action = 'restore'
           and exists (select
                         from l1.dia_source_history h
                        where h.dia_source_id = c.dia_source_id
                          and h.validity_start >= v_undone.stamp)
        union all
        select null, format('visit %s, detector %s, was ingested anew since', d.visit, d.detector)
          from l1.visit_detector d
         where v_undone.kind = 'withdraw_detectors'
           and d.visit = (v_undone.given ->> 'visit')::bigint
           and d.withdrawn_at is null
           and d.detector in (select w.detector
                                from l1.visit_detector w
                               where w.visit = d.visit
                                 and w.withdrawn_at = v_undone.stamp)
         order by 1, 2
         limit 3
      ) as changed;
    if v_trouble is not null then
        raise exception 'correction % cannot be undone any more: %', p_correction_id, v_trouble
            using errcode = 'L1C03',
                  hint = 'Nothing was changed; move or withdraw what is to be corrected now.';
    end if;

    v_id := l1_api.apply_correction(v_survey, 'undo_correction', p_reason, p_operator,
                                    jsonb_build_object('correction_id', p_correction_id), p_undoes => p_correction_id);
    if v_undone.kind = 'withdraw_detectors' then
        insert into l1.visit_detector
        select r.*
          from l1.visit_detector v
         cross join lateral jsonb_populate_record(v, jsonb_build_object(
            'attempt', (select max(w.attempt) + 1
                          from l1.visit_detector w
                         where w.visit = v.visit and w.detector = v.detector),
            'withdrawn_at', null,
            'withdrawn_reason', null)) as r
         where v.visit = (v_undone.given ->> 'visit')::bigint
           and v.withdrawn_at = v_undone.stamp;
    end if;
    return v_id;
end
$$;
comment on function l1_api.undo_correction(bigint, text, text) is 'Undoes a correction, with a reason';
