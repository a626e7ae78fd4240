"""Publishing: cutouts, what packets were first built, where they go, and what became of them.

Revision ID: 0007
Revises: 0006
"""

from __future__ import annotations

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_COMMENTS = {
    "survey": {
        "cutouts": "Kinds of image that alerts carry cutouts of: difference, science, template",
    },
    "image": {
        "wcs": "WCS of the image: FITS cards, one a line; NULL: not read",
    },
    "alert_image": {
        "": "What an image was as alerts on it were issued, and stays in their packets; append-only",
        "visit": "Exposure",
        "detector": "Detector",
        "stamp": "Stamp of the transaction that issued the alerts (database time)",
        "attempt": "Attempt of the ledger that it was then",
        "band": "Filter band",
        "midpoint_mjd_tai": "Middle of the exposure, MJD TAI [d]",
        "exposure_time": "Exposure time [s]",
        "boresight_ra": "Right ascension of the boresight, ICRS [deg]",
        "boresight_dec": "Declination of the boresight, ICRS [deg]",
        "airmass": "Airmass at the boresight",
        "day_obs": "Night of the exposure: date of UTC less the survey''s offset",
        "n_snaps": "Number of snaps of the exposure",
        "reason": "Why the exposure was taken",
        "target": "What it was taken of",
        "footprint": "Outline of the image on the sky, WKT polygon, in degrees, longitude = ra, or ra - 360 above 180",
        "psf_fwhm": "Full width at half maximum of the PSF [pixel]",
        "zero_point": "Magnitude of one count per second [mag]",
        "flux_noise": "Noise of a point source''s flux [nJy]",
        "software": "What produced the sources",
        "wcs": "WCS of the difference image: FITS cards, one a line",
        "template": "Name of the file that the template came in",
        "template_sha256": "SHA-256 of that file",
    },
    "cutout": {
        "": "The archive of cutouts: where the bytes of each lie, once and for all; append-only",
        "dia_source_id": "The DiaSource that is shown",
        "kind": "What is shown: difference, science or template",
        "encoding": "fits: a FITS file; gzip: the same, compressed",
        "sha256": "SHA-256 of the bytes; NULL: there is no cutout",
        "n_bytes": "Their number",
        "pack": "File of the archive that they lie in",
        "start": "Their first byte in it, from 0",
        "trouble": "Why there is no cutout; NULL: there is one",
        "kept_at": "When they were archived (database time)",
    },
    "alert_packet": {
        "": "What the first build of each packet produced: every later one must produce the same; append-only",
        "alert_id": "The alert",
        "format": "lsst-11.1, l1db or voevent",
        "schema_version": "Version of the format''s schema",
        "sha256": "SHA-256 of the packet",
        "n_bytes": "Its size in bytes",
        "built_at": "When it was first built (database time)",
    },
    "destination": {
        "": "Where packets go",
        "destination": "Name",
        "kind": "Transport: vtp, kafka, webhook, email or file",
        "format": "Format of the packets: lsst-11.1, l1db or voevent",
        "settings": "What the transport needs to know; secrets only as names of environment variables",
        "selection": "SQL condition on l1_api.alert_candidate that alerts must meet; NULL: all go",
        "give_up_after": "Alerts older than this are not tried any more",
        "is_enabled": "False: its alerts wait",
        "created_at": "When it was added (database time)",
        "created_by": "Database login that added it",
        "trouble": "Why it cannot be reached; NULL: it answered when it was last tried",
        "trouble_since": "Since when (database time)",
        "removed_at": "When it was removed (database time); its ledger stays",
    },
    "delivery": {
        "": "The ledger: what became of each alert at each destination",
        "destination": "Destination",
        "alert_id": "Alert",
        "state": "delivered; refused: the peer will never take it; failed: to be tried again; given_up: too old",
        "n_attempts": "How often it was tried",
        "first_at": "When it was first tried (database time)",
        "last_at": "When it was last tried (database time)",
        "next_at": "When it is to be tried again (database time); NULL: never",
        "detail": "What the peer said, or what went wrong",
    },
}


