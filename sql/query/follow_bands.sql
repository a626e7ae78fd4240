create function l1_api.follow_bands()
returns trigger
language plpgsql
volatile
security definer
set search_path = pg_catalog, l1, l1_api, pg_temp
as $$
-- Trigger function: l1_api.follow_bands(0)
--
--   Has dia_object_wide follow the survey's bands, whoever writes the rules: the first ones that init enters, and those of
--   change_survey.  As long as the bands are the same, it does nothing: a view that is made anew waits for its readers.
--
-- Reads:   l1.survey, the transition table
begin
    if (select count(distinct latest.bands)
          from (select s.bands from l1.survey s order by s.survey_version desc limit 2) as latest) > 1
       or (select count(*) from l1.survey) = (select count(*) from entered)
    then
        perform l1_api.shape_dia_object_wide();
    end if;
    return null;
end
$$;
comment on function l1_api.follow_bands() is 'Trigger: has dia_object_wide follow the survey''s bands';

create trigger "20_follow_bands"
    after insert on l1.survey
    referencing new table as entered
    for each statement
    execute function l1_api.follow_bands();
