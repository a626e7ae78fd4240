create function l1_api.claim_detectors(p_visit l1.visit, p_survey l1.survey, p_mode text)
returns void
language plpgsql
volatile
set search_path = pg_catalog, l1, l1_api, public, pg_temp
as $$
-- Function: l1_api.claim_detectors(3)
--
--   The ledger check: decides for each staged detector whether it is stored anew, is there already, replaces what is
--   there or adds to it; and takes its ledger row.
--
-- Parameters:
--   p_visit, p_survey  - the visit, and the rules in force
--   p_mode             - new: store, or find the same content stored
--                        replace: withdraw what is stored, unless it is the same
--                        release: store again, without the breaker, what the breaker stopped
--                        supplement: add to what is stored
-- Reads:   pg_temp.stage_detector, pg_temp.stage_source, l1.visit_detector, l1.dia_source
-- Writes:  pg_temp.claim, l1.visit_detector
-- Locks:   the ledger rows that it inserts, in ascending order: who inserts the same row first makes the other wait.
--          Rows that exist need none, since the visit is held: what is stored changes only under whoever has it alone.
begin
    insert into pg_temp.claim (detector, attempt, former_attempt, status, footprint)
    select d.detector,
           coalesce(max(v.attempt), 0) + 1,
           null,
           'stored',
           st_geogfromtext(d.footprint)
      from pg_temp.stage_detector d
      left join l1.visit_detector v
        on v.visit = p_visit.visit
       and v.detector = d.detector
     group by d.detector, d.footprint;

    -- A row per claim goes in; where a live one exists, or is being made by another session, it does not.
    with entered as (
        insert into l1.visit_detector as v (visit, detector, attempt, survey_version, footprint, psf_fwhm, zero_point,
                                            flux_noise, software, content_sha256)
        select p_visit.visit, c.detector, c.attempt, p_survey.survey_version, c.footprint, d.psf_fwhm, d.zero_point,
               d.flux_noise, d.software, d.content_sha256
          from pg_temp.claim c
          join pg_temp.stage_detector d
            on d.detector = c.detector
         order by c.detector
            on conflict do nothing
        returning v.detector
    )
    delete from pg_temp.claim c
     where not exists (select from entered where entered.detector = c.detector);
    if (select count(*) from pg_temp.claim) = (select count(*) from pg_temp.stage_detector) then
        return;
    end if;

    -- The others are stored, and nobody else may change them as long as we hold the visit.
    perform l1_api.claim_stored(p_visit, p_mode);
end
$$;
comment on function l1_api.claim_detectors(l1.visit, l1.survey, text) is
    'The ledger check: what each staged detector is to become';
