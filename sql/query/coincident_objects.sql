create function l1_api.coincident_objects(p_radius double precision)
returns table (
    dia_object_id    bigint,
    into_id          bigint,
    separation       double precision,
    n_dia_sources    integer,
    into_n           integer,
    n_common_visits  bigint,
    n_seen_as_two    bigint,
    proposal         text
)
language sql
stable
parallel safe
as $$
    -- Function: l1_api.coincident_objects(1)
    --
    --   A report of DiaObjects that lie within a radius of each other, and of which might be merged.  Nothing is.
    --
    -- Parameters:
    --   p_radius  - radius [arcsec]
    -- Returns, one row per pair:
    --   dia_object_id, into_id  - the object with fewer detections (or the later one), and the one that would remain
    --   separation              - [arcsec]
    --   n_dia_sources, into_n   - their detections
    --   n_common_visits         - visits that detected both
    --   n_seen_as_two           - of these, on one detector: there they were two things at once
    --   proposal                - the call that merges them; NULL: they were seen as two, or lie farther apart than merges
    --                             reach
    -- Reads:  l1.dia_object, l1.dia_source
    --
    -- Algorithm:
    --   q3c_join: on the sphere, so that neither poles nor the meridian matter.  The sums keep the planner from reading the
    --   primary key for each object.
    select pair.dia_object_id,
           pair.into_id,
           pair.separation,
           pair.n_dia_sources,
           pair.into_n,
           common.n_visits,
           common.n_as_two,
           case when common.n_as_two = 0 and pair.separation <= 20
                then format('select l1_api.merge_objects(array[%s], %s, %L)', pair.dia_object_id, pair.into_id,
                            format('coincident within %s arcsec', round(pair.separation::numeric, 2))) end
      from (
        select case when swap then a.dia_object_id else b.dia_object_id end as dia_object_id,
               case when swap then b.dia_object_id else a.dia_object_id end as into_id,
               case when swap then a.n_dia_sources else b.n_dia_sources end as n_dia_sources,
               case when swap then b.n_dia_sources else a.n_dia_sources end as into_n,
               public.q3c_dist(a.ra, a.dec, b.ra, b.dec) * 3600 as separation
          from l1.dia_object a
          join l1.dia_object b
            on public.q3c_join(a.ra, a.dec, b.ra, b.dec, p_radius / 3600)
         cross join lateral (
            select (b.n_dia_sources, -b.first_dia_source_mjd_tai, -b.dia_object_id)
                   > (a.n_dia_sources, -a.first_dia_source_mjd_tai, -a.dia_object_id)
         ) as rank(swap)
         where a.dia_object_id + 0 < b.dia_object_id + 0
      ) as pair
     cross join lateral (
        select count(distinct x.visit) as n_visits,
               count(*) filter (where x.detector = y.detector) as n_as_two
          from l1.dia_source x
          join l1.dia_source y
            on y.visit = x.visit
           and y.midpoint_mjd_tai between x.midpoint_mjd_tai - 1 and x.midpoint_mjd_tai + 1
         where x.dia_object_id = pair.dia_object_id
           and y.dia_object_id = pair.into_id
           and not x.is_forced
           and not y.is_forced
     ) as common
$$;
comment on function l1_api.coincident_objects(double precision) is
    'DiaObjects within a radius [arcsec] of each other, and which of them might be merged';
