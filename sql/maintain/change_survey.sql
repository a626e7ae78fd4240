create function l1_api.change_survey(p_changes jsonb, p_reason text)
returns integer
language plpgsql
volatile
security definer
set search_path = pg_catalog, l1, l1_api, pg_temp
as $$
-- Function: l1_api.change_survey(2)
--
--   Makes a new version of the survey's rules: the one in force with some values changed.
--
-- Parameters:
--   p_changes  - {"column": value, ...}
--   p_reason   - why
-- Returns:
--   the new survey_version
-- Reads:   l1.visit
-- Writes:  l1.survey
declare
    v_fixed   constant text[] := array['survey_version', 'created_at', 'created_by', 'reason', 'database_id', 'profile'];
    v_current l1.survey;
    v_unknown text;
begin
    perform pg_advisory_xact_lock(19507, 0);
    select * into v_current from l1_api.current_survey();
    if v_current.survey_version is null then
        raise exception 'there is no survey yet'
            using errcode = 'L1S01',
                  hint = 'Run l1db init.';
    end if;

    select string_agg(k, ', ' order by k)
      into v_unknown
      from jsonb_object_keys(p_changes) as k
     where k = any (v_fixed) or not to_jsonb(v_current) ? k;
    if v_unknown is not null then
        raise exception 'the survey has no rule %', v_unknown
            using errcode = 'L1S02',
                  hint = 'l1db survey show lists the rules.';
    end if;
    if p_changes ? 'night_offset_hours' and exists (select from l1.visit) then
        raise exception 'night_offset_hours cannot change once there are visits'
            using errcode = 'L1S03',
                  hint = 'Partitions begin at the survey''s noon; make a new database.';
    end if;

    if p_changes ? 'ivo_authority' and p_changes ->> 'ivo_authority' !~ '^[A-Za-z0-9][A-Za-z0-9._~-]{2,}$' then
        raise exception '% is no IVOA authority', p_changes -> 'ivo_authority'
            using errcode = 'L1S07',
                  hint = 'It names VOEvents: three or more letters, digits and . _ ~ -, such as org.example.';
    end if;

    select string_agg(v.band, ', ' order by v.band)
      into v_unknown
      from (select distinct visit.band from l1.visit) as v
     where p_changes ? 'bands'
       and not p_changes -> 'bands' ? v.band;
    if v_unknown is not null then
        raise exception 'there are visits of band %', v_unknown
            using errcode = 'L1S04',
                  hint = 'Keep it among the bands.';
    end if;

    insert into l1.survey
    select r.*
      from jsonb_populate_record(
               v_current,
               p_changes || jsonb_build_object('survey_version', v_current.survey_version + 1,
                                               'created_at', clock_timestamp(),
                                               'created_by', session_user,
                                               'reason', p_reason)) as r;
    return v_current.survey_version + 1;
end
$$;
comment on function l1_api.change_survey(jsonb, text) is 'Makes a new version of the survey''s rules';
