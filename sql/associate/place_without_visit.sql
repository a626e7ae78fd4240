create function l1_api.place_without_visit(p_visit l1.visit, p_survey l1.survey)
returns void
language plpgsql
volatile
set search_path = pg_catalog, l1, l1_api, public, pg_temp
as $$
-- Function: l1_api.place_without_visit(2)
--
--   Measures the pairs of objects that have a detection of this visit again, to where those objects were without it, and
--   drops the pairs that are none: of objects that this visit founded, and of those that the same detector has taken.
--   A replaced detection counts as if it had never been; what it founded stays to be found again where it is.
--
-- Reads:   pg_temp.source, pg_temp.taken, l1.dia_source
-- Writes:  pg_temp.pair
begin
    with other as (
        select t.dia_object_id, x.ra, x.dec, x.ra_err, x.dec_err, x.midpoint_mjd_tai,
               max(x.midpoint_mjd_tai) over (partition by t.dia_object_id) as latest
          from pg_temp.taken t
          join l1.dia_source x
            on x.dia_object_id = t.dia_object_id
         where x.visit <> p_visit.visit
           and not x.is_forced
    ), former as (
        select o.dia_object_id,
               l1_api.mean_ra(avg(cosd(o.dec) * cosd(o.ra)), avg(cosd(o.dec) * sind(o.ra))) as ra,
               l1_api.mean_dec(avg(cosd(o.dec) * cosd(o.ra)), avg(cosd(o.dec) * sind(o.ra)), avg(sind(o.dec))) as dec,
               (avg(o.ra_err::double precision ^ 2) + avg(o.dec_err::double precision ^ 2)) / 2 * 3600 ^ 2
               / count(*) as variance
          from other o
         where o.midpoint_mjd_tai >= o.latest - coalesce(p_survey.history_days, 'infinity')
         group by o.dia_object_id
    )
    update pg_temp.pair p
       set separation = q3c_dist(s.ra, s.dec, former.ra, former.dec) * 3600,
           variance = l1_api.offset_variance(s.variance, former.variance, p_survey.error_floor),
           is_placed = true
      from former,
           pg_temp.source s
     where p.dia_object_id = former.dia_object_id
       and s.ordinal = p.ordinal;

    delete from pg_temp.pair p
     using pg_temp.taken t
     where t.dia_object_id = p.dia_object_id
       and not t.is_replaced
       and (not p.is_placed or t.detector = p.detector);
end
$$;
comment on function l1_api.place_without_visit(l1.visit, l1.survey) is
    'Measures pairs to where their objects were without this visit';
