create function l1_api.passes_quality_gate(
    p_centroid_flag       boolean,
    p_cr_center           boolean,
    p_nodata_center       boolean,
    p_interpolated_center boolean,
    p_saturated_center    boolean,
    p_suspect_center      boolean,
    p_streak_center       boolean,
    p_glint_trail         boolean,
    p_reliability         real,
    p_snr                 real,
    p_min_reliability     real,
    p_min_snr             real
)
returns boolean
language sql
immutable
parallel safe
as $$
    -- Function: l1_api.passes_quality_gate(12)
    --
    --   Whether a source may found an object, by the rules of LSST's ap_association: none of eight flags, and reliability
    --   and signal-to-noise ratio high enough.  What is not known (NULL) passes.
    select not (coalesce(p_centroid_flag, false)
                or coalesce(p_cr_center, false)
                or coalesce(p_nodata_center, false)
                or coalesce(p_interpolated_center, false)
                or coalesce(p_saturated_center, false)
                or coalesce(p_suspect_center, false)
                or coalesce(p_streak_center, false)
                or coalesce(p_glint_trail, false)
                or coalesce(p_reliability < p_min_reliability, false)
                or coalesce(abs(p_snr) < p_min_snr, false))
$$;
comment on function l1_api.passes_quality_gate(boolean, boolean, boolean, boolean, boolean, boolean, boolean, boolean,
                                               real, real, real, real) is
    'Whether a source may found an object, by the rules of LSST''s ap_association';
