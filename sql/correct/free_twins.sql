create function l1_api.free_twins(p_survey l1.survey)
returns void
language plpgsql
volatile
set search_path = pg_catalog, l1, l1_api, public, pg_temp
set plan_cache_mode = force_custom_plan
as $$
-- Function: l1_api.free_twins(1)
--
--   Where a source is withdrawn that another detector of its visit saw, too, that duplicate takes its place in the object.
--
-- Parameters:
--   p_survey  - the rules in force
-- Reads:   l1.dia_source, l1.dia_object
-- Writes:  pg_temp.correcting
--
-- Algorithm:
--   A duplicate lies within two radii of its twin (see reopen_twins), and is not that of another source which stays and is
--   nearer; that one is found by its object.  Of several the nearest takes the place; it takes the place of the nearest.
--   Neighbours by zones of declination as high as the search is wide.
declare
    v_reach constant double precision := 2 * p_survey.association_radius / 3600;
    v_lower double precision;
    v_upper double precision;
begin
    select min(c.midpoint_mjd_tai) - 1, max(c.midpoint_mjd_tai) + 1 into v_lower, v_upper from pg_temp.correcting c;

    insert into pg_temp.correcting (dia_source_id, midpoint_mjd_tai, ra, dec, visit, detector, band, is_forced,
                                    validity_start, former_object, action, object, reason)
    with duplicate as materialized (
        select x.*
          from (select distinct c.visit from pg_temp.correcting c where not c.is_forced) as given
         cross join lateral (
            select y.dia_source_id, y.midpoint_mjd_tai, y.ra, y.dec, y.visit, y.detector, y.band,
                   y.validity_start
              from l1.dia_source y
             where y.visit = given.visit
               and y.dia_object_id is null
               and not y.is_forced
               and y.no_object_reason = 'duplicate_in_visit'
               and y.midpoint_mjd_tai >= v_lower
               and y.midpoint_mjd_tai < v_upper
         ) as x
         where not exists (select from pg_temp.correcting c where c.dia_source_id = x.dia_source_id)
    ), pair as (
        select d.dia_source_id,
               c.former_object,
               row_number() over (partition by d.dia_source_id
                                      order by q3c_dist(c.ra, c.dec, d.ra, d.dec), c.dia_source_id) as of_duplicate,
               row_number() over (partition by c.dia_source_id
                                      order by q3c_dist(c.ra, c.dec, d.ra, d.dec), d.dia_source_id) as of_withdrawn
          from duplicate d
         cross join generate_series(-1, 1) as step
          join pg_temp.correcting c
            on c.visit = d.visit
           and c.detector <> d.detector
           and floor((c.dec + 90) / v_reach)::integer + step = floor((d.dec + 90) / v_reach)::integer
           and q3c_dist(c.ra, c.dec, d.ra, d.dec) <= v_reach
         where c.action = 'withdraw'
           and not c.is_forced
           and c.former_object is not null
           and not exists (
                select
                  from l1.dia_object o
                 cross join lateral (
                    select y.ra, y.dec
                      from l1.dia_source y
                     where y.visit = d.visit
                       and y.dia_object_id = o.dia_object_id
                       and not y.is_forced
                       and y.detector <> d.detector
                       and y.midpoint_mjd_tai >= v_lower
                       and y.midpoint_mjd_tai < v_upper
                       and not exists (select from pg_temp.correcting k where k.dia_source_id = y.dia_source_id)
                     limit 1
                 ) as kept
                 where q3c_join(d.ra, d.dec, o.ra, o.dec, 2 * v_reach)
                   and q3c_dist(kept.ra, kept.dec, d.ra, d.dec) < q3c_dist(c.ra, c.dec, d.ra, d.dec))
    )
    select d.dia_source_id, d.midpoint_mjd_tai, d.ra, d.dec, d.visit, d.detector, d.band, false,
           d.validity_start, null, 'move', pair.former_object, 'revised'
      from pair
      join duplicate d
        on d.dia_source_id = pair.dia_source_id
     where pair.of_duplicate = 1
       and pair.of_withdrawn = 1;
end
$$;
comment on function l1_api.free_twins(l1.survey) is
    'Where a source is withdrawn that another detector saw, too, the duplicate takes its place';
