create function l1_api.merge_objects(
    p_dia_object_ids bigint[],
    p_into           bigint,
    p_reason         text,
    p_operator       text default null
)
returns bigint
language plpgsql
volatile
set search_path = pg_catalog, l1, l1_api, public, pg_temp
as $$
-- Function: l1_api.merge_objects(4)
--
--   Makes DiaObjects part of another: it gets their sources, detected and forced, and is measured anew; they are retired,
--   and their ids lead to it (leads_to, light_curve, cone_search).
--
-- Parameters:
--   p_dia_object_ids  - the objects that end, all current
--   p_into            - the object that remains, current, within 20 arcsec of each
--   p_reason          - why
--   p_operator        - who; by default the login
-- Returns:
--   correction_id
-- Reads:   l1.dia_object, l1.dia_source; see apply_correction
-- Writes:  see apply_correction
-- Locks:   the sky around the objects
--
-- Algorithm:
--   Two detections of one visit on one detector are two things, and their objects are not merged.  On different detectors
--   they are one thing seen twice: that of p_into stays, the other becomes its duplicate (duplicate_in_visit).  Of forced
--   measurements on one image that of p_into stays; where the image has a detection of the merged object, none does,
--   unless the survey forces what is detected, too.
declare
    v_survey  l1.survey;
    v_ids     bigint[];
    v_trouble text;
begin
    v_survey := l1_api.begin_correction(p_reason);
    v_ids := array(select distinct unnest(p_dia_object_ids) order by 1);
    if p_into is null or v_ids is null or cardinality(v_ids) = 0 or array_position(v_ids, null) is not null
       or p_into = any (v_ids)
    then
        raise exception 'a merge needs DiaObjects that end, and another that remains'
            using errcode = 'L1C02',
                  hint = 'Nothing was changed.';
    end if;
    perform l1_api.lock_places(v_survey, array_agg(o.ra), array_agg(o.dec))
       from l1.dia_object o
      where o.dia_object_id = any (v_ids || p_into);

    select string_agg(format(case when not known.is_known then '%s is unknown'
                                  when known.leads_to = given.id then '%s is retired'
                                  else '%s became part of %s' end, given.id, known.leads_to), ', ' order by given.id)
      into v_trouble
      from unnest(v_ids || p_into) as given(id)
     cross join lateral (
        select exists (select from l1.dia_object_history h where h.dia_object_id = given.id) as is_known,
               l1_api.leads_to(given.id) as leads_to
     ) as known
     where not exists (select from l1.dia_object o where o.dia_object_id = given.id);
    if v_trouble is not null then
        raise exception 'not all of these are current DiaObjects: %', v_trouble
            using errcode = 'L1C02',
                  hint = 'Nothing was changed.';
    end if;
    select string_agg(format('%s lies %s arcsec away', o.dia_object_id, round((far.separation * 3600)::numeric, 1)), ', '
                      order by o.dia_object_id)
      into v_trouble
      from l1.dia_object survivor
      join l1.dia_object o
        on o.dia_object_id = any (v_ids)
     cross join lateral q3c_dist(survivor.ra, survivor.dec, o.ra, o.dec) as far(separation)
     where survivor.dia_object_id = p_into
       and far.separation * 3600 > 20;
    if v_trouble is not null then
        raise exception 'these are not one thing with DiaObject %: %', p_into, v_trouble
            using errcode = 'L1C03',
                  hint = 'Merges reach 20 arcsec; move_sources reaches any distance.';
    end if;

    insert into pg_temp.correcting (dia_source_id, midpoint_mjd_tai, ra, dec, visit, detector, band, is_forced,
                                    validity_start, former_object, action, object, reason)
    select x.dia_source_id, x.midpoint_mjd_tai, x.ra, x.dec, x.visit, x.detector, x.band, x.is_forced, x.validity_start,
           x.dia_object_id, 'move', p_into, 'merged'
      from l1.dia_source x
     where x.dia_object_id = any (v_ids || p_into);
    perform l1_api.refresh_statistics('correcting', (select count(*) from pg_temp.correcting));

    select string_agg(format('visit %s, detector %s', twice.visit, twice.detector), '; ' order by twice.visit)
      into v_trouble
      from (
        select c.visit, c.detector
          from pg_temp.correcting c
         where not c.is_forced
         group by c.visit, c.detector
        having count(*) > 1
         order by c.visit
         limit 3
      ) as twice;
    if v_trouble is not null then
        raise exception 'these DiaObjects were seen as two at once: %', v_trouble
            using errcode = 'L1C03',
                  hint = 'If one of the two sources is none, withdraw it first.';
    end if;

    update pg_temp.correcting c
       set object = null,
           no_object_reason = 'duplicate_in_visit'
     where not c.is_forced
       and exists (select
                     from pg_temp.correcting other
                    where other.visit = c.visit
                      and not other.is_forced
                      and ((other.former_object = p_into), -other.dia_source_id)
                          > ((c.former_object = p_into), -c.dia_source_id));
    update pg_temp.correcting c
       set action = 'withdraw',
           object = null
     where c.is_forced
       and exists (select
                     from pg_temp.correcting other
                    where other.visit = c.visit
                      and other.detector = c.detector
                      and (other.is_forced
                           and ((other.former_object = p_into), -other.dia_source_id)
                               > ((c.former_object = p_into), -c.dia_source_id)
                           or not other.is_forced and other.object = p_into and v_survey.forced_on <> 'all'));
    delete from pg_temp.correcting c
     where c.former_object = p_into
       and c.object = p_into;

    return l1_api.apply_correction(v_survey, 'merge_objects', p_reason, p_operator,
                                   jsonb_build_object('dia_object_ids', v_ids::text[], 'into', p_into::text),
                                   p_redirect_to => p_into);
end
$$;
comment on function l1_api.merge_objects(bigint[], bigint, text, text) is
    'Makes DiaObjects part of another, with a reason; their ids lead to it';
