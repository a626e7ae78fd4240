create function l1_api.find_twins(p_visit l1.visit, p_survey l1.survey)
returns void
language plpgsql
volatile
set search_path = pg_catalog, l1, l1_api, public, pg_temp
as $$
-- Function: l1_api.find_twins(2)
--
--   Finds sources that overlapping detectors of the visit saw twice: one-to-one between every two detectors, within the
--   radius, and more likely one source than two.  A twin may be in this call, or stored already with its object.
--
-- Reads:   pg_temp.source, pg_temp.taken, pg_temp.calibration, l1.visit_detector
-- Writes:  pg_temp.candidate, pg_temp.twin: for each twin of the call its other; NULL where that one is stored
--
-- Algorithm:
--   Neighbours within the call by hashing into squares of twenty radii, in zones of declination: a source lies in one
--   square, and its neighbourhood rarely in more.  Variance and density are the means of the two detectors'.
declare
    v_square double precision := 20 * p_survey.association_radius / 3600;
    v_radius double precision := p_survey.association_radius / 3600;
    v_polar  double precision := 89.5;
begin
    if not exists (select from pg_temp.taken)
       and not exists (select from pg_temp.source a where a.detector <> (select min(b.detector) from pg_temp.source b))
    then
        return;
    end if;

    insert into pg_temp.candidate (source, source_group, target, target_group, cost, separation)
    with placed as materialized (
        select s.ordinal, s.detector, s.ra, s.dec, s.variance,
               floor((s.dec + 90 - v_radius) / v_square)::integer as first_zone,
               floor((s.dec + 90 + v_radius) / v_square)::integer as last_zone
          from pg_temp.source s
    ), zone_of as (
        select p.ordinal, p.detector, p.ra, p.dec, p.variance, p.first_zone as zone
          from placed p
        union all
        select p.ordinal, p.detector, p.ra, p.dec, p.variance, p.last_zone
          from placed p
         where p.last_zone <> p.first_zone
    ), zone as materialized (
        -- A zone's squares are as wide as its end nearer to the pole demands; at a pole there is one.
        select edge.number,
               case when edge.dec > v_polar then 1
                    else floor(360 * cosd(edge.dec) / v_square)::integer end as n,
               v_radius / cosd(least(edge.dec, v_polar)) as reach
          from (
            select distinct
                   z.zone as number,
                   abs(z.zone * v_square + v_square / 2 - 90) + v_square as dec
              from zone_of z
          ) as edge
    ), divided as materialized (
        select z.ordinal, z.detector, z.ra, z.dec, z.variance, z.zone,
               floor((z.ra + 360) / 360 * zone.n)::integer % zone.n as square,
               floor((z.ra + 360 - zone.reach) / 360 * zone.n)::integer % zone.n as first_square,
               floor((z.ra + 360 + zone.reach) / 360 * zone.n)::integer % zone.n as last_square,
               z.zone = floor((z.dec + 90) / v_square)::integer as is_home
          from zone_of z
          join zone
            on zone.number = z.zone
    ), reach as (
        select d.ordinal, d.detector, d.ra, d.dec, d.variance, d.zone, d.first_square as square
          from divided d
        union all
        select d.ordinal, d.detector, d.ra, d.dec, d.variance, d.zone, d.last_square
          from divided d
         where d.last_square <> d.first_square
    ), home as (
        select d.ordinal, d.detector, d.ra, d.dec, d.variance, d.zone, d.square
          from divided d
         where d.is_home
    ), neighbour as (
        select distinct
               a.ordinal as ordinal, a.detector, a.variance,
               b.ordinal as other_ordinal, b.detector as other_detector, b.variance as other_variance,
               q3c_dist(a.ra, a.dec, b.ra, b.dec) * 3600 as separation
          from reach a
          join home b
            on b.zone = a.zone
           and b.square = a.square
         where a.detector < b.detector
    ), twin_candidate as (
        select n.ordinal::bigint as source, n.other_detector as source_group,
               n.other_ordinal::bigint as target, n.detector as target_group,
               n.separation,
               l1_api.offset_variance(n.variance, n.other_variance, p_survey.error_floor) as variance,
               (k.extra_variance + other.extra_variance) / 2 as extra_variance,
               (k.new_density + other.new_density) / 2 as new_density
          from neighbour n
          join pg_temp.calibration k
            on k.detector = n.detector
          join pg_temp.calibration other
            on other.detector = n.other_detector
        union all
        select s.ordinal, t.detector,
               -t.dia_source_id, s.detector,
               q3c_dist(s.ra, s.dec, t.ra, t.dec) * 3600,
               l1_api.offset_variance(s.variance, t.variance, p_survey.error_floor),
               (k.extra_variance + coalesce(v.extra_variance, k.extra_variance)) / 2,
               (k.new_density + coalesce(v.new_source_density, k.new_density)) / 2
          from pg_temp.taken t
          join pg_temp.source s
            on q3c_join(t.ra, t.dec, s.ra, s.dec, v_radius)
           and s.detector <> t.detector
          join pg_temp.calibration k
            on k.detector = s.detector
          left join l1.visit_detector v
            on v.visit = p_visit.visit
           and v.detector = t.detector
           and v.withdrawn_at is null
         where not t.is_replaced
    )
    select c.source, c.source_group, c.target, c.target_group, -likelihood.log, c.separation
      from twin_candidate c
     cross join lateral (
        select l1_api.log_likelihood(c.separation, c.variance, c.extra_variance, p_survey.outlier_fraction,
                                     p_survey.association_radius) as log
     ) as likelihood
     where c.separation <= p_survey.association_radius
       and likelihood.log > ln(c.new_density);

    insert into pg_temp.twin (ordinal, other_ordinal)
    select m.source, case when m.target > 0 then m.target end
      from l1_api.mutual_best() as m
    union all
    select m.target, m.source
      from l1_api.mutual_best() as m
     where m.target > 0;

    delete from pg_temp.candidate;
end
$$;
comment on function l1_api.find_twins(l1.visit, l1.survey) is
    'Finds sources that overlapping detectors of the visit saw twice';
