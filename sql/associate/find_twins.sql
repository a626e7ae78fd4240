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
--   Neighbours within the call by hashing into squares of four radii, in zones of declination: a source lies in one
--   square, and within a radius of at most four.  Variance and density are the means of the two detectors'.
declare
    v_square double precision := 4 * p_survey.association_radius / 3600;
    v_radius double precision := p_survey.association_radius / 3600;
begin
    if not exists (select from pg_temp.taken)
       and not exists (select from pg_temp.source a where a.detector <> (select min(b.detector) from pg_temp.source b))
    then
        return;
    end if;

    insert into pg_temp.candidate (source, source_group, target, target_group, cost, separation)
    with square_of as (
        -- The squares of a zone of declination: as many as fit around it, one at a pole.
        select s.ordinal, s.detector, s.ra, s.dec, s.variance,
               zone.step, zone.number as zone, width.cos_dec,
               greatest(floor(360 * width.cos_dec / v_square), 1)::bigint as n
          from pg_temp.source s
         cross join lateral (values (-1), (0), (1)) as reached(step)
         cross join lateral (
            select reached.step, floor((s.dec + 90 + reached.step * v_radius) / v_square)::integer as number
         ) as zone
         cross join lateral (
            select greatest(cosd(least(abs((zone.number + 0.5) * v_square - 90) + v_square, 90)), 1e-9) as cos_dec
         ) as width
    ), home as (
        select q.ordinal, q.detector, q.ra, q.dec, q.variance, q.zone,
               mod(floor(q.ra / 360 * q.n)::bigint, q.n) as square
          from square_of q
         where q.step = 0
    ), reach as (
        select q.ordinal, q.detector, q.ra, q.dec, q.variance, q.zone,
               mod(floor((q.ra + 360 + side.step * v_radius / q.cos_dec) / 360 * q.n)::bigint, q.n) as square
          from square_of q
         cross join (values (-1), (1)) as side(step)
         where q.step <> 0
           and v_square / q.cos_dec < 360
        union all
        select q.ordinal, q.detector, q.ra, q.dec, q.variance, q.zone, 0
          from square_of q
         where q.step <> 0
           and v_square / q.cos_dec >= 360
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
