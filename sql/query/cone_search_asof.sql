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
parallel unsafe
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
    --   a cone wider by this around the current places, and around the former ones that were left since, has all objects
    --   concerned.  Each is looked up once, by its id: where the current version held then already, or else in the history;
    --   what is known by a former place alone was elsewhere before, or is far off since.  What lies within the cone itself
    --   is told by q3c_join's own criterion, without the search that q3c_join is.
    --   PARALLEL UNSAFE keeps workers from being started for some rows, which takes longer than to find them.
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
      from (
        select place.dia_object_id, min(place.validity_start) as validity_start
          from (
            select o.dia_object_id, o.validity_start
              from l1.dia_object o
             where public.q3c_join(p_ra, p_dec, o.ra, o.dec, (p_radius + 4.5) / 3600)
            union all
            select f.dia_object_id, 'infinity'
              from l1.dia_object_former_place f
             where public.q3c_join(p_ra, p_dec, f.ra, f.dec, (p_radius + 4.5) / 3600)
               and f.left_at > p_time
          ) as place
         group by place.dia_object_id
      ) as near
     cross join lateral (
        select o.dia_object_id, o.ra, o.dec, o.ra_err, o.dec_err, o.n_dia_sources, o.first_dia_source_mjd_tai,
               o.last_dia_source_mjd_tai, o.validity_start
          from l1.dia_object o
         where o.dia_object_id = near.dia_object_id
           and near.validity_start <= p_time
        union all
        (select h.dia_object_id, h.ra, h.dec, h.ra_err, h.dec_err, h.n_dia_sources, h.first_dia_source_mjd_tai,
                h.last_dia_source_mjd_tai, h.validity_start
           from (
            select *
              from l1.dia_object_history former
             where former.dia_object_id = near.dia_object_id
               and former.validity_start <= p_time
               and near.validity_start > p_time
             order by former.validity_start desc
             limit 1
           ) as h
          where h.validity_end > p_time)
     ) as v
     where public.q3c_sindist(p_ra, p_dec, v.ra, v.dec) < sin(radians(p_radius / 3600) / 2) ^ 2
$$;
comment on function l1_api.cone_search_asof(double precision, double precision, double precision, timestamptz) is
    'The DiaObjects within a radius [arcsec] of a position [deg], as they were known at a time';
