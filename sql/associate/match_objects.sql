create function l1_api.match_objects(p_survey l1.survey)
returns void
language plpgsql
volatile
set search_path = pg_catalog, l1, l1_api, public, pg_temp
as $$
-- Function: l1_api.match_objects(1)
--
--   Gives each source at most one object and each object at most one source of a detector.  A pair must be more likely
--   than that the source is a new one: its likelihood must exceed the density of new sources.
--
-- Reads:   pg_temp.pair, pg_temp.calibration
-- Writes:  pg_temp.candidate, pg_temp.match
declare
    v_rows bigint;
begin
    insert into pg_temp.candidate (source, source_group, target, target_group, cost, separation)
    select p.ordinal, 0, p.dia_object_id, p.detector, -likelihood.log, p.separation
      from pg_temp.pair p
      join pg_temp.calibration k
        on k.detector = p.detector
     cross join lateral (
        select l1_api.log_likelihood(p.separation, p.variance, k.extra_variance, p_survey.outlier_fraction,
                                     p_survey.association_radius) as log
     ) as likelihood
     where likelihood.log > ln(k.new_density);

    insert into pg_temp.match (ordinal, is_stored, detector, dia_object_id, cost, separation)
    select m.source,
           s.is_stored,
           s.detector,
           m.target,
           m.cost,
           m.separation
      from l1_api.mutual_best() as m
      join pg_temp.source s
        on s.ordinal = m.source;
    get diagnostics v_rows = row_count;

    delete from pg_temp.candidate;
    perform l1_api.refresh_statistics('match', v_rows);
end
$$;
comment on function l1_api.match_objects(l1.survey) is
    'Gives each source at most one object and each object at most one source of a detector';
