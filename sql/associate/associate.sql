create function l1_api.associate(p_visit l1.visit, p_survey l1.survey)
returns void
language plpgsql
volatile
set search_path = pg_catalog, l1, l1_api, public, pg_temp
as $$
-- Function: l1_api.associate(2)
--
--   The first step of the night: each source is given to at most one DiaObject.  Detectors are associated one by one, by their
--   own errors and densities, and then compared; so one call for a whole focal plane and single calls decide alike.
--
-- Reads:   pg_temp.claim, pg_temp.source, l1.dia_object, l1.dia_source, l1.visit_detector
-- Writes:  pg_temp.assignment
begin
    perform l1_api.find_pairs(p_visit, p_survey);
    perform l1_api.calibrate(p_visit, p_survey);
    perform l1_api.match_objects(p_survey);
    perform l1_api.find_twins(p_visit, p_survey);
    perform l1_api.assign_objects(p_survey);
end
$$;
comment on function l1_api.associate(l1.visit, l1.survey) is 'Gives each source to at most one DiaObject';
