create function l1_api.force_objects(p_visit l1.visit, p_survey l1.survey, p_stamp timestamptz)
returns void
language plpgsql
volatile
set search_path = pg_catalog, l1, l1_api, public, pg_temp
as $$
-- Function: l1_api.force_objects(3)
--
--   Stores the forced measurements of the objects that the visit did not see; by the survey's rules also of those that
--   it saw.  An object off the image, but near its edge, is forced only if the visit saw it.
--
-- Parameters:
--   p_visit, p_survey  - the visit, and the rules in force
--   p_stamp            - stamp of this transaction
-- Reads:   pg_temp.stage_forced
-- Writes:  pg_temp.forced, where it leaves those that are stored; pg_temp.touched; l1.dia_source
--
-- Algorithm:
--   The visit's detections are stored by now.  Each object's is looked up by itself (LIMIT): no statistics can know a
--   visit that just came.  An object whose last detection a replacement took is not forced: it is about to be retired.
declare
    v_bounds record;
begin
    if not exists (select from pg_temp.forced) then
        return;
    end if;
    select * into v_bounds from l1_api.leaf_bounds(p_visit.midpoint_mjd_tai);

    delete from pg_temp.forced f
     using pg_temp.forced seen
     cross join lateral (
        select exists (
            select
              from l1.dia_source x
             where x.dia_object_id = seen.dia_object_id
               and x.visit = p_visit.visit
               and not x.is_forced
               and x.midpoint_mjd_tai >= v_bounds.lower
               and x.midpoint_mjd_tai < v_bounds.upper
             limit 1) as by_visit
     ) as detected
     where seen.ctid = f.ctid
       and not case when detected.by_visit then p_survey.forced_on = 'all' else f.is_on_image end;

    if exists (select from pg_temp.claim c where c.former_attempt is not null) then
        delete from pg_temp.forced f
         where exists (select from pg_temp.touched t where t.dia_object_id = f.dia_object_id)
           and not exists (select from l1.dia_source y where y.dia_object_id = f.dia_object_id and not y.is_forced);
    end if;

    update pg_temp.forced f
       set dia_source_id = nextval('l1.dia_source_seq');

    insert into l1.dia_source (
        dia_source_id, visit, detector, dia_object_id, midpoint_mjd_tai, exposure_time, ra, dec, x, y, snr, psf_flux,
        psf_flux_err, psf_chi2, psf_ndata, psf_flux_flag, psf_flux_flag_edge, psf_flux_flag_no_good_pixels,
        science_flux, science_flux_err, snap_diff_flux, snap_diff_flux_err, band, time_processed, is_forced,
        forced_flags, validity_start
    )
    select
        f.dia_source_id, p_visit.visit, f.detector, f.dia_object_id, p_visit.midpoint_mjd_tai, p_visit.exposure_time,
        s.ra, s.dec, s.x, s.y,
        -- Beyond what a real can hold it says nothing.
        case when abs(s.psf_flux::double precision / s.psf_flux_err) between 1e-37 and 1e38
             then s.psf_flux::double precision / s.psf_flux_err
             when s.psf_flux = 0 then 0 end,
        s.psf_flux, s.psf_flux_err, s.psf_chi2, s.psf_ndata,
        s.psf_flux is null, s.forced_flags & 1 > 0, s.forced_flags & 4 > 0, s.science_flux, s.science_flux_err,
        s.snap_diff_flux, s.snap_diff_flux_err, p_visit.band, p_stamp, true, s.forced_flags, p_stamp
      from pg_temp.forced f
      join pg_temp.stage_forced s
        on s.detector = f.detector
       and s.dia_object_id = f.dia_object_id
     order by f.dia_object_id;

    insert into pg_temp.touched (dia_object_id, first_mjd_tai, all_bands)
    select f.dia_object_id,
           least(max(f.first_mjd_tai), case when p_survey.history_days is null then p_visit.midpoint_mjd_tai end),
           max(f.validity_start) < p_survey.created_at
      from pg_temp.forced f
     where not exists (select from pg_temp.touched t where t.dia_object_id = f.dia_object_id)
     group by f.dia_object_id;
    perform l1_api.refresh_statistics('touched', (select count(*) from pg_temp.touched));
end
$$;
comment on function l1_api.force_objects(l1.visit, l1.survey, timestamptz) is
    'Stores the forced measurements of the objects that the visit did not see';
