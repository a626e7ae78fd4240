create function l1_api.claim_stored(p_visit l1.visit, p_mode text)
returns void
language plpgsql
volatile
set search_path = pg_catalog, l1, l1_api, public, pg_temp
set plan_cache_mode = force_custom_plan
as $$
-- Function: l1_api.claim_stored(2)
--
--   The ledger check of detectors that are stored: refuses other data, saying what differs, or decides what they are to
--   become.
--
-- Parameters:
--   p_visit  - the visit
--   p_mode   - see claim_detectors
-- Reads:   pg_temp.stage_detector, pg_temp.stage_source, pg_temp.stage_image, l1.visit_detector, l1.dia_source,
--          l1.image
-- Writes:  pg_temp.claim
-- Settings:
--   a plan kept for all times would have to look into every leaf
declare
    v_bounds  record;
    v_refused text;
begin
    select * into v_bounds from l1_api.leaf_bounds(p_visit.midpoint_mjd_tai);
    select string_agg(format('detector %s (%s)', v.detector, concat_ws(', ',
               case when v.n_sources <> given.n
                    then format('%s sources are stored, %s are given', v.n_sources, given.n) end,
               case when v.footprint is distinct from st_geogfromtext(d.footprint) then 'the footprint differs' end,
               (select string_agg(format(case when f.stored is null then '%1$s is %3$s, and none is stored'
                                              when f.given is null then '%1$s is %2$s, and not given now'
                                              else '%1$s is %2$s, not %3$s' end, f.name, f.stored, f.given), ', ')
                  from (values
                      ('psf_fwhm', v.psf_fwhm::text, d.psf_fwhm::text),
                      ('zero_point', v.zero_point::text, d.zero_point::text),
                      ('flux_noise', v.flux_noise::text, d.flux_noise::text),
                      ('software', v.software, d.software)
                  ) as f(name, stored, given)
                 where f.stored is distinct from f.given),
               case when v.n_sources = given.n then
                    (select case when count(*) > 0
                                 then format('%s of %s rows found with other positions, fluxes or ids',
                                             count(*), given.n) end
                       from pg_temp.stage_source s
                      where s.detector = d.detector
                        and not exists (
                            select
                              from l1.dia_source x
                             where x.visit = p_visit.visit
                               and x.detector = s.detector
                               and not x.is_forced
                               and x.midpoint_mjd_tai >= v_bounds.lower
                               and x.midpoint_mjd_tai < v_bounds.upper
                               and x.ra = s.ra and x.dec = s.dec
                               and x.psf_flux = s.psf_flux and x.psf_flux_err = s.psf_flux_err
                               and (s.dia_source_id is null or x.dia_source_id = s.dia_source_id))) end)),
                      '; ' order by v.detector)
      into v_refused
      from l1.visit_detector v
      join pg_temp.stage_detector d
        on d.detector = v.detector
     cross join lateral (
        select count(*)::integer as n from pg_temp.stage_source s where s.detector = d.detector
     ) as given
     where p_mode in ('new', 'release')
       and v.visit = p_visit.visit
       and v.withdrawn_at is null
       and (v.content_sha256 <> d.content_sha256
            or p_mode = 'release' and v.n_sources <> given.n)
       and not exists (select from pg_temp.claim c where c.detector = v.detector);
    if v_refused is not null then
        raise exception 'visit % is stored with other data: %', p_visit.visit, v_refused
            using errcode = 'L1I05',
                  hint = 'Use replace to withdraw the stored data first, or supplement to add to them.';
    end if;

    select string_agg(v.detector::text, ', ' order by v.detector)
      into v_refused
      from l1.visit_detector v
      join pg_temp.stage_detector d
        on d.detector = v.detector
     where p_mode = 'release'
       and v.visit = p_visit.visit
       and v.withdrawn_at is null
       and v.n_withdrawn > 0;
    if v_refused is not null then
        raise exception 'visit %: sources of detector % were withdrawn by corrections', p_visit.visit, v_refused
            using errcode = 'L1I05',
                  hint = 'Undo these before a release, which brings all sources back.';
    end if;

    insert into pg_temp.claim (detector, attempt, former_attempt, status, footprint)
    select v.detector,
           v.attempt + verdict.is_new::integer,
           case when verdict.is_new then v.attempt end,
           verdict.status,
           case when p_mode = 'supplement' then v.footprint else st_geogfromtext(d.footprint) end
      from l1.visit_detector v
      join pg_temp.stage_detector d
        on d.detector = v.detector
     cross join lateral (
        select case when p_mode = 'supplement' and v.content_sha256 <> d.content_sha256 and exists (
                            select
                              from pg_temp.stage_source s
                             where s.detector = v.detector
                               and (s.dia_source_id is null
                                    or not exists (select
                                                     from l1.dia_source x
                                                    where x.dia_source_id = s.dia_source_id
                                                      and x.midpoint_mjd_tai >= v_bounds.lower
                                                      and x.midpoint_mjd_tai < v_bounds.upper)
                                        and not exists (select
                                                          from l1.dia_source_history h
                                                         where h.dia_source_id = s.dia_source_id
                                                           and h.closed_reason = 'withdrawn')))
                    then 'supplemented'
                    -- The same sources, too, if their images are others, or can be read now.
                    when p_mode = 'replace'
                         and (v.content_sha256 <> d.content_sha256
                              or d.has_images and d.image_trouble is null
                                 and (v.n_forced_queued > 0 or exists (
                                      select
                                        from pg_temp.stage_image i
                                       where i.detector = v.detector
                                         and not exists (select
                                                           from l1.image k
                                                          where k.visit = v.visit
                                                            and k.detector = i.detector
                                                            and k.kind = i.kind
                                                            and k.sha256 = i.sha256)))
                              or v.n_sources <> (select count(*)
                                                   from pg_temp.stage_source s
                                                  where s.detector = v.detector))
                    then 'replaced'
                    when p_mode = 'release' and v.content_sha256 = d.content_sha256 and exists (
                            select
                              from l1.dia_source x
                             where x.visit = v.visit
                               and x.detector = v.detector
                               and x.midpoint_mjd_tai >= v_bounds.lower
                              and x.midpoint_mjd_tai < v_bounds.upper
                              and x.no_object_reason = 'breaker')
                    then 'released'
                    else 'unchanged' end as status
     ) as chosen
     cross join lateral (
        select chosen.status, chosen.status in ('replaced', 'released') as is_new
     ) as verdict
     where v.visit = p_visit.visit
       and v.withdrawn_at is null
       and not exists (select from pg_temp.claim c where c.detector = v.detector);
end
$$;
comment on function l1_api.claim_stored(l1.visit, text) is 'The ledger check of detectors that are stored';
