create function l1_api.current_survey()
returns l1.survey
language sql
stable
parallel safe
as $$
    -- Function: l1_api.current_survey(0)
    --
    --   The rules in force: the highest version of the survey.
    --
    -- Returns:  the row of l1.survey
    -- Reads:    l1.survey
    select s
      from l1.survey s
     order by s.survey_version desc
     limit 1
$$;
comment on function l1_api.current_survey() is 'The survey''s rules in force';
