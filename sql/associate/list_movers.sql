create function l1_api.list_movers(p_visit l1.visit, p_survey l1.survey, p_reach double precision)
returns void
language plpgsql
volatile
set search_path = pg_catalog, l1, l1_api, public, pg_temp
as $$
-- Function: l1_api.list_movers(3)
--
--   The objects with a motion that this ingest may write, at the places where they are at the visit's midpoint.
--
-- Parameters:
--   p_visit, p_survey  - the visit, and the rules in force
--   p_reach            - from how far they are to be found [arcsec]
-- Reads:   pg_temp.cell, l1.dia_object
-- Writes:  pg_temp.mover
--
-- Algorithm:
--   Their stored positions, the means of their detections, lag behind.  But they lie in the cells of the sky that this
--   ingest has locked, or are no business of it (lock_margin): an index by place of those that drift has them, a few
--   among the many.  Each is told in three zones of declination as high as the search is wide.  OFFSET 0 keeps the
--   places from being worked out for each zone, and each time that they are named: five times as slow.
declare
    v_rows bigint;
begin
    insert into pg_temp.mover (zone, dia_object_id, ra, dec, variance, validity_start, first_mjd_tai, last_mjd_tai)
    select floor((o.dec + 90) / (p_reach / 3600))::integer + step,
           o.dia_object_id,
           o.ra,
           o.dec,
           o.variance,
           o.validity_start,
           o.first_epoch_mjd_tai,
           o.last_dia_source_mjd_tai
      from (
        select m.dia_object_id,
               place.ra,
               place.dec,
               q3c_dist(m.ra, m.dec, place.ra, place.dec) * 3600 as way,
               (m.ra_err::double precision ^ 2 + m.dec_err::double precision ^ 2) / 2 * 3600 ^ 2
               + (m.drift_err::double precision * (p_visit.midpoint_mjd_tai - m.radec_mjd_tai) / 365250) ^ 2 as variance,
               m.validity_start,
               m.first_epoch_mjd_tai,
               m.last_dia_source_mjd_tai
          from pg_temp.cell c
          join l1.dia_object m
            on m.drift_ra is not null
           and q3c_ang2ipix(m.ra, m.dec) >= c.number::bigint << 42
           and q3c_ang2ipix(m.ra, m.dec) < (c.number + 1)::bigint << 42
         cross join lateral l1_api.place_at(m.ra, m.dec, m.drift_ra, m.drift_dec,
                                            p_visit.midpoint_mjd_tai - m.radec_mjd_tai) as place
        offset 0
      ) as o
     cross join generate_series(-1, 1) as step
     where o.way <= l1_api.lock_margin();
    get diagnostics v_rows = row_count;
    perform l1_api.refresh_statistics('mover', v_rows);
end
$$;
comment on function l1_api.list_movers(l1.visit, l1.survey, double precision) is
    'The objects with a motion that an ingest may write, where they are at the visit''s midpoint';
