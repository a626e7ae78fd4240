create function l1_api.withdraw_attempts(p_visit l1.visit, p_survey l1.survey, p_stamp timestamptz)
returns void
language plpgsql
volatile
set search_path = pg_catalog, l1, l1_api, public, pg_temp
set plan_cache_mode = force_custom_plan
as $$
-- Function: l1_api.withdraw_attempts(3)
--
--   Moves the sources of replaced attempts, detected and forced, to the history, forgets what was still to be measured,
--   closes their ledger rows and opens those of their successors.
--
-- Parameters:
--   p_visit, p_survey  - the visit, and the rules in force
--   p_stamp            - stamp of this transaction
-- Reads:   pg_temp.claim, pg_temp.stage_detector
-- Writes:  l1.dia_source (history by trigger), l1.precovery_task, l1.visit_detector
--
-- Algorithm:
--   Detections and forced rows apart: each have an index of their own that begins with the visit.
-- Settings:
--   a plan kept for all times would have to look into every leaf
declare
    v_detectors smallint[] := array(select c.detector from pg_temp.claim c where c.former_attempt is not null);
    v_bounds    record;
begin
    select * into v_bounds from l1_api.leaf_bounds(p_visit.midpoint_mjd_tai);

    perform set_config('l1.closed_reason', 'replaced', true);
    delete from l1.dia_source x
     where x.visit = p_visit.visit
       and x.detector = any (v_detectors)
       and not x.is_forced
       and x.midpoint_mjd_tai >= v_bounds.lower
       and x.midpoint_mjd_tai < v_bounds.upper;
    delete from l1.dia_source x
     where x.visit = p_visit.visit
       and x.detector = any (v_detectors)
       and x.is_forced
       and x.midpoint_mjd_tai >= v_bounds.lower
       and x.midpoint_mjd_tai < v_bounds.upper;
    perform set_config('l1.closed_reason', '', true);

    delete from l1.precovery_task t
     where t.visit = p_visit.visit
       and t.detector = any (v_detectors);

    update l1.visit_detector v
       set withdrawn_at = p_stamp,
           withdrawn_reason = c.status
      from pg_temp.claim c
     where c.former_attempt is not null
       and v.visit = p_visit.visit
       and v.detector = c.detector
       and v.attempt = c.former_attempt;

    insert into l1.visit_detector (visit, detector, attempt, survey_version, footprint, psf_fwhm, zero_point,
                                   flux_noise, software, content_sha256)
    select p_visit.visit, c.detector, c.attempt, p_survey.survey_version, c.footprint, d.psf_fwhm, d.zero_point,
           d.flux_noise, d.software, d.content_sha256
      from pg_temp.claim c
      join pg_temp.stage_detector d
        on d.detector = c.detector
     where c.former_attempt is not null;
end
$$;
comment on function l1_api.withdraw_attempts(l1.visit, l1.survey, timestamptz) is
    'Moves the sources of replaced attempts to the history';
