create function l1_api.broken_alert_images(
    p_from_mjd_tai double precision default '-infinity',
    p_upto_mjd_tai double precision default 'infinity'
)
returns table (thing text, id bigint, found text)
language sql
stable
parallel safe
as $$
    -- Function: l1_api.broken_alert_images(2)
    --
    --   Every alert has what its image was as it was issued
    --
    -- Parameters:
    --   p_from_mjd_tai, p_upto_mjd_tai - only what was observed from the one up to the other, which is not included,
    --   MJD TAI [d]
    -- Returns:
    --   what breaks this; nothing if all is well
    -- Reads: l1.alert, l1.alert_image
    --
    -- Algorithm:
    --   Alerts from before there was such a table have none, and their packets say nothing of images.
    select 'alert', a.alert_id, format('says nothing of its image: visit %s, detector %s, stamp %s', a.visit, a.detector, a.stamp)
      from l1.alert a
     where a.midpoint_mjd_tai >= p_from_mjd_tai and a.midpoint_mjd_tai < p_upto_mjd_tai
       and a.stamp >= (select min(i.stamp) from l1.alert_image i)
       and not exists (select
                         from l1.alert_image i
                        where i.visit = a.visit
                          and i.detector = a.detector
                          and i.stamp = a.stamp)
$$;
comment on function l1_api.broken_alert_images(double precision, double precision) is
    'Every alert has what its image was as it was issued';
