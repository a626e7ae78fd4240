create function l1_api.open_visit(
    p_visit            bigint,
    p_band             text,
    p_midpoint_mjd_tai double precision,
    p_exposure_time    real,
    p_boresight_ra     double precision,
    p_boresight_dec    double precision,
    p_airmass          real,
    p_day_obs          date,
    p_n_snaps          smallint,
    p_n_detectors      smallint,
    p_reason           text,
    p_target           text
)
returns boolean
language plpgsql
volatile
security definer
set search_path = pg_catalog, l1, l1_api, pg_temp
as $$
-- Function: l1_api.open_visit(12)
--
--   Makes a visit known, in a short transaction of its own before its first ingest.  A visit that is known already
--   learns what it did not know; what contradicts it is refused, unless nothing was stored of it yet: then it is
--   corrected.
--
-- Parameters:
--   as the columns of l1.visit; day_obs is the caller's, since only it knows leap seconds
-- Returns:
--   true if the visit is new
-- Reads:   l1.survey
-- Writes:  l1.visit
declare
    v_stored  l1.visit;
    v_differs text;
begin
    if not (p_midpoint_mjd_tai > 0 and p_midpoint_mjd_tai < 2400000) then
        raise exception 'visit %: midpoint_mjd_tai % is no MJD', p_visit, p_midpoint_mjd_tai
            using errcode = 'L1I02',
                  hint = 'Subtract 2400000.5 from a JD.';
    end if;
    if p_band <> all ((l1_api.current_survey()).bands) then
        raise exception 'visit %: band % is unknown to the survey, which has %',
                        p_visit, p_band, array_to_string((l1_api.current_survey()).bands, ', ')
            using errcode = 'L1I03',
                  hint = 'Correct the band, or add it with l1db survey set.';
    end if;

    perform l1_api.refuse_other_isolation();
    insert into l1.visit (visit, band, midpoint_mjd_tai, exposure_time, boresight_ra, boresight_dec, airmass, day_obs,
                          n_snaps, n_detectors, reason, target)
    values (p_visit, p_band, p_midpoint_mjd_tai, p_exposure_time, p_boresight_ra, p_boresight_dec, p_airmass, p_day_obs,
            p_n_snaps, p_n_detectors, p_reason, p_target)
    on conflict do nothing;
    if found then
        return true;
    end if;

    select * into v_stored from l1.visit v where v.visit = p_visit;
    v_differs := concat_ws(', ',
        case when v_stored.band <> p_band
             then format('band is %s, not %s', v_stored.band, p_band) end,
        case when abs(v_stored.midpoint_mjd_tai - p_midpoint_mjd_tai) * 86400
                  > greatest(1, coalesce(v_stored.exposure_time, p_exposure_time) / 2)
             then format('midpoint_mjd_tai is %s, not %s', v_stored.midpoint_mjd_tai, p_midpoint_mjd_tai) end,
        case when abs(v_stored.exposure_time - p_exposure_time) > 0.001
             then format('exposure_time is %s, not %s', v_stored.exposure_time, p_exposure_time) end,
        case when abs(v_stored.boresight_dec - p_boresight_dec) > 0.001
             then format('boresight_dec is %s, not %s', v_stored.boresight_dec, p_boresight_dec) end,
        case when v_stored.n_snaps <> p_n_snaps
             then format('n_snaps is %s, not %s', v_stored.n_snaps, p_n_snaps) end,
        case when v_stored.n_detectors <> p_n_detectors
             then format('n_detectors is %s, not %s', v_stored.n_detectors, p_n_detectors) end);
    if v_differs <> '' then
        -- What nothing was stored of yet may be corrected.  The lock waits for an ingest that has claimed detectors.
        perform from l1.visit v where v.visit = p_visit for update;
        if exists (select from l1.visit_detector d where d.visit = p_visit) then
            raise exception 'visit % is stored otherwise: %', p_visit, v_differs
                using errcode = 'L1I04',
                      hint = 'Is this another visit?  Visit ids must be unique.';
        end if;
        update l1.visit v
           set band = p_band,
               midpoint_mjd_tai = p_midpoint_mjd_tai,
               exposure_time = p_exposure_time,
               boresight_ra = p_boresight_ra,
               boresight_dec = p_boresight_dec,
               airmass = p_airmass,
               day_obs = p_day_obs,
               n_snaps = p_n_snaps,
               n_detectors = p_n_detectors,
               reason = p_reason,
               target = p_target
         where v.visit = p_visit;
        return false;
    end if;

    update l1.visit v
       set exposure_time = coalesce(v.exposure_time, p_exposure_time),
           boresight_ra = coalesce(v.boresight_ra, p_boresight_ra),
           boresight_dec = coalesce(v.boresight_dec, p_boresight_dec),
           airmass = coalesce(v.airmass, p_airmass),
           n_snaps = coalesce(v.n_snaps, p_n_snaps),
           n_detectors = coalesce(v.n_detectors, p_n_detectors),
           reason = coalesce(v.reason, p_reason),
           target = coalesce(v.target, p_target)
     where v.visit = p_visit
       and (v.exposure_time is null and p_exposure_time is not null
            or v.boresight_ra is null and p_boresight_ra is not null
            or v.boresight_dec is null and p_boresight_dec is not null
            or v.airmass is null and p_airmass is not null
            or v.n_snaps is null and p_n_snaps is not null
            or v.n_detectors is null and p_n_detectors is not null
            or v.reason is null and p_reason is not null
            or v.target is null and p_target is not null);
    return false;
end
$$;
comment on function l1_api.open_visit(bigint, text, double precision, real, double precision, double precision, real,
                                      date, smallint, smallint, text, text) is
    'Makes a visit known; refuses one that contradicts the stored one';
