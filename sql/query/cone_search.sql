create function l1_api.cone_search(
    p_ra     double precision,
    p_dec    double precision,
    p_radius double precision
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
    -- Function: l1_api.cone_search(3)
    --
    --   The current DiaObjects within a radius of a position: a view with parameters, which the planner takes apart.
    --
    -- Parameters:
    --   p_ra, p_dec  - centre, ICRS [deg]
    --   p_radius     - radius [arcsec]
    -- Returns:
    --   objects with their separation from the centre [arcsec], in no order
    -- Reads:  l1.dia_object
    --
    -- Algorithm:
    --   q3c_join and not q3c_radial_query: it takes a centre from a column as well as a constant, costs a tenth for small
    --   radii, and loses no objects beside the corners of q3c's cube, as the other does in q3c 2.0.0.
    select o.dia_object_id,
           public.q3c_dist(p_ra, p_dec, o.ra, o.dec) * 3600,
           o.ra,
           o.dec,
           o.ra_err,
           o.dec_err,
           o.n_dia_sources,
           o.first_dia_source_mjd_tai,
           o.last_dia_source_mjd_tai,
           o.validity_start
      from l1.dia_object o
     where public.q3c_join(p_ra, p_dec, o.ra, o.dec, p_radius / 3600)
$$;
comment on function l1_api.cone_search(double precision, double precision, double precision) is
    'The current DiaObjects within a radius [arcsec] of a position [deg]';

create function l1_api.cone_search(p_dia_object_id bigint, p_radius double precision)
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
    -- Function: l1_api.cone_search(2)
    --
    --   The current DiaObjects within a radius of one, itself among them.  The id of one that was merged leads to the one
    --   that it became part of.
    --
    -- Parameters:
    --   p_dia_object_id  - the object
    --   p_radius         - radius [arcsec]
    -- Returns:
    --   as cone_search around a position
    -- Reads:  l1.dia_object; see leads_to
    select near.*
      from l1.dia_object centre
     cross join lateral l1_api.cone_search(centre.ra, centre.dec, p_radius) as near
     where centre.dia_object_id = l1_api.leads_to(p_dia_object_id)
$$;
comment on function l1_api.cone_search(bigint, double precision) is
    'The current DiaObjects within a radius [arcsec] of one; the id of a merged one leads to what it became part of';
