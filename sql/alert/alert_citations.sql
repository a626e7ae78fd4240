create function l1_api.alert_citations(
    p_alert_ids bigint[],
    p_lower     double precision,
    p_upper     double precision
)
returns table (alert_id bigint, first_alert_id bigint, retracted_alert_id bigint)
language sql
stable
parallel safe
as $$
    -- Function: l1_api.alert_citations(3)
    --
    --   The earlier alerts that alerts refer to: a view with parameters.
    --
    -- Parameters:
    --   p_alert_ids       - the alerts
    --   p_lower, p_upper  - between which midpoints they lie, MJD TAI [d]
    -- Returns:
    --   first_alert_id      - the first alert of the same DiaObject; NULL: this is it
    --   retracted_alert_id  - of a retraction, the alert that it takes back
    -- Reads:  l1.alert
    --
    -- Who writes an object holds its cell of the sky, so no alert of it with an earlier stamp can join later.  The source of
    -- a retraction may have come again since its alert with another midpoint of the same exposure; the answer does not
    -- depend on the other alerts that are asked for.
    select a.alert_id,
           first.alert_id,
           retracted.alert_id
      from l1.alert a
      left join lateral (
        select f.alert_id
          from l1.alert f
         where f.dia_object_id = a.dia_object_id
           and f.stamp < a.stamp
           and f.kind <> 'retraction'
         order by f.stamp, f.alert_id
         limit 1
      ) as first
        on true
      left join lateral (
        select d.alert_id
          from l1.alert d
         where a.kind = 'retraction'
           and d.dia_source_id = a.dia_source_id
           and d.kind <> 'retraction'
           and d.stamp < a.stamp
           and d.midpoint_mjd_tai between a.midpoint_mjd_tai - 1 and a.midpoint_mjd_tai + 1
           and d.midpoint_mjd_tai between p_lower - 1 and p_upper + 1
         order by d.stamp, d.alert_id
         limit 1
      ) as retracted
        on true
     where a.alert_id = any (p_alert_ids)
       and a.midpoint_mjd_tai between p_lower and p_upper
$$;
comment on function l1_api.alert_citations(bigint[], double precision, double precision) is
    'The earlier alerts that alerts refer to';
