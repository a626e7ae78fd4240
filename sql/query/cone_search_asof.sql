create function l1_api.cone_search_asof(
    p_ra     double precision,
    p_dec    double precision,
    p_radius double precision,
    p_time   timestamptz
)
returns table (
    dia_object_id            bigint,
    separation               double precision,
    ra                       double precision,
    "dec"                    double precision,
    ra_err                   real,
    dec_err                  real,
    n_dia_sources            integer,
    first_dia_source_mjd_tai double precision,
    last_dia_source_mjd_tai  double precision,
    validity_start           timestamptz
)
language sql
stable
parallel safe
as $$
    -- Function: l1_api.cone_search_asof(4)
    --
    --   The DiaObjects that were within a radius of a position, as they were known at a time: a view with parameters,
    --   which the planner takes apart.
    --
    -- Parameters:
    --   p_ra, p_dec  - centre, ICRS [deg]
    --   p_radius     - radius [arcsec]
    --   p_time       - database time; up to safe_asof() the answer is final
    -- Returns:
    --   the versions that held then with their separation from the centre [arcsec], in no order; as cone_search
    -- Reads:  l1.dia_object, l1.dia_object_history, l1.dia_object_former_place
    --
    -- Algorithm:
    --   Whatever version an object had, it either still lies in the same small cell of the sky, or l1.dia_object_former_place
    --   tells a later place in that cell: the last before it left or was retired.  No cell is wider than 4.5 arcsec.  So
    --   a cone wider by this around the current and the former places has all objects concerned, and their histories are
    --   looked up by id; those found by their current place are not looked up again.  What lies within the cone itself is
    --   told by q3c_join's own criterion, without the search that q3c_join is.
    select v.dia_object_id,
           public.q3c_dist(p_ra, p_dec, v.ra, v.dec) * 3600,
           v.ra,
           v.dec,
           v.ra_err,
           v.dec_err,
           v.n_dia_sources,
           v.first_dia_source_mjd_tai,
           v.last_dia_source_mjd_tai,
           v.validity_start
      from (select p_time as time offset 0) as moment
      join l1.dia_object o
        on public.q3c_join(p_ra, p_dec, o.ra, o.dec, (p_radius + 4.5) / 3600)
     cross join lateral (
        select o.dia_object_id, o.ra, o.dec, o.ra_err, o.dec_err, o.n_dia_sources, o.first_dia_source_mjd_tai,
               o.last_dia_source_mjd_tai, o.validity_start, null::timestamptz as validity_end
         where o.validity_start <= moment.time
        union all
        (select h.dia_object_id, h.ra, h.dec, h.ra_err, h.dec_err, h.n_dia_sources, h.first_dia_source_mjd_tai,
                h.last_dia_source_mjd_tai, h.validity_start, h.validity_end
           from l1.dia_object_history h
          where h.dia_object_id = o.dia_object_id
            and h.validity_start <= moment.time
            and o.validity_start > moment.time
          order by h.validity_start desc
          limit 1)
     ) as v
     where (v.validity_end is null or v.validity_end > moment.time)
       and public.q3c_sindist(p_ra, p_dec, v.ra, v.dec) < sin(radians(p_radius / 3600) / 2) ^ 2
    union all
    select v.dia_object_id,
           public.q3c_dist(p_ra, p_dec, v.ra, v.dec) * 3600,
           v.ra,
           v.dec,
           v.ra_err,
           v.dec_err,
           v.n_dia_sources,
           v.first_dia_source_mjd_tai,
           v.last_dia_source_mjd_tai,
           v.validity_start
      from (select p_time as time offset 0) as moment
     cross join (
        select f.dia_object_id, max(f.left_at) as left_at
          from l1.dia_object_former_place f
         where public.q3c_join(p_ra, p_dec, f.ra, f.dec, (p_radius + 4.5) / 3600)
           and not exists (select
                             from l1.dia_object o
                            where o.dia_object_id = f.dia_object_id
                              and public.q3c_sindist(p_ra, p_dec, o.ra, o.dec)
                                  < sin(radians((p_radius + 4.5) / 3600) / 2) ^ 2)
         group by f.dia_object_id
     ) as former
     cross join lateral (
        select *
          from l1.dia_object_history h
         where h.dia_object_id = former.dia_object_id
           and h.validity_start <= moment.time
         order by h.validity_start desc
         limit 1
     ) as v
     where former.left_at > moment.time
       and v.validity_end > moment.time
       and public.q3c_sindist(p_ra, p_dec, v.ra, v.dec) < sin(radians(p_radius / 3600) / 2) ^ 2
$$;
comment on function l1_api.cone_search_asof(double precision, double precision, double precision, timestamptz) is
    'The DiaObjects within a radius [arcsec] of a position [deg], as they were known at a time';
