create function l1_api.measure_by_day(p_limit integer)
returns integer
language plpgsql
volatile
set search_path = pg_catalog, l1, l1_api, public, pg_temp
set work_mem = '64MB'
as $$
-- Function: l1_api.measure_by_day(1)
--
--   Measures the statistics that the nights left to the day, of the next objects that are due.  Call it, each time in a
--   transaction of its own, until it returns 0: it may be stopped anywhere, and once nothing is due it changes nothing.
--
-- Parameters:
--   p_limit  - at most so many objects; their sky is closed to ingests until the commit, so some thousand at most
-- Returns:
--   number of objects that were found due; 0: none is
-- Reads:   l1.dia_object, l1.dia_source
-- Writes:  l1.dia_object_band (history by trigger); pg_temp
-- Locks:   the cells of the objects' positions, see lock_cells
--
-- Algorithm:
--   Due is a band whose daily_ndata is not psf_flux_ndata (open_bands sees to that).  Objects are taken in the order of
--   their ids, which is one of the sky, so that they share cells.  Whether they still are due, and still lie in these
--   cells, is looked up again behind the locks; what another session has measured meanwhile, or moved, is left alone.
--   All statistics are measured anew, those of the ingest too: they may be of older rules.  Versions of dia_object stay
--   as they are.
declare
    v_survey         l1.survey;
    v_first_is_known boolean := l1_api.first_is_known();
    v_due            bigint[];
    v_cells          integer[];
    v_first          double precision;
begin
    perform l1_api.refuse_other_isolation();
    perform l1_api.open_stage();
    if exists (select from pg_temp.claim) or exists (select from pg_temp.touched) then
        raise exception 'this transaction has measured already'
            using errcode = 'L1I09',
                  hint = 'Commit, and call it again.';
    end if;
    select * into v_survey from l1_api.current_survey();

    select array_agg(due.dia_object_id),
           array_agg(distinct (q3c_ang2ipix(o.ra, o.dec) >> 42)::integer)
      into v_due, v_cells
      from (
        select distinct b.dia_object_id
          from l1.dia_object_band b
         where b.daily_ndata is distinct from b.psf_flux_ndata
         order by b.dia_object_id
         limit p_limit
      ) as due
      join l1.dia_object o
        on o.dia_object_id = due.dia_object_id;
    if v_due is null then
        return 0;
    end if;
    perform l1_api.lock_cells(v_cells);

    insert into pg_temp.touched (dia_object_id, first_mjd_tai, all_bands)
    select o.dia_object_id,
           l1_api.window_start(v_survey.history_days, v_first_is_known, o.first_epoch_mjd_tai,
                               o.last_dia_source_mjd_tai),
           true
      from l1.dia_object o
      join l1.dia_object_band b
        on b.dia_object_id = o.dia_object_id
     where o.dia_object_id = any (v_due)
       and (q3c_ang2ipix(o.ra, o.dec) >> 42)::integer = any (v_cells)
     group by o.dia_object_id
    having bool_or(b.daily_ndata is distinct from b.psf_flux_ndata);
    select min(t.first_mjd_tai) into v_first from pg_temp.touched t;
    if v_first is null then
        return cardinality(v_due);
    end if;
    perform l1_api.refresh_statistics('touched', (select count(*) from pg_temp.touched));

    perform l1_api.measure_bands(null, v_survey, v_first);
    perform l1_api.refresh_statistics('measured_band', (select count(*) from pg_temp.measured_band));
    perform l1_api.take_stamp();
    perform l1_api.close_bands(null);
    delete from pg_temp.measured_band m
     using l1.dia_object_band b
     where b.dia_object_id = m.dia_object_id
       and b.band = m.band
       and b.psf_flux_ndata = m.psf_flux_ndata
       and b.daily_ndata = m.psf_flux_ndata;
    perform l1_api.measure_shapes(v_survey, v_first);
    perform l1_api.open_bands(l1_api.stamp_in_force(), false);
    return cardinality(v_due);
end
$$;
comment on function l1_api.measure_by_day(integer) is
    'Measures the light-curve statistics that the nights left to the day, of the next objects that are due';
