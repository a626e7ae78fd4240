create function l1_api.spans_motion(p_n bigint, p_days double precision)
returns boolean
language sql
immutable
parallel safe
as $$
    -- Function: l1_api.spans_motion(2)
    --
    --   Whether detections are enough to look for a motion: ten over sixty days.  What else it takes to follow one, or to
    --   publish it, fit_motions tells.
    --
    -- Parameters:
    --   p_n     - number of detections; NULL: not known, and taken to be enough
    --   p_days  - time from the first to the last [d]
    select coalesce(p_n >= 10, true) and p_days >= 60
$$;
comment on function l1_api.spans_motion(bigint, double precision) is
    'Whether detections are enough to look for a motion';
