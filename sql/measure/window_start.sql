create function l1_api.window_start(
    p_history_days   double precision,
    p_first_is_known boolean,
    p_first_mjd_tai  double precision,
    p_last_mjd_tai   double precision
)
returns double precision
language sql
immutable
parallel safe
as $$
    -- Function: l1_api.window_start(4)
    --
    --   Where the history window of an object begins.  Without a limit it begins with the first detection, or, if that is
    --   not known, at the beginning of time.
    --
    -- Parameters:
    --   p_history_days    - length of the window; NULL: without limit [d]
    --   p_first_is_known  - see first_is_known
    --   p_first_mjd_tai   - the earliest detection that the object's version knows, MJD TAI [d]
    --   p_last_mjd_tai    - its latest detection, MJD TAI [d]
    select case when p_history_days is not null then p_last_mjd_tai - p_history_days
                when p_first_is_known then p_first_mjd_tai
                else '-infinity' end
$$;
comment on function l1_api.window_start(double precision, boolean, double precision, double precision) is
    'Where the history window of an object begins, MJD TAI';
