create view l1_api.measuring_period as
    -- View: l1_api.measuring_period
    --
    --   The rules by which objects are measured, and when they were in force, [begins, ends) in database time: one row for
    --   versions of the survey's rules that follow each other and agree in these.  The first have always been in force.
    with version as (
        select s.survey_version,
               s.created_at,
               s.history_days,
               s.stats_include_forced,
               s.forced_min_reliability,
               (s.history_days, s.stats_include_forced, s.forced_min_reliability)
                   is distinct from lag((s.history_days, s.stats_include_forced, s.forced_min_reliability))
                                        over (order by s.survey_version) as is_other,
               row_number() over (order by s.survey_version) = 1 as is_first
          from l1.survey s
    )
    select case when v.is_first then '-infinity' else v.created_at end as begins,
           coalesce(lead(v.created_at) over (order by v.survey_version), 'infinity') as ends,
           v.history_days,
           v.stats_include_forced,
           v.forced_min_reliability
      from version v
     where v.is_first
        or v.is_other;
comment on view l1_api.measuring_period is
    'The rules by which objects are measured, and when they were in force';
