create function l1_api.night_ledger(p_visit bigint, p_asof timestamptz)
returns table (part text, detector smallint, name text, dia_object_id bigint, content text)
language plpgsql
stable
set search_path = pg_catalog, l1, l1_api, pg_temp
set extra_float_digits = 1
set datestyle = 'ISO'
set timezone = 'UTC'
set bytea_output = 'hex'
as $$
-- Function: l1_api.night_ledger(2)
--
--   What a visit was given, by which software and rules, and what its ledger says of each attempt.
--
-- Parameters:
--   p_visit, p_asof  - see night_rows
-- Returns:
--   rows of the parts inputs, software, rules and ledger; see night_digest
-- Reads:  l1.visit, l1.visit_detector, l1.survey
--
-- Not looked at: times; counts, which the other parts are counted by; and what late images and supplements change in the
-- ledger without trace: n_forced_queued, image_trouble, and the footprint, which the content hash has if it was given.
declare
    v_given  constant text[] := array['content_sha256', 'psf_fwhm', 'zero_point', 'flux_noise'];
    v_aside  constant text[] := array['visit', 'detector', 'attempt', 'survey_version', 'software', 'footprint', 'n_sources',
                                      'n_associated', 'n_new_objects', 'n_without_object', 'n_alerts', 'n_forced',
                                      'n_forced_queued', 'image_trouble', 'time_processed', 'timings', 'withdrawn_at',
                                      'withdrawn_reason', 'n_withdrawn'];
    v_unruly constant text[] := array['survey_version', 'created_at', 'created_by', 'reason', 'database_id'];
begin
    return query execute format(
        $query$
        with attempt as materialized (
            select d.*,
                   coalesce(d.withdrawn_at <= $2, false) as is_withdrawn
              from l1_api.attempts_asof($1, $2) as d
        )
        select 'inputs', null::smallint, '', null::bigint, %1$s
          from l1.visit v
         where v.visit = $1
        union all
        select 'inputs', d.detector, '', null, %2$s
          from attempt d
         where not d.is_withdrawn
        union all
        select 'software', d.detector, '', null, 'software=' || to_json(d.software)::text
          from attempt d
         where not d.is_withdrawn
           and d.software is not null
        union all
        select 'rules', d.detector, '', null, rules.content
          from attempt d
          join (select r.survey_version, %3$s as content from l1.survey r offset 0) as rules
            on rules.survey_version = d.survey_version
         where not d.is_withdrawn
        union all
        select 'ledger', d.detector, 'attempt ' || d.attempt, null,
               concat_ws(E'\n', %4$s,
                         case when d.is_withdrawn
                              then 'withdrawn_reason=' || coalesce(to_json(d.withdrawn_reason)::text, '') || E'\n' || %2$s end)
          from attempt d
        $query$,
        l1_api.row_text('l1.visit', 'v', array['visit', 'opened_at'], true),
        l1_api.row_text('l1.visit_detector', 'd', v_given, false),
        l1_api.row_text('l1.survey', 'r', v_unruly, true),
        l1_api.row_text('l1.visit_detector', 'd', v_given || v_aside, true))
    using p_visit, p_asof;
end
$$;
comment on function l1_api.night_ledger(bigint, timestamptz) is
    'What a visit was given, by which software and rules, and what its ledger says';
