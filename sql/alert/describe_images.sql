create function l1_api.describe_images(
    p_stamp         timestamptz,
    p_from_mjd_tai  double precision,
    p_upto_mjd_tai  double precision
)
returns void
language plpgsql
volatile
set search_path = pg_catalog, l1, l1_api, public, pg_temp
set plan_cache_mode = force_custom_plan
as $$
-- Function: l1_api.describe_images(3)
--
--   Writes down what the images were on which this transaction issued alerts: the packets of these alerts say it for
--   ever, whatever is corrected, replaced or ingested anew since.  Called once, after the last alert.
--
-- Parameters:
--   p_stamp                         - stamp of this transaction
--   p_from_mjd_tai, p_upto_mjd_tai  - first and last midpoint of its alerts, or farther, MJD TAI [d]
-- Reads:   l1.alert, l1.visit, l1.visit_detector, l1.image
-- Writes:  l1.alert_image, a row per visit and detector
--
-- Algorithm:
--   The outbox itself says which they are, by the index that consumers use; so no kind of alert is forgotten.  A retraction
--   may be of a detector of which nothing is live any more: then the ledger's last attempt counts.  Each is looked up by
--   itself (LIMIT): no statistics know a transaction that is under way.
-- Settings:
--   a plan kept for all times would have to look into every leaf
begin
    insert into l1.alert_image (visit, detector, stamp, attempt, band, midpoint_mjd_tai, exposure_time, boresight_ra,
                                boresight_dec, airmass, day_obs, n_snaps, reason, target, footprint, psf_fwhm,
                                zero_point, flux_noise, software, wcs, template, template_sha256)
    select issued.visit, issued.detector, p_stamp, ledger.attempt, v.band, v.midpoint_mjd_tai, v.exposure_time,
           v.boresight_ra, v.boresight_dec, v.airmass, v.day_obs, v.n_snaps, v.reason, v.target,
           st_astext(ledger.footprint), ledger.psf_fwhm, ledger.zero_point, ledger.flux_noise, ledger.software,
           difference.wcs, substring(template.uri from '([^/?#]+)(?:[?#].*)?$'), template.sha256
      from (
        select distinct a.visit, a.detector
          from l1.alert a
         where a.xid = pg_current_xact_id()
           and a.midpoint_mjd_tai >= p_from_mjd_tai
           and a.midpoint_mjd_tai <= p_upto_mjd_tai
      ) as issued
     cross join lateral (
        select x.*
          from l1.visit x
         where x.visit = issued.visit
         limit 1
     ) as v
     cross join lateral (
        select d.*
          from l1.visit_detector d
         where d.visit = issued.visit
           and d.detector = issued.detector
         order by d.withdrawn_at is not null, d.attempt desc
         limit 1
     ) as ledger
      left join lateral (
        select i.wcs
          from l1.image i
         where i.visit = issued.visit
           and i.detector = issued.detector
           and i.kind = 'difference'
         limit 1
      ) as difference
        on true
      left join lateral (
        select i.uri, i.sha256
          from l1.image i
         where i.visit = issued.visit
           and i.detector = issued.detector
           and i.kind = 'template'
         limit 1
      ) as template
        on true
     order by issued.visit, issued.detector;
end
$$;
comment on function l1_api.describe_images(timestamptz, double precision, double precision) is
    'Writes down what the images were on which this transaction issued alerts';
