create function l1_api.list_replaced(p_visit l1.visit, p_stamp timestamptz)
returns void
language plpgsql
volatile
set search_path = pg_catalog, l1, l1_api, public, pg_temp
set plan_cache_mode = force_custom_plan
as $$
-- Function: l1_api.list_replaced(2)
--
--   Lists what a replacement has changed of sources that others may have read: those that did not come again, those that
--   belong to another object now, and forced measurements that were made again and have another id (renew).
--
-- Parameters:
--   p_visit  - the visit
--   p_stamp  - stamp of this transaction
-- Reads:   pg_temp.claim, pg_temp.assignment, l1.dia_source_history, l1.dia_source
-- Writes:  pg_temp.correcting
--
-- Settings:
--   a plan kept for all times would have to look into every leaf
declare
    v_bounds record;
begin
    select * into v_bounds from l1_api.leaf_bounds(p_visit.midpoint_mjd_tai);

    insert into pg_temp.correcting (dia_source_id, midpoint_mjd_tai, ra, dec, visit, detector, band, is_forced,
                                    validity_start, former_object, action, reason, object)
    select h.dia_source_id, h.midpoint_mjd_tai, h.ra, h.dec, h.visit, h.detector, h.band, h.is_forced,
           h.validity_start, h.dia_object_id, case when now_is.n = 0 then 'withdraw' when h.is_forced then 'renew' else 'move' end,
           h.closed_reason,
           now_is.dia_object_id
      from l1.dia_source_history h
     cross join lateral (
        select coalesce(sum(same.n), 0) as n, max(same.dia_object_id) as dia_object_id
          from (
            select 1 as n, x.dia_object_id
              from l1.dia_source x
             where not h.is_forced
               and x.dia_source_id = h.dia_source_id
               and x.midpoint_mjd_tai >= v_bounds.lower
               and x.midpoint_mjd_tai < v_bounds.upper
            union all
            select 1, x.dia_object_id
              from l1.dia_source x
             where h.is_forced
               and x.is_forced
               and x.visit = h.visit
               and x.detector = h.detector
               and x.dia_object_id = h.dia_object_id
               and x.midpoint_mjd_tai >= v_bounds.lower
               and x.midpoint_mjd_tai < v_bounds.upper
          ) as same
     ) as now_is
     where h.visit = p_visit.visit
       and (h.detector in (select c.detector from pg_temp.claim c where c.former_attempt is not null)
            or h.detector in (select a.detector from pg_temp.assignment a where a.is_stored))
       and h.validity_end = p_stamp
       and (now_is.n = 0 or h.is_forced or now_is.dia_object_id is distinct from h.dia_object_id);
end
$$;
comment on function l1_api.list_replaced(l1.visit, timestamptz) is
    'Lists what a replacement has changed of sources that others may have read';
