create function l1_api.measure_motions(p_limit integer)
returns integer
language plpgsql
volatile
set search_path = pg_catalog, l1, l1_api, public, pg_temp
set work_mem = '64MB'
as $$
-- Function: l1_api.measure_motions(1)
--
--   Measures the proper motions of the next objects that are due, by day.  Call it, each time in a transaction of its own,
--   until it returns 0: it may be stopped anywhere, and once nothing is due it changes nothing.
--
-- Parameters:
--   p_limit  - at most so many objects; their sky is closed to ingests until the commit, so some hundred at most
-- Returns:
--   number of objects that were found due; 0: none is
-- Calls:   fit_motions, which tells what makes a motion, and which is followed
-- Reads:   l1.dia_object
-- Writes:  l1.dia_object (history by trigger); pg_temp
-- Locks:   the cells of the objects' positions, see lock_cells
--
-- Algorithm:
--   Due is what motion_is_due says (open_versions sees to that).  Objects are taken in the order of their ids, which is
--   one of the sky, so that they share cells.  Whether they still are due, and still lie in these cells, is looked up
--   again behind the locks; what another session has measured meanwhile, or moved, is left alone.
declare
    v_survey l1.survey;
    v_due    bigint[];
    v_held   bigint[];
    v_cells  integer[];
    v_stamp  timestamptz;
begin
    perform l1_api.refuse_other_isolation();
    perform l1_api.open_stage();
    if exists (select from pg_temp.claim) or exists (select from pg_temp.touched) or exists (select from pg_temp.motion) then
        raise exception 'this transaction has measured already'
            using errcode = 'L1I09',
                  hint = 'Commit, and call it again.';
    end if;
    select * into v_survey from l1_api.current_survey();

    select array_agg(due.dia_object_id),
           array_agg(distinct (q3c_ang2ipix(due.ra, due.dec) >> 42)::integer)
      into v_due, v_cells
      from (
        select o.dia_object_id, o.ra, o.dec
          from l1.dia_object o
         where o.motion_is_due
         order by o.dia_object_id
         limit p_limit
      ) as due;
    if v_due is null then
        return 0;
    end if;
    perform l1_api.lock_cells(v_cells);

    select array_agg(o.dia_object_id)
      into v_held
      from l1.dia_object o
     where o.dia_object_id = any (v_due)
       and o.motion_is_due
       and (q3c_ang2ipix(o.ra, o.dec) >> 42)::integer = any (v_cells);
    if v_held is null then
        return cardinality(v_due);
    end if;
    perform l1_api.fit_motions(v_survey, v_held);
    perform l1_api.refresh_statistics('motion', (select count(*) from pg_temp.motion));

    v_stamp := l1_api.take_stamp();
    update l1.dia_object o
       set validity_start = v_stamp,
           pm_ra = m.pm_ra,
           pm_ra_err = m.pm_ra_err,
           pm_dec = m.pm_dec,
           pm_dec_err = m.pm_dec_err,
           pm_ra_pm_dec_cov = m.pm_ra_pm_dec_cov,
           pm_chi2 = m.pm_chi2,
           pm_ndata = m.pm_ndata,
           drift_ra = m.drift_ra,
           drift_dec = m.drift_dec,
           drift_err = m.drift_err,
           motion_is_due = false
      from pg_temp.motion m
     where o.dia_object_id = m.dia_object_id;
    return cardinality(v_due);
end
$$;
comment on function l1_api.measure_motions(integer) is
    'Measures the proper motions of the next objects that are due, by day';
