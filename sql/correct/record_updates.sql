create function l1_api.record_updates(p_correction_id bigint, p_stamp timestamptz)
returns void
language plpgsql
volatile
set search_path = pg_catalog, l1, l1_api, public, pg_temp
as $$
-- Function: l1_api.record_updates(2)
--
--   Writes down, in Rubin's six types of update records, what stores downstream must change in rows that they have.  New
--   rows and new versions are theirs to read.
--
-- Parameters:
--   p_correction_id  - the correction; NULL: a replacement by the ingest
--   p_stamp          - stamp of this transaction
-- Reads:   pg_temp.correcting, pg_temp.touched, l1.dia_object, l1.dia_object_history
-- Writes:  l1.update_record
--
-- Algorithm:
--   Sources first, then objects, as dax_apdb wants it: sources leave an object before it is closed.  Rubin knows a forced
--   source by its object, so one that is moved is withdrawn from the former and is a new row of the other.  A source that
--   became the duplicate of another has no object any more, for which there is no type: it is withdrawn downstream.
--   What is brought back, what came again with other values, and an object that is current again, are rows to be read: a
--   store that follows first takes over all rows whose validity_start is later than what it has, be their ids new or known,
--   and then applies the records.
begin
    insert into l1.update_record (stamp, update_order, update_type, correction_id, dia_source_id, ra, dec,
                                  midpoint_mjd_tai, visit, detector, dia_object_id, former_dia_object_id, n_dia_sources)
    select p_stamp, row_number() over (order by r.rank, r.dia_source_id, r.dia_object_id) - 1, r.update_type,
           p_correction_id, r.dia_source_id, r.ra, r.dec, r.midpoint_mjd_tai, r.visit, r.detector, r.dia_object_id,
           r.former_dia_object_id, r.n_dia_sources
      from (
        select 1 as rank,
               case when c.is_forced then 'withdraw_diaforcedsource'
                    when c.object is null then 'withdraw_diasource'
                    else 'reassign_diasource_to_diaobject' end as update_type,
               c.dia_source_id, c.ra, c.dec, c.midpoint_mjd_tai, c.visit, c.detector,
               c.object as dia_object_id,
               c.former_object as former_dia_object_id,
               null::integer as n_dia_sources
          from pg_temp.correcting c
         where c.action in ('withdraw', 'move')
        union all
        select 2, 'close_diaobject_validity', null, h.ra, h.dec, null, null, null, h.dia_object_id, null, 0
          from pg_temp.touched t
         cross join lateral (
            select f.dia_object_id, f.ra, f.dec
              from l1.dia_object_history f
             where f.dia_object_id = t.dia_object_id
               and f.validity_end = p_stamp
               and f.retired_reason is not null
             order by f.validity_start desc
             limit 1
         ) as h
        union all
        select 3, 'update_n_dia_sources', null, o.ra, o.dec, null, null, null, o.dia_object_id, null, o.n_dia_sources
          from pg_temp.touched t
          join l1.dia_object o
            on o.dia_object_id = t.dia_object_id
         cross join lateral (
            select f.n_dia_sources
              from l1.dia_object_history f
             where f.dia_object_id = t.dia_object_id
               and f.validity_end = p_stamp
             order by f.validity_start desc
             limit 1
         ) as former
         where former.n_dia_sources <> o.n_dia_sources
      ) as r;
end
$$;
comment on function l1_api.record_updates(bigint, timestamptz) is
    'Writes down in Rubin''s update records what stores downstream must change';
