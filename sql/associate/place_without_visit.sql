create function l1_api.place_without_visit(p_visit l1.visit, p_survey l1.survey)
returns void
language plpgsql
volatile
set search_path = pg_catalog, l1, l1_api, public, pg_temp
set plan_cache_mode = force_custom_plan
as $$
-- Function: l1_api.place_without_visit(2)
--
--   Measures the pairs of objects that have a detection of this visit again, to where those objects were without it, and
--   drops the pairs that are none: of objects that this visit founded, and of those that the same detector has taken.
--   A replaced detection counts as if it had never been; what it founded stays to be found again where it is.
--
-- Reads:   pg_temp.source, pg_temp.taken, l1.dia_object, l1.dia_source
-- Writes:  pg_temp.pair
--
-- Algorithm:
--   The window counts back from the object's latest other detection, however long ago that was.  The bounds over all
--   windows say the same once more, so that leaves outside are not even opened.  What moves is carried on to the visit.
-- Settings:
--   a plan kept for all times would have to look into every leaf
declare
    v_first_is_known boolean := l1_api.first_is_known();
    v_first          double precision;
    v_last           double precision;
begin
    select min(case when p_survey.history_days is null
                    then l1_api.window_start(null, v_first_is_known, p.first_mjd_tai, p.last_mjd_tai)
                    else '-infinity' end),
           max(p.last_mjd_tai)
      into v_first, v_last
      from pg_temp.pair p
      join pg_temp.taken t
        on t.dia_object_id = p.dia_object_id;

    with reached as (
        select distinct p.dia_object_id, p.first_mjd_tai, p.last_mjd_tai
          from pg_temp.pair p
          join pg_temp.taken t
            on t.dia_object_id = p.dia_object_id
    ), span as materialized (
        select r.dia_object_id,
               l1_api.window_start(p_survey.history_days, v_first_is_known, r.first_mjd_tai, latest.mjd_tai) as first_mjd_tai,
               latest.mjd_tai as last_mjd_tai
          from reached r
         cross join lateral (
            select case when p_survey.history_days is null then r.last_mjd_tai
                        else (select x.midpoint_mjd_tai
                                from l1.dia_source x
                               where x.dia_object_id = r.dia_object_id
                                 and x.visit <> p_visit.visit
                                 and not x.is_forced
                               order by x.midpoint_mjd_tai desc
                               limit 1) end as mjd_tai
         ) as latest
    ), former as (
        select span.dia_object_id,
               l1_api.mean_ra(avg(cosd(o.dec) * cosd(o.ra)), avg(cosd(o.dec) * sind(o.ra))) as ra,
               l1_api.mean_dec(avg(cosd(o.dec) * cosd(o.ra)), avg(cosd(o.dec) * sind(o.ra)), avg(sind(o.dec))) as dec,
               (avg(o.ra_err::double precision ^ 2) + avg(o.dec_err::double precision ^ 2)) / 2 * 3600 ^ 2
               / count(*) as variance,
               p_visit.midpoint_mjd_tai - avg(o.midpoint_mjd_tai) as days
          from span
          join l1.dia_source o
            on o.dia_object_id = span.dia_object_id
           and o.midpoint_mjd_tai >= span.first_mjd_tai
           and o.midpoint_mjd_tai <= span.last_mjd_tai
           and o.midpoint_mjd_tai >= v_first
           and o.midpoint_mjd_tai <= v_last
         where o.visit <> p_visit.visit
           and not o.is_forced
         group by span.dia_object_id
    ), placed as (
        select former.dia_object_id,
               place.ra,
               place.dec,
               former.variance
               + coalesce((m.drift_err::double precision * former.days / 365250) ^ 2, 0) as variance
          from former
          join l1.dia_object m
            on m.dia_object_id = former.dia_object_id
         cross join lateral l1_api.place_at(former.ra, former.dec, coalesce(m.drift_ra, 0), coalesce(m.drift_dec, 0),
                                            former.days) as place
    )
    update pg_temp.pair p
       set separation = q3c_dist(s.ra, s.dec, placed.ra, placed.dec) * 3600,
           variance = l1_api.offset_variance(s.variance, placed.variance, p_survey.error_floor),
           is_placed = true
      from placed,
           pg_temp.source s
     where p.dia_object_id = placed.dia_object_id
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
