create function l1_api.mutual_best()
returns table (source bigint, target bigint, cost double precision, separation double precision)
language plpgsql
volatile
rows 1000
set search_path = pg_catalog, l1, l1_api, public, pg_temp
as $$
-- Function: l1_api.mutual_best(0)
--
--   One-to-one pairs out of the candidates: in rounds, every pair that is the best of its source and the best of its
--   target is taken, and what it used up leaves the field.  The result is that of taking pairs in order of cost.
--
-- Returns:
--   the chosen pairs
-- Reads:   pg_temp.candidate.  A source may have one target in each source_group, a target one source in each
--          target_group; for sources and objects the groups are: all objects, and the source's detector.
--
-- Algorithm:
--   Under the total order (cost, separation, target, source) the first live pair is always mutually best, so every
--   round makes progress, and neither the order of rows nor that of the rounds matters.  The rounds are the steps of
--   the recursion: a pair lives, is chosen, or is dropped because a chosen one shares its source or target.  Pairs
--   without any rival, nearly all in an uncrowded field, need no rounds.
begin
    return query
    with recursive rivalry as (
        select c.*,
               count(*) over (partition by c.source, c.source_group) = 1
               and count(*) over (partition by c.target, c.target_group) = 1 as is_alone
          from pg_temp.candidate c
    ), round (source, source_group, target, target_group, cost, separation, is_chosen) as (
        select r.source, r.source_group, r.target, r.target_group, r.cost, r.separation, r.is_alone
          from rivalry r
        union all
        select verdict.source, verdict.source_group, verdict.target, verdict.target_group, verdict.cost,
               verdict.separation, verdict.is_best
          from (
            select ranked.*,
                   bool_or(ranked.is_best) over (partition by ranked.source, ranked.source_group) as source_used,
                   bool_or(ranked.is_best) over (partition by ranked.target, ranked.target_group) as target_used
              from (
                select live.*,
                       row_number() over (partition by live.source, live.source_group
                                              order by live.cost, live.separation, live.target) = 1
                       and row_number() over (partition by live.target, live.target_group
                                                  order by live.cost, live.separation, live.source) = 1 as is_best
                  from round as live
                 where not live.is_chosen
              ) as ranked
          ) as verdict
         where verdict.is_best
            or not (verdict.source_used or verdict.target_used)
    )
    select round.source,
           round.target,
           round.cost,
           round.separation
      from round
     where round.is_chosen;
end
$$;
comment on function l1_api.mutual_best() is 'One-to-one pairs out of the candidates, best first';
