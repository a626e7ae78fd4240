create function l1_api.retire_objects(p_why text, p_redirect_to bigint)
returns bigint
language plpgsql
volatile
set search_path = pg_catalog, l1, l1_api, public, pg_temp
as $$
-- Function: l1_api.retire_objects(2)
--
--   Retires the touched objects that have no detection left.  Their forced measurements, of other visits too, measure
--   nothing any more and are withdrawn; those still to be made are forgotten.
--
-- Parameters:
--   p_why          - why they are retired; the history keeps it
--   p_redirect_to  - the object that they became part of; NULL: none
-- Returns:
--   number of objects retired
-- Reads:   pg_temp.touched, pg_temp.measured
-- Writes:  l1.dia_object, l1.dia_object_band, l1.dia_source (histories by trigger), l1.precovery_task; pg_temp.correcting
declare
    v_retired bigint[];
begin
    v_retired := array(
        select t.dia_object_id
          from pg_temp.touched t
          join l1.dia_object o
            on o.dia_object_id = t.dia_object_id
          left join pg_temp.measured m
            on m.dia_object_id = t.dia_object_id
         where coalesce(m.n_dia_sources, 0) = 0);
    if cardinality(v_retired) = 0 then
        return 0;
    end if;

    perform set_config('l1.closed_reason', p_why, true);
    perform set_config('l1.redirect_to', coalesce(p_redirect_to::text, ''), true);
    delete from l1.dia_object o where o.dia_object_id = any (v_retired);
    perform set_config('l1.redirect_to', '', true);
    delete from l1.dia_object_band b where b.dia_object_id = any (v_retired);

    perform set_config('l1.closed_reason', 'orphaned', true);
    with withdrawn as (
        delete from l1.dia_source x
         where x.dia_object_id = any (v_retired)
        returning x.dia_source_id, x.midpoint_mjd_tai, x.ra, x.dec, x.visit, x.detector, x.band, x.is_forced,
                  x.validity_start, x.dia_object_id
    )
    insert into pg_temp.correcting (dia_source_id, midpoint_mjd_tai, ra, dec, visit, detector, band, is_forced,
                                    validity_start, former_object, action, reason)
    select w.*, 'withdraw', 'orphaned'
      from withdrawn w;
    perform set_config('l1.closed_reason', '', true);

    delete from l1.precovery_task t where t.dia_object_id = any (v_retired);
    return cardinality(v_retired);
end
$$;
comment on function l1_api.retire_objects(text, bigint) is 'Retires the touched objects that have no detection left';
