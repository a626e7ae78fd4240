create function l1_api.take_in_sources(p_visit l1.visit, p_survey l1.survey)
returns bigint
language plpgsql
volatile
set search_path = pg_catalog, l1, l1_api, public, pg_temp
as $$
-- Function: l1_api.take_in_sources(2)
--
--   Brings the staged sources on their way: gives an id to those that have none, and says which may found an object.
--   A supplement's sources that are stored already are left out; so are those of unchanged detectors.  Of what is
--   stored, what reopen_twins brought back is taken in.
--
-- Returns:  number of sources taken in
-- Reads:    pg_temp.claim, pg_temp.stage_source, l1.dia_source
-- Writes:   pg_temp.source
--
-- Algorithm:
--   If the exposure holds the bound of a leaf, all sources take the visit's midpoint: a visit lies in one leaf, where the
--   unique rules bind it.
declare
    v_bounds        record;
    v_half_exposure double precision := (coalesce(p_visit.exposure_time, 1728) / 2 + 1) / 86400;
    v_one_midpoint  boolean;
    v_rows          bigint;
begin
    select * into v_bounds from l1_api.leaf_bounds(p_visit.midpoint_mjd_tai);
    v_one_midpoint := (l1_api.leaf_bounds(p_visit.midpoint_mjd_tai - v_half_exposure)).lower
                      <> (l1_api.leaf_bounds(p_visit.midpoint_mjd_tai + v_half_exposure)).lower;

    if exists (
        select
          from pg_temp.claim c
          join pg_temp.stage_source s
            on s.detector = c.detector
         where c.status = 'supplemented'
           and s.dia_source_id is null
    ) then
        raise exception 'visit %: a supplement needs dia_source_id for every source', p_visit.visit
            using errcode = 'L1I06',
                  hint = 'Without ids nothing tells which sources are stored already.';
    end if;

    insert into pg_temp.source (ordinal, is_stored, detector, dia_source_id, midpoint_mjd_tai, ra, dec, variance,
                                may_found)
    select s.ordinal,
           s.is_stored,
           s.detector,
           coalesce(s.dia_source_id, nextval('l1.dia_source_seq')),
           case when v_one_midpoint then p_visit.midpoint_mjd_tai else s.midpoint_mjd_tai end,
           s.ra,
           s.dec,
           (s.ra_err::double precision ^ 2 + s.dec_err::double precision ^ 2) / 2 * 3600 ^ 2,
           not p_survey.quality_gate
           or l1_api.passes_quality_gate(s.centroid_flag, s.pixel_flags_cr_center, s.pixel_flags_nodata_center,
                                         s.pixel_flags_interpolated_center, s.pixel_flags_saturated_center,
                                         s.pixel_flags_suspect_center, s.pixel_flags_streak_center, s.glint_trail,
                                         s.reliability, s.snr, p_survey.gate_min_reliability, p_survey.gate_min_snr)
      from pg_temp.claim c
      join pg_temp.stage_source s
        on s.detector = c.detector
     where c.status in ('stored', 'replaced', 'released')
        or c.status = 'supplemented'
           and not exists (select
                             from l1.dia_source x
                            where x.dia_source_id = s.dia_source_id
                              and x.midpoint_mjd_tai >= v_bounds.lower
                              and x.midpoint_mjd_tai < v_bounds.upper)
           and not exists (select
                             from l1.dia_source_history h
                            where h.dia_source_id = s.dia_source_id
                              and h.closed_reason = 'withdrawn')
        or c.status = 'revised' and s.is_stored
     order by s.ordinal;
    get diagnostics v_rows = row_count;

    perform l1_api.refresh_statistics('source', v_rows);
    return v_rows;
end
$$;
comment on function l1_api.take_in_sources(l1.visit, l1.survey) is 'Brings the staged sources on their way';
