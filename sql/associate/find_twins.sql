create function l1_api.find_twins(p_visit l1.visit, p_survey l1.survey)
returns void
language plpgsql
volatile
set search_path = pg_catalog, l1, l1_api, public, pg_temp
as $$
-- Function: l1_api.find_twins(2)
--
--   Finds things that the visit saw twice.  Sources on different detectors are twins if they are one-to-one between the
--   two detectors, within the radius, and more likely one source than two.  Sources on one detector are both real, unless
--   they are nearer than the error floor: below it nobody can tell two positions apart, and one thing was measured twice.
--   A twin may be in this call, or stored already with its object.
--
-- Reads:   pg_temp.source, pg_temp.taken, pg_temp.calibration, l1.visit_detector
-- Writes:  pg_temp.candidate, pg_temp.twin: for each twin of the call its other; NULL where that one is stored
--
-- Algorithm:
--   Neighbours by hashing into squares of twenty radii, in zones of declination: a source lies in one square, and its
--   neighbourhood rarely in more.  Variance and density are the means of the two detectors'.  Numbers are ordinals for
--   sources of the call, and negative ids for stored ones.
declare
    v_square double precision := 20 * p_survey.association_radius / 3600;
    v_radius double precision := p_survey.association_radius / 3600;
    v_floor  double precision := p_survey.error_floor / 3600;
    v_polar  double precision := 89.5;
begin
    if not exists (select from pg_temp.taken)
       and not exists (select from pg_temp.source offset 1) then
        return;
    end if;

    insert into pg_temp.candidate (source, source_group, target, target_group, cost, separation)
    with placed as materialized (
        select s.ordinal::bigint as number, s.detector, s.ra, s.dec, s.variance, true as is_ours,
               floor((s.dec + 90 - v_radius) / v_square)::integer as first_zone,
               floor((s.dec + 90 + v_radius) / v_square)::integer as last_zone
          from pg_temp.source s
        union all
        select -t.dia_source_id, t.detector, t.ra, t.dec, t.variance, false,
               floor((t.dec + 90 - v_radius) / v_square)::integer,
               floor((t.dec + 90 + v_radius) / v_square)::integer
          from pg_temp.taken t
         where not t.is_replaced
    ), zone_of as (
        select p.number, p.detector, p.ra, p.dec, p.variance, p.is_ours, p.first_zone as zone
          from placed p
        union all
        select p.number, p.detector, p.ra, p.dec, p.variance, p.is_ours, p.last_zone
          from placed p
         where p.last_zone <> p.first_zone
    ), company as materialized (
        -- Who has nobody before and behind in its zone within reach has no neighbour: nearly all, in an uncrowded field.
        select l.number, l.detector, l.ra, l.dec, l.variance, l.is_ours, l.zone
          from (
            select z.*,
                   least(z.ra - lag(z.ra) over along, lead(z.ra) over along - z.ra) as gap,
                   v_radius / cosd(least(abs(z.dec) + v_square, v_polar)) as reach
              from zone_of z
            window along as (partition by z.zone order by z.ra)
          ) as l
         where l.gap <= l.reach
            or l.ra < l.reach
            or l.ra > 360 - l.reach
            or abs(l.dec) + v_square > v_polar
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
              from company z
          ) as edge
    ), divided as materialized (
        select z.number, z.detector, z.ra, z.dec, z.variance, z.is_ours, z.zone,
               floor((z.ra + 360) / 360 * zone.n)::integer % zone.n as square,
               floor((z.ra + 360 - zone.reach) / 360 * zone.n)::integer % zone.n as first_square,
               floor((z.ra + 360 + zone.reach) / 360 * zone.n)::integer % zone.n as last_square,
               z.zone = floor((z.dec + 90) / v_square)::integer as is_home
          from company z
          join zone
            on zone.number = z.zone
    ), reach as (
        select d.number, d.detector, d.ra, d.dec, d.variance, d.zone, d.first_square as square
          from divided d
         where d.is_ours
        union all
        select d.number, d.detector, d.ra, d.dec, d.variance, d.zone, d.last_square
          from divided d
         where d.is_ours
           and d.last_square <> d.first_square
    ), home as (
        select d.number, d.detector, d.ra, d.dec, d.variance, d.is_ours, d.zone, d.square
          from divided d
         where d.is_home
    ), neighbour as (
        select distinct
               a.number, a.detector, b.number as other_number, b.detector as other_detector,
               l1_api.offset_variance(a.variance, b.variance, p_survey.error_floor) as variance,
               q3c_dist(a.ra, a.dec, b.ra, b.dec) * 3600 as separation
          from reach a
          join home b
            on b.zone = a.zone
           and b.square = a.square
         where (not b.is_ours or (a.detector, a.number) < (b.detector, b.number))
           and abs(a.dec - b.dec) <= case when a.detector = b.detector then v_floor else v_radius end
           and q3c_dist(a.ra, a.dec, b.ra, b.dec) <= case when a.detector = b.detector then v_floor else v_radius end
    ), quality as (
        select k.detector, k.extra_variance, k.new_density
          from pg_temp.calibration k
        union all
        select v.detector, v.extra_variance, v.new_source_density
          from l1.visit_detector v
         where v.visit = p_visit.visit
           and v.withdrawn_at is null
           and not exists (select from pg_temp.calibration k where k.detector = v.detector)
    )
    select n.number, n.other_detector, n.other_number, n.detector, -likelihood.log, n.separation
      from neighbour n
      join quality one
        on one.detector = n.detector
      join quality other
        on other.detector = n.other_detector
     cross join lateral (
        select l1_api.log_likelihood(n.separation, n.variance, (one.extra_variance + other.extra_variance) / 2,
                                     p_survey.outlier_fraction, p_survey.association_radius) as log
     ) as likelihood
     where likelihood.log > ln((one.new_density + other.new_density) / 2);
    if not found then
        return;
    end if;

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
comment on function l1_api.find_twins(l1.visit, l1.survey) is 'Finds things that the visit saw twice';
