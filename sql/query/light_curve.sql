create function l1_api.light_curve(p_dia_object_id bigint)
returns table (
    midpoint_mjd_tai double precision,
    band             text,
    psf_flux         real,
    psf_flux_err     real,
    science_flux     real,
    science_flux_err real,
    is_forced        boolean,
    is_precovery     boolean,
    visit            bigint,
    detector         smallint,
    dia_source_id    bigint
)
language sql
stable
parallel safe
as $$
    -- Function: l1_api.light_curve(1)
    --
    --   All live measurements of a DiaObject, detected and forced: a view with a parameter.  The id of one that was merged
    --   leads to the one that it became part of.
    --
    -- Parameters:
    --   p_dia_object_id  - the object
    -- Returns:
    --   fluxes [nJy] in order of time, MJD TAI [d]
    -- Reads:  l1.dia_source; see leads_to
    select s.midpoint_mjd_tai,
           s.band,
           s.psf_flux,
           s.psf_flux_err,
           s.science_flux,
           s.science_flux_err,
           s.is_forced,
           s.is_precovery,
           s.visit,
           s.detector,
           s.dia_source_id
      from l1.dia_source s
     where s.dia_object_id = l1_api.leads_to(p_dia_object_id)
     order by s.midpoint_mjd_tai, s.detector
$$;
comment on function l1_api.light_curve(bigint) is 'All live measurements of a DiaObject, in order of time';
