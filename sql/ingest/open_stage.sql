create function l1_api.open_stage()
returns void
language plpgsql
volatile
set search_path = pg_catalog, l1, l1_api, public, pg_temp
set client_min_messages = warning
as $$
-- Function: l1_api.open_stage(0)
--
--   Makes the session's working tables, which every transaction finds empty.  The client copies into the first two and
--   then calls l1_api.ingest; the others hold what the steps of the ingest hand on to each other.
--
-- Writes:  pg_temp
begin
    if to_regclass('pg_temp.stage_source') is not null then
        return;
    end if;

    -- What came in: one row per detector of the call, and one per source in the columns of dia_source.  Of what is
    -- stored, some may be brought back beside them (reopen_twins).
    create temp table stage_detector (
        detector       smallint not null,
        band           text,
        footprint      text,
        psf_fwhm       real,
        zero_point     real,
        flux_noise     real,
        software       text,
        content_sha256 bytea not null,
        has_images     boolean not null default false,
        image_trouble  text
    ) on commit delete rows;
    create temp table stage_source on commit delete rows as
        select 0 as ordinal, false as is_stored, s.* from l1.dia_source s with no data;
    alter table pg_temp.stage_source alter column is_stored set default false;

    -- What was measured before the call: the images, and forced fluxes at the objects that were expected in them.
    create temp table stage_image (
        detector       smallint not null,
        kind           text not null,
        uri            text not null,
        sha256         bytea not null,
        n_bytes        bigint not null,
        wcs            text
    ) on commit delete rows;
    create temp table stage_forced (
        detector       smallint not null,
        dia_object_id  bigint not null,
        ra             double precision not null,
        dec            double precision not null,
        x              real not null,
        y              real not null,
        is_on_image    boolean not null,
        psf_flux           real,
        psf_flux_err       real,
        psf_chi2           real,
        psf_ndata          integer,
        science_flux       real,
        science_flux_err   real,
        snap_diff_flux     real,
        snap_diff_flux_err real,
        forced_flags       integer not null
    ) on commit delete rows;

    -- The cutouts that came with the sources, where they lie in the archive.
    create temp table stage_cutout (
        dia_source_id  bigint not null,
        kind           text not null,
        encoding       text not null,
        sha256         bytea not null,
        n_bytes        integer not null,
        pack           text not null,
        start          bigint not null
    ) on commit delete rows;

    -- What each detector of the call is to become, and by how much that changes the counts of its ledger row.
    create temp table claim (
        detector       smallint not null,
        attempt        smallint not null,
        former_attempt smallint,
        status         text not null,
        footprint      public.geography,
        n_sources        integer not null default 0,
        n_associated     integer not null default 0,
        n_new_objects    integer not null default 0,
        n_without_object integer not null default 0,
        n_alerts         integer not null default 0,
        n_forced         integer not null default 0,
        n_forced_queued  integer not null default 0
    ) on commit delete rows;

    -- Where a replacement withdraws sources, by zones of declination, each told in three.
    create temp table withdrawn (
        zone           integer not null,
        ra             double precision not null,
        dec            double precision not null
    ) on commit delete rows;

    -- What a correction changes, and a replacement: withdraw, move to an object or to none, restore a former version (of
    -- which validity_start tells), or renew, a forced measurement under another id.
    create temp table correcting (
        dia_source_id  bigint not null,
        midpoint_mjd_tai double precision not null,
        ra             double precision not null,
        dec            double precision not null,
        visit          bigint not null,
        detector       smallint not null,
        band           text not null,
        is_forced      boolean not null,
        validity_start timestamptz not null,
        former_object  bigint,
        action         text,
        reason         text,
        object         bigint,
        no_object_reason text
    ) on commit delete rows;

    -- The sources on their way: position, variance of the position per axis [arcsec**2], and whether each may found.
    create temp table source (
        ordinal        integer not null,
        is_stored      boolean not null,
        detector       smallint not null,
        dia_source_id  bigint not null,
        midpoint_mjd_tai double precision not null,
        ra             double precision not null,
        dec            double precision not null,
        variance       double precision,
        may_found      boolean not null
    ) on commit delete rows;

    -- Objects that already have a detection in this visit, with that detection.
    create temp table taken (
        dia_object_id  bigint not null,
        detector       smallint not null,
        dia_source_id  bigint not null,
        ra             double precision not null,
        dec            double precision not null,
        variance       double precision,
        is_replaced    boolean not null
    ) on commit delete rows;

    -- The cells of the sky that are locked; and the objects there that move, where they are at the visit's midpoint, by
    -- zones of declination, each told in three: variance of that place per axis [arcsec**2], and as below.
    create temp table cell (
        number         integer not null
    ) on commit delete rows;
    create temp table mover (
        zone           integer not null,
        dia_object_id  bigint not null,
        ra             double precision not null,
        dec            double precision not null,
        variance       double precision,
        validity_start timestamptz not null,
        first_mjd_tai  double precision not null,
        last_mjd_tai   double precision not null
    ) on commit delete rows;

    -- Source-object pairs within the radius: separation [arcsec], summed variance per axis [arcsec**2]; and what the
    -- object's current version says that is needed later.
    create temp table pair (
        ordinal        integer not null,
        detector       smallint not null,
        dia_object_id  bigint not null,
        separation     double precision not null,
        variance       double precision,
        is_placed      boolean not null default false,
        validity_start timestamptz not null,
        first_mjd_tai  double precision not null,
        last_mjd_tai   double precision not null
    ) on commit delete rows;

    -- What mutual_best chooses from, and what it chose.
    create temp table candidate (
        source         bigint not null,
        source_group   smallint not null,
        target         bigint not null,
        target_group   smallint not null,
        cost           double precision not null,
        separation     double precision not null
    ) on commit delete rows;

    create temp table calibration (
        detector       smallint not null,
        n_pairs        integer not null,
        extra_variance double precision not null,
        new_density    double precision not null
    ) on commit delete rows;
    create temp table match (
        ordinal        integer not null,
        is_stored      boolean not null,
        detector       smallint not null,
        dia_object_id  bigint not null,
        cost           double precision not null,
        separation     double precision not null
    ) on commit delete rows;
    create temp table twin (
        ordinal        integer not null,
        other_ordinal  integer
    ) on commit delete rows;

    -- What was decided: each source's object, or why it has none.
    create temp table assignment (
        ordinal        integer not null,
        is_stored      boolean not null,
        detector       smallint not null,
        dia_source_id  bigint not null,
        midpoint_mjd_tai double precision not null,
        dia_object_id  bigint,
        is_new         boolean not null,
        reason         text,
        is_repeated    boolean not null default false
    ) on commit delete rows;
    -- The objects that are forced, on each detector; and all that change, with the beginning of their window.
    create temp table forced (
        detector       smallint not null,
        dia_object_id  bigint not null,
        dia_source_id  bigint,
        is_on_image    boolean not null,
        validity_start timestamptz not null,
        first_mjd_tai  double precision not null
    ) on commit delete rows;
    create temp table touched (
        dia_object_id  bigint not null,
        first_mjd_tai  double precision not null,
        all_bands      boolean not null
    ) on commit delete rows;
    create temp table measured (
        dia_object_id  bigint not null,
        ra             double precision,
        ra_err         real,
        dec            double precision,
        dec_err        real,
        ra_dec_cov     real,
        n_dia_sources  integer not null,
        n_forced       integer not null,
        n_good_dia_sources  integer not null,
        first_mjd_tai  double precision,
        last_mjd_tai   double precision,
        first_epoch_mjd_tai double precision,
        radec_mjd_tai  double precision
    ) on commit delete rows;
    create temp table measured_band (
        dia_object_id  bigint not null,
        band           text not null,
        psf_flux_mean     real,
        psf_flux_mean_err real,
        psf_flux_sigma    real,
        psf_flux_ndata    integer not null,
        psf_flux_min      real,
        psf_flux_max      real,
        psf_flux_err_mean real,
        psf_flux_chi2     double precision,
        psf_flux_max_slope double precision,
        science_flux_mean real,
        science_flux_mean_err real,
        science_flux_sigma real,
        fp_flux_mean      real,
        fp_flux_mean_err  real,
        fp_flux_sigma     real,
        psf_flux_percentile05 real,
        psf_flux_percentile25 real,
        psf_flux_percentile50 real,
        psf_flux_percentile75 real,
        psf_flux_percentile95 real,
        psf_flux_mad      real,
        psf_flux_skew     real,
        psf_flux_stetson_j real,
        psf_flux_linear_slope double precision,
        psf_flux_linear_intercept double precision,
        daily_ndata       integer
    ) on commit delete rows;

    -- The motions that were measured by day; NULL where epochs are too few.
    create temp table motion (
        dia_object_id  bigint not null,
        pm_ra          real,
        pm_ra_err      real,
        pm_dec         real,
        pm_dec_err     real,
        pm_ra_pm_dec_cov real,
        pm_chi2        real,
        pm_ndata       integer,
        drift_ra       real,
        drift_dec      real,
        drift_err      real
    ) on commit delete rows;
end
$$;
comment on function l1_api.open_stage() is 'Makes the session''s working tables; call it once per connection before an ingest';
