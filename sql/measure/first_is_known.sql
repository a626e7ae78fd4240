create function l1_api.first_is_known()
returns boolean
language sql
stable
parallel safe
as $$
    -- Function: l1_api.first_is_known(0)
    --
    --   Whether every object's version knows its first detection of all: unless the survey ever had a history window
    --   that left it out.
    --
    -- Reads:  l1.survey
    select not exists (select from l1.survey s where s.history_days is not null)
$$;
comment on function l1_api.first_is_known() is 'Whether every object''s version knows its first detection of all';