def upgrade() -> None:
    op.execute("alter table l1.survey add column cutouts text[]")
    op.execute("alter table l1.survey disable trigger user")
    op.execute(
        "update l1.survey set cutouts = case profile when 'seed' then array['difference', 'template']"
        " else array['difference', 'science', 'template'] end"
    )
    op.execute("alter table l1.survey enable trigger user")
    op.execute("alter table l1.survey alter column cutouts set not null")
    op.execute(
        "alter table l1.survey add constraint survey_cutouts_check"
        " check (cutouts <@ array['difference', 'science', 'template'])"
    )
    op.execute("alter table l1.image add column wcs text")
    op.execute("create index alert_alert_id_idx on l1.alert (alert_id)")
    op.execute("create index alert_dia_object_id_idx on l1.alert (dia_object_id)")
    op.execute(
        """
        create table l1.alert_image (
            visit bigint not null,
            detector smallint not null,
            stamp timestamptz not null,
            attempt smallint not null,
            band text not null,
            midpoint_mjd_tai double precision not null,
            exposure_time real,
            boresight_ra double precision,
            boresight_dec double precision,
            airmass real,
            day_obs date not null,
            n_snaps smallint,
            reason text,
            target text,
            footprint text,
            psf_fwhm real,
            zero_point real,
            flux_noise real,
            software text,
            wcs text,
            template text,
            template_sha256 bytea,
            constraint alert_image_pkey primary key (visit, detector, stamp)
        )
        """
    )
    op.execute(
        """
        create table l1.cutout (
            dia_source_id bigint not null,
            kind text not null,
            encoding text not null,
            sha256 bytea,
            n_bytes integer,
            pack text,
            start bigint,
            trouble text,
            kept_at timestamptz default clock_timestamp() not null,
            constraint cutout_pkey primary key (dia_source_id, kind, encoding),
            constraint cutout_kind_check check (kind in ('difference', 'science', 'template')),
            constraint cutout_encoding_check check (encoding in ('fits', 'gzip')),
            constraint cutout_sha256_check check (octet_length(sha256) = 32),
            constraint cutout_place_check check (
                case when trouble is null
                     then sha256 is not null and n_bytes > 0 and pack is not null and start >= 0
                     else coalesce(sha256::text, n_bytes::text, pack, start::text) is null end)
        )
        """
    )
    op.execute(
        """
        create table l1.alert_packet (
            alert_id bigint not null,
            format text not null,
            schema_version text not null,
            sha256 bytea not null,
            n_bytes integer not null,
            built_at timestamptz default clock_timestamp() not null,
            constraint alert_packet_pkey primary key (alert_id, format),
            constraint alert_packet_format_check check (format in ('lsst-11.1', 'l1db', 'voevent')),
            constraint alert_packet_sha256_check check (octet_length(sha256) = 32)
        )
        """
    )
    op.execute(
        """
        create table l1.destination (
            destination text not null,
            kind text not null,
            format text not null,
            settings jsonb not null,
            selection text,
            give_up_after interval not null,
            is_enabled boolean default true not null,
            created_at timestamptz default clock_timestamp() not null,
            created_by text default session_user not null,
            trouble text,
            trouble_since timestamptz,
            removed_at timestamptz,
            constraint destination_pkey primary key (destination),
            constraint destination_destination_check check (destination ~ '^[A-Za-z0-9_.-]{1,50}$'),
            constraint destination_kind_check check (kind in ('vtp', 'kafka', 'webhook', 'email', 'file')),
            constraint destination_format_check check (format in ('lsst-11.1', 'l1db', 'voevent')),
            constraint destination_settings_check check (jsonb_typeof(settings) = 'object'),
            constraint destination_give_up_after_check check (give_up_after > interval '0'),
            constraint destination_trouble_check check ((trouble is null) = (trouble_since is null))
        )
        """
    )
    op.execute(
        """
        create table l1.delivery (
            destination text not null,
            alert_id bigint not null,
            state text not null,
            n_attempts integer not null,
            first_at timestamptz not null,
            last_at timestamptz not null,
            next_at timestamptz,
            detail text,
            constraint delivery_pkey primary key (destination, alert_id),
            constraint delivery_destination_fkey foreign key (destination) references l1.destination (destination),
            constraint delivery_state_check check (state in ('delivered', 'refused', 'failed', 'given_up')),
            constraint delivery_next_at_check check ((next_at is not null) = (state = 'failed'))
        )
        """
    )
    op.execute("create index delivery_due_idx on l1.delivery (destination, next_at) where next_at is not null")
    op.execute("create index delivery_alert_id_idx on l1.delivery (alert_id)")
    for table, comments in _COMMENTS.items():
        for column, comment in comments.items():
            what = f"column l1.{table}.{column}" if column else f"table l1.{table}"
            op.execute(f"comment on {what} is '{comment}'")


def downgrade() -> None:
    # Without their destinations nobody would take what they hold, and a destination of the name could not be added again.
    op.execute("delete from l1.alert_cursor where consumer like 'destination:%'")
    for table in ("delivery", "destination", "alert_packet", "cutout", "alert_image"):
        op.execute(f"drop table l1.{table}")
    op.execute("drop index l1.alert_dia_object_id_idx")
    op.execute("drop index l1.alert_alert_id_idx")
    op.execute("alter table l1.image drop column wcs")
    op.execute("alter table l1.survey drop column cutouts")
