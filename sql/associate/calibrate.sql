create function l1_api.calibrate(p_visit l1.visit, p_survey l1.survey)
returns void
language plpgsql
volatile
set search_path = pg_catalog, l1, l1_api, public, pg_temp
as $$
-- Function: l1_api.calibrate(2)
--
--   Measures, for each detector of the call by itself, how far its position errors are understated and how dense its new
--   sources lie.
--
-- Reads:   pg_temp.claim, pg_temp.source, pg_temp.pair, l1.visit_detector
-- Writes:  pg_temp.candidate, pg_temp.calibration
--
-- Algorithm:
--   A first matching without any gate, by cost = -ln of the Gaussian of the claimed variance v.  The extra variance V >= 0
--   solves median(d**2 / (v + V)) = 2 ln 2, the median of chi-squared with two degrees of freedom; as a term of the
--   median is below 2 ln 2 just if d**2 / (2 ln 2) - v is below V, V is the median of those.  The density is that of the
--   sources left over, one added, in the footprint.  Too few pairs or sources, or no footprint: the survey's defaults.
--   Supplements, and sources brought back, use what their detector measured when it was first stored.
begin
    insert into pg_temp.candidate (source, source_group, target, target_group, cost, separation)
    select p.ordinal,
           0,
           p.dia_object_id,
           p.detector,
           case when p.variance is null
                then ln(pi() * p_survey.association_radius ^ 2)
                else p.separation ^ 2 / (2 * p.variance) + ln(2 * pi() * p.variance) end,
           p.separation
      from pg_temp.pair p;

    insert into pg_temp.calibration (detector, n_pairs, extra_variance, new_density)
    with first_match as (
        select p.detector,
               count(*) as n_matched,
               count(p.variance) as n_pairs,
               percentile_cont(0.5) within group (order by p.separation ^ 2 / (2 * ln(2)) - p.variance) as excess
          from l1_api.mutual_best() as m
          join pg_temp.pair p
            on p.ordinal = m.source
           and p.dia_object_id = m.target
         group by p.detector
    ), given as (
        select s.detector,
               count(*) as n_sources
          from pg_temp.source s
         group by s.detector
    )
    select c.detector,
           coalesce(f.n_pairs, 0),
           case when c.status in ('supplemented', 'revised') and v.extra_variance is not null
                then v.extra_variance
                when f.n_pairs >= p_survey.calibration_min_pairs
                then greatest(f.excess, 0)
                else p_survey.default_extra_variance end,
           case when c.status in ('supplemented', 'revised') and v.new_source_density is not null
                then v.new_source_density
                when g.n_sources >= p_survey.density_min_sources and st_area(c.footprint, false) > 0
                then (g.n_sources - coalesce(f.n_matched, 0) + 1)
                     / (st_area(c.footprint, false) / 30.887522148508772 ^ 2)
                else p_survey.default_new_density end
      from pg_temp.claim c
      left join given g
        on g.detector = c.detector
      left join first_match f
        on f.detector = c.detector
      left join l1.visit_detector v
        on v.visit = p_visit.visit
       and v.detector = c.detector
       and v.attempt = c.attempt
     where c.status <> 'unchanged';

    delete from pg_temp.candidate;
end
$$;
comment on function l1_api.calibrate(l1.visit, l1.survey) is
    'Measures each detector''s extra position variance and density of new sources';
