create function l1_api.refuse_conflicts()
returns void
language plpgsql
volatile
set search_path = pg_catalog, l1, l1_api, public, pg_temp
as $$
-- Function: l1_api.refuse_conflicts(0)
--
--   Stops a correction that would give an object two detections of one visit, or two forced measurements of one image:
--   before the unique indexes do, which cannot say it well.
--
-- Reads:   pg_temp.correcting, l1.dia_source
declare
    v_trouble text;
begin
    with coming as materialized (
        select c.dia_source_id, c.midpoint_mjd_tai, c.visit, c.detector, c.is_forced, c.object
          from pg_temp.correcting c
         where c.action in ('move', 'restore')
           and c.object is not null
    ), met as (
        select coming.object, coming.visit, coming.is_forced, coming.dia_source_id, other.dia_source_id as other_id
          from coming
         cross join lateral (
            select x.dia_source_id
              from l1.dia_source x
             where x.dia_object_id = coming.object
               and x.visit = coming.visit
               and x.is_forced = coming.is_forced
               and (not x.is_forced or x.detector = coming.detector)
               and x.midpoint_mjd_tai >= coming.midpoint_mjd_tai - 1
               and x.midpoint_mjd_tai < coming.midpoint_mjd_tai + 1
         ) as other
         where other.dia_source_id <> coming.dia_source_id
           and not exists (select
                             from pg_temp.correcting c
                            where c.dia_source_id = other.dia_source_id
                              and (c.action = 'withdraw' or c.object is distinct from coming.object))
        union
        select c.object, c.visit, c.is_forced, min(c.dia_source_id), max(c.dia_source_id)
          from coming c
         group by c.object, c.visit, c.is_forced, case when c.is_forced then c.detector end
        having count(*) > 1
    )
    select string_agg(format('%s and %s of visit %s in object %s', met.dia_source_id, met.other_id, met.visit, met.object),
                      '; ' order by met.visit, met.dia_source_id)
      into v_trouble
      from (select * from met order by met.visit, met.dia_source_id limit 3) as met;
    if v_trouble is not null then
        raise exception 'an object has one detection per visit and one forced measurement per image: %', v_trouble
            using errcode = 'L1C03',
                  hint = 'Withdraw or move one of them first.';
    end if;
end
$$;
comment on function l1_api.refuse_conflicts() is
    'Stops a correction that would give an object two detections of one visit';
