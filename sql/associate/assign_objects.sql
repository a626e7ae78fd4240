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
-- Reads:   pg_temp.claim, pg_temp.source, pg_temp.match, pg_temp.taken, pg_temp.twin
-- Writes:  pg_temp.assignment
--
-- Algorithm:
--   An object has one detection per visit: of the detectors that matched it the best keeps it, or the one that is stored;
--   the others saw it twice (duplicate_in_visit).  A source without object is the same if its twin has an object, or
--   comes first among those that may found one.  A duplicate that was brought back comes after the sources of the call, so
--   that nothing changes for it as long as one of them takes its twin's place.  What is left founds an object, unless the
--   quality gate or the breaker stops it.  The breaker counts the sources of a detector that match no object, twins or
--   not, so that it does not depend on which detector came first.
--   The upper 27 bits of a new object's id are the level-12 cell of its discovery, the lower 36 a running number: so
--   neighbours on the sky are neighbours in every index, and an id alone says where to look.  It never changes.
declare
    v_rows bigint;
begin
    insert into pg_temp.assignment (ordinal, is_stored, detector, dia_source_id, midpoint_mjd_tai, dia_object_id, is_new,
                                    reason)
    with stopped as materialized (
        select s.detector
          from pg_temp.source s
          join pg_temp.claim c
            on c.detector = s.detector
          left join pg_temp.match m
            on m.ordinal = s.ordinal
         where p_survey.max_new_objects is not null
           and c.status <> 'released'
           and s.may_found
           and not s.is_stored
           and m.ordinal is null
         group by s.detector
        having count(*) > p_survey.max_new_objects
    ), founder as (
        select s.ordinal, s.is_stored, s.detector
          from pg_temp.source s
         where s.may_found
           and s.detector not in (select stopped.detector from stopped)
    ), holder as (
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
          left join founder
            on founder.ordinal = w.ordinal
          left join founder other
            on other.ordinal = w.other_ordinal
          left join pg_temp.match m
            on m.ordinal = w.other_ordinal
         where w.other_ordinal is null
            or m.ordinal is not null
            or other.ordinal is not null
               and (founder.ordinal is null
                    or (other.is_stored, other.detector, other.ordinal) < (s.is_stored, s.detector, s.ordinal))
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
                    when founder.ordinal is not null then null
                    when s.may_found then 'breaker'
                    else 'quality' end as reason
          from pg_temp.source s
          left join founder
            on founder.ordinal = s.ordinal
          left join holder h
            on h.ordinal = s.ordinal
          left join doubled d
            on d.ordinal = s.ordinal
    )
    select k.ordinal,
           k.is_stored,
           k.detector,
           k.dia_source_id,
           k.midpoint_mjd_tai,
           case when k.dia_object_id is null and k.reason is null
                then (q3c_ang2ipix(k.ra, k.dec) >> 36 << 36) | nextval('l1.dia_object_seq')
                else k.dia_object_id end,
           k.dia_object_id is null and k.reason is null,
           k.reason
      from decided k
     where not k.is_stored
        or k.reason is distinct from 'duplicate_in_visit';
    get diagnostics v_rows = row_count;

    perform l1_api.refresh_statistics('assignment', v_rows);
end
$$;
comment on function l1_api.assign_objects(l1.survey) is
    'Decides for every source: its object, that it founds one, or why it has none';
