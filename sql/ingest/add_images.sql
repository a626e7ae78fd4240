create function l1_api.add_images(
    p_visit     bigint,
    p_detector  smallint,
    p_kinds     text[],
    p_uris      text[],
    p_sha256s   bytea[],
    p_n_bytes   bigint[],
    p_wcs       text[],
    p_footprint text
)
returns integer
language plpgsql
volatile
set search_path = pg_catalog, l1, l1_api, public, pg_temp
as $$
-- Function: l1_api.add_images(8)
--
--   Makes images known that come after the ingest of their detector, and queues the forced measurements that were not
--   made for want of them.  Images that are known already change nothing.
--
-- Parameters:
--   p_visit, p_detector                 - a detector that is stored
--   p_kinds, p_uris, p_sha256s, p_n_bytes, p_wcs - the images: kind, place, checksum, size and WCS of each; WCS as FITS
--                                         cards, one a line, NULL: not read
--   p_footprint                         - outline of the difference image, WKT polygon with longitude = ra, or ra - 360
--                                         above 180 [deg]; the ledger takes it if it has none
-- Returns:
--   number of measurements that were queued
-- Reads:   l1.image
-- Writes:  l1.image, l1.visit_detector, l1.precovery_task
-- Locks:   the visit, alone
declare
    v_visit  l1.visit;
    v_survey l1.survey;
    v_ledger l1.visit_detector;
begin
    perform l1_api.refuse_other_isolation();
    perform l1_api.open_stage();
    if exists (select from pg_temp.claim) then
        raise exception 'this transaction has had its ingest'
            using errcode = 'L1I09',
                  hint = 'Commit, and add the images then.';
    end if;
    v_visit := l1_api.hold_visit(p_visit, true);
    select * into v_survey from l1_api.current_survey();
    select *
      into v_ledger
      from l1.visit_detector v
     where v.visit = p_visit
       and v.detector = p_detector
       and v.withdrawn_at is null;
    if not found then
        raise exception 'detector % of visit % is not stored', p_detector, p_visit
            using errcode = 'L1I08',
                  hint = 'Ingest it, with its images.';
    end if;
    if not exists (
        select
          from unnest(p_kinds, p_uris, p_sha256s) as given(kind, uri, sha256)
         where not exists (
            select
              from l1.image i
             where i.visit = p_visit
               and i.detector = p_detector
               and i.kind = given.kind
               and i.uri = given.uri
               and i.sha256 = given.sha256)
    ) then
        return 0;
    end if;

    insert into pg_temp.claim (detector, attempt, status, footprint)
    values (p_detector, v_ledger.attempt, 'stored', coalesce(v_ledger.footprint, st_geogfromtext(p_footprint)));
    insert into pg_temp.stage_detector (detector, footprint, content_sha256, has_images)
    select c.detector, st_astext(c.footprint), v_ledger.content_sha256, 'difference' = any (p_kinds)
      from pg_temp.claim c;
    insert into pg_temp.stage_image (detector, kind, uri, sha256, n_bytes, wcs)
    select p_detector, given.kind, given.uri, given.sha256, given.n_bytes, given.wcs
      from unnest(p_kinds, p_uris, p_sha256s, p_n_bytes, p_wcs) as given(kind, uri, sha256, n_bytes, wcs);

    perform l1_api.register_images(v_visit, v_survey);
    perform l1_api.queue_forced(v_visit, v_survey, 'late_image');

    update l1.visit_detector v
       set footprint = c.footprint,
           image_trouble = case when not exists (select
                                                   from l1.image i
                                                  where i.visit = p_visit
                                                    and i.detector = p_detector
                                                    and i.kind = 'difference')
                                then v.image_trouble end,
           n_forced_queued = v.n_forced_queued + c.n_forced_queued
      from pg_temp.claim c
     where v.visit = p_visit
       and v.detector = p_detector
       and v.attempt = c.attempt;
    return (select c.n_forced_queued from pg_temp.claim c);
end
$$;
comment on function l1_api.add_images(bigint, smallint, text[], text[], bytea[], bigint[], text[], text) is
    'Makes images known that come after the ingest of their detector, and queues their forced work';
