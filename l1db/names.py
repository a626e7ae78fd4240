"""The one place where APDB's camelCase and l1db's snake_case meet.

LSST's schemas write ``psfFluxMeanErr``, ``ixxPSF`` and ``pixelFlags_crCenter``; the database writes
``psf_flux_mean_err``, ``ixx_psf`` and ``pixel_flags_cr_center``, so that psql needs no quotes.  The way in is
mechanical.  The way out is not (``ixx_psf`` lost its capitals), so it is looked up among the known columns.
"""

from __future__ import annotations

import re

# Processing times are timestamptz in the database and MJD TAI outside: the only names that change otherwise.
_PROCESSING_TIME = {
    "timeProcessedMjdTai": "time_processed",
    "timeWithdrawnMjdTai": "time_withdrawn",
    "validityStartMjdTai": "validity_start",
    "validityEndMjdTai": "validity_end",
    "stampMjdTai": "stamp",
    "ssObjectVersionMjdTai": "ss_object_version",
}
_PROCESSING_TIME_BACK = {ours: theirs for theirs, ours in _PROCESSING_TIME.items()}

_BOUNDARY = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def to_snake(name: str) -> str:
    """The database's name for an APDB column.

    A name that is snake_case already comes back unchanged.

    >>> [to_snake(n) for n in ("psfFluxMeanErr", "ixxPSF", "pixelFlags_crCenter", "ra_dec_Cov")]
    ['psf_flux_mean_err', 'ixx_psf', 'pixel_flags_cr_center', 'ra_dec_cov']
    """
    return _PROCESSING_TIME.get(name) or _BOUNDARY.sub("_", name).lower()


def to_camel(name: str) -> str:
    """APDB's name for a column of the database.

    Raises
    ------
    KeyError
        If the column is l1db's own and APDB has no name for it.
    """
    from l1db.columns import APDB_NAMES

    return APDB_NAMES[name]


def to_packet(name: str) -> str:
    """The name in packets for any column of the database: APDB's where it has one, else l1db's own, spelt alike.

    `to_snake` leads back.

    >>> [to_packet(n) for n in ("ixx_psf", "snap_diff_flux_err", "psf_flux_chi2", "validity_start")]
    ['ixxPSF', 'snapDiffFluxErr', 'psfFluxChi2', 'validityStartMjdTai']
    """
    from l1db.columns import APDB_NAMES

    if known := APDB_NAMES.get(name) or _PROCESSING_TIME_BACK.get(name):
        return known
    first, *others = name.split("_")
    return first + "".join(other.capitalize() for other in others)
