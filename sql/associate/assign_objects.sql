create function l1_api.assign_objects(p_survey l1.survey)
returns void
language plpgsql
volatile
set search_path = pg_catalog, l1, l1_api, public, pg_temp
as $$
-- Function: l1_api.assign_objects(1)
--
--   Decides for every source: the object it belongs to, that it founds one, or why it has none.
--
-- Reads:   pg_temp.source, pg_temp.match, pg_temp.taken, pg_temp.twin
-- Writes:  pg_temp.assignment
--
-- Algorithm:
--   An object has one detection per visit: of the detectors that matched it the best keeps it, or the one that is stored;
--   the others saw it twice (duplicate_in_visit).  A source without object is the same if its twin has an object, or
--   comes first among those that may found one.  A duplicate that was brought back comes after the sources of the call, so
--   that nothing changes for it as long as one of them takes its twin's place.  What is left founds an object, unless the quality gate or the breaker
--   stops it.
--   The upper 27 bits of a new object's id are the level-12 cell of its discovery, the lower 36 a running number: so
--   neighbours on the sky are neighbours in every index, and an id alone says where to look.  It never changes.
declare
    v_rows bigint;
begin
    insert into pg_temp.assignment (ordinal, is_stored, detector, dia_source_id, midpoint_mjd_tai, dia_object_id, is_new,
                                    reason)
    with holder as (
        select m.ordinal,
               m.dia_object_id,
               t.dia_object_id is null
               and row_number() over (partition by m.dia_object_id
                                          order by m.is_stored, m.cost, m.separation, m.detector, m.ordinal) = 1 as keeps
          from pg_temp.match m
          left join pg_temp.taken t
            on t.dia_object_id = m.dia_object_id
           and not t.is_replaced
    ), doubled as (
        select distinct w.ordinal
          from pg_temp.twin w
          join pg_temp.source s
            on s.ordinal = w.ordinal
          left join pg_temp.source other
            on other.ordinal = w.other_ordinal
          left join pg_temp.match m
            on m.ordinal = w.other_ordinal
         where other.ordinal is null
            or m.ordinal is not null
            or (not other.may_found, other.is_stored, other.detector, other.ordinal)
               < (not s.may_found, s.is_stored, s.detector, s.ordinal)
    ), decided as (
        select s.ordinal,
               s.is_stored,
               s.detector,
               s.dia_source_id,
               s.midpoint_mjd_tai,
               s.ra,
               s.dec,
               case when h.keeps then h.dia_object_id end as dia_object_id,
               case when h.keeps then null
                    when h.ordinal is not null or d.ordinal is not null then 'duplicate_in_visit'
                    when not s.may_found then 'quality' end as reason
          from pg_temp.source s
          left join holder h
            on h.ordinal = s.ordinal
          left join doubled d
            on d.ordinal = s.ordinal
    ), counted as (
        select decided.*,
               decided.dia_object_id is null and decided.reason is null as is_new,
               count(*) filter (where decided.dia_object_id is null and decided.reason is null)
                   over (partition by decided.detector) as n_new
          from decided
    )
    select k.ordinal,
           k.is_stored,
           k.detector,
           k.dia_source_id,
           k.midpoint_mjd_tai,
           case when k.is_new and not tripped.breaker
                then (q3c_ang2ipix(k.ra, k.dec) >> 36 << 36) | nextval('l1.dia_object_seq')
                else k.dia_object_id end,
           k.is_new and not tripped.breaker,
           case when k.is_new and tripped.breaker then 'breaker' else k.reason end
      from counted k
      join pg_temp.claim c
        on c.detector = k.detector
     cross join lateral (
        select c.status <> 'released' and coalesce(k.n_new > p_survey.max_new_objects, false) as breaker
     ) as tripped
     where not k.is_stored
        or k.reason is distinct from 'duplicate_in_visit';
    get diagnostics v_rows = row_count;

    perform l1_api.refresh_statistics('assignment', v_rows);
end
$$;
comment on function l1_api.assign_objects(l1.survey) is
    'Decides for every source: its object, that it founds one, or why it has none';
