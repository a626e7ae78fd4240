create function l1_api.source_names(p_visit bigint, p_asof timestamptz)
returns table (
    dia_source_id  bigint,
    time_processed timestamptz,
    detector       smallint,
    name           text
)
language sql
stable
set search_path = pg_catalog, l1, l1_api, pg_temp
set enable_nestloop = off
as $$
    -- Function: l1_api.source_names(2)
    --
    --   Names the detections of a visit so that two databases that were given the same data name them alike: by their
    --   rank on the detector.
    --
    -- Parameters:
    --   p_visit  - the visit
    --   p_asof   - database time; sources that came later are left out
    -- Returns:
    --   the name of each source of each attempt: its rank, "7", or "7 of attempt 1" where the attempt has been withdrawn
    --   by then
    -- Reads:  l1.dia_source, l1.dia_source_history, l1.visit_detector
    --
    -- Algorithm:
    --   Ranks follow the order in which the content hash has the rows (l1db/stack.py): a given id first, then time, place
    --   and flux; ids that l1db drew, from 2^62 upwards, count as none.  Sources equal in all of these share a rank.  A
    --   source that was withdrawn by itself keeps its rank, so that its neighbours keep theirs.
    -- Settings:
    --   as in night_results
    with bounds as materialized (
        select leaf.lower, leaf.upper
          from l1.visit v
         cross join lateral l1_api.leaf_bounds(v.midpoint_mjd_tai) as leaf
         where v.visit = p_visit
    ), attempt as materialized (
        select known.detector, known.attempt, known.time_processed, known.withdrawn_at
          from l1_api.attempts_asof(p_visit, p_asof) as known
    ), stored as (
        select s.dia_source_id, s.detector, s.time_processed, s.midpoint_mjd_tai, s.ra, s.dec, s.psf_flux, s.psf_flux_err
          from l1.dia_source s
         where s.visit = p_visit
           and not s.is_forced
           and s.midpoint_mjd_tai >= (select bounds.lower from bounds)
           and s.midpoint_mjd_tai < (select bounds.upper from bounds)
           and s.time_processed <= p_asof
        union
        select h.dia_source_id, h.detector, h.time_processed, h.midpoint_mjd_tai, h.ra, h.dec, h.psf_flux, h.psf_flux_err
          from l1.dia_source_history h
         where h.visit = p_visit
           and not h.is_forced
           and h.time_processed <= p_asof
    )
    select s.dia_source_id,
           s.time_processed,
           s.detector,
           case when d.withdrawn_at <= p_asof then format('%s of attempt %s', s.rank, d.attempt) else s.rank::text end
      from (
        select stored.*,
               d.attempt,
               rank() over (partition by stored.detector, d.attempt
                                order by case when stored.dia_source_id < 4611686018427387904
                                              then stored.dia_source_id end nulls first,
                                         stored.midpoint_mjd_tai, stored.ra, stored.dec, stored.psf_flux,
                                         stored.psf_flux_err) as rank
          from stored
          left join lateral (
            select known.attempt
              from attempt known
             where known.detector = stored.detector
               and known.time_processed <= stored.time_processed
               and (known.withdrawn_at > stored.time_processed or known.withdrawn_at is null)
             order by known.attempt desc
             limit 1
          ) as d
            on true
      ) as s
      left join l1.visit_detector d
        on d.visit = p_visit
       and d.detector = s.detector
       and d.attempt = s.attempt
$$;
comment on function l1_api.source_names(bigint, timestamptz) is
    'Names the detections of a visit by their rank on the detector, without ids that l1db made';
