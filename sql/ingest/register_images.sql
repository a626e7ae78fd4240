create function l1_api.register_images(p_visit l1.visit, p_survey l1.survey)
returns void
language plpgsql
volatile
set search_path = pg_catalog, l1, l1_api, public, pg_temp
as $$
-- Function: l1_api.register_images(2)
--
--   Makes the images of the detectors that are stored by this call known; those of a replaced attempt are forgotten.
--
-- Parameters:
--   p_visit, p_survey  - the visit, and the rules in force: how long images are kept
-- Reads:   pg_temp.stage_image, pg_temp.claim
-- Writes:  l1.image
begin
    delete from l1.image i
     using pg_temp.claim c
     where c.former_attempt is not null
       and i.visit = p_visit.visit
       and i.detector = c.detector;

    insert into l1.image (visit, detector, kind, uri, sha256, n_bytes, wcs, expires_at)
    select p_visit.visit, s.detector, s.kind, s.uri, s.sha256, s.n_bytes, s.wcs,
           clock_timestamp() + p_survey.image_cache_days * interval '1 day'
      from pg_temp.stage_image s
      join pg_temp.claim c
        on c.detector = s.detector
     where c.status in ('stored', 'replaced', 'released')
        on conflict (visit, detector, kind) do update
       set uri = excluded.uri,
           sha256 = excluded.sha256,
           n_bytes = excluded.n_bytes,
           wcs = excluded.wcs,
           registered_at = excluded.registered_at,
           expires_at = excluded.expires_at;
end
$$;
comment on function l1_api.register_images(l1.visit, l1.survey) is 'Makes the images of the stored detectors known';
