create function l1_api.recall_ids(p_visit l1.visit)
returns void
language plpgsql
volatile
set search_path = pg_catalog, l1, l1_api, public, pg_temp
as $$
-- Function: l1_api.recall_ids(1)
--
--   Gives released sources the ids that l1db drew for them when the breaker stopped them: they are the same sources, and
--   those that had an alert must not get a second one.
--
-- Parameters:
--   p_visit  - the visit
-- Reads:   pg_temp.claim, l1.dia_source
-- Writes:  pg_temp.stage_source
--
-- Algorithm:
--   A release has the content that is stored, in canonical order, and ids were drawn in that order: the k-th of both is
--   the same source.
declare
    v_bounds record;
begin
    select * into v_bounds from l1_api.leaf_bounds(p_visit.midpoint_mjd_tai);

    with drawn as (
        select x.detector,
               x.dia_source_id,
               row_number() over (partition by x.detector order by x.dia_source_id) as rank
          from pg_temp.claim c
          join l1.dia_source x
            on x.detector = c.detector
         where c.status = 'released'
           and x.visit = p_visit.visit
           and not x.is_forced
           and x.midpoint_mjd_tai >= v_bounds.lower
           and x.midpoint_mjd_tai < v_bounds.upper
           and x.dia_source_id >= 4611686018427387904
    ), nameless as (
        select s.detector,
               s.ordinal,
               row_number() over (partition by s.detector order by s.ordinal) as rank
          from pg_temp.claim c
          join pg_temp.stage_source s
            on s.detector = c.detector
         where c.status = 'released'
           and s.dia_source_id is null
    )
    update pg_temp.stage_source s
       set dia_source_id = drawn.dia_source_id
      from nameless
      join drawn
        on drawn.detector = nameless.detector
       and drawn.rank = nameless.rank
     where s.ordinal = nameless.ordinal;
end
$$;
comment on function l1_api.recall_ids(l1.visit) is 'Gives released sources the ids that were drawn for them before';
