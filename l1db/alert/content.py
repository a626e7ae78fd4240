"""What alerts say, column by column, before any format makes bytes of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l1db.binary_copy import WireColumn

CUTOUT_KINDS = ("difference", "science", "template")


@dataclass(frozen=True)
class Rows:
    """Rows of a table, column by column, by the names of the database.

    Columns are of the dtype that `l1db.columns.DTYPES` gives for their SQL type, text as str in an object array, each
    of shape (n,).  Processing times (``timestamptz``) have left the database already: they are MJD TAI, float64.
    """

    n: int
    columns: Mapping[str, WireColumn]

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, name: str) -> WireColumn:
        return self.columns[name]

    def row(self, i: int) -> dict[str, Any]:
        """One row as Python values, None where there is none; reals stay float32, whose shortest spelling is short."""
        return {
            name: (column.values[i] if column.values.dtype == np.float32 else _plain(column.values[i]))
            if column.present[i]
            else None
            for name, column in self.columns.items()
        }


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


@dataclass(frozen=True)
class Content:
    """What a number of alerts say.  Row i of ``alert``, ``source``, ``object`` and ``image`` is of alert i.

    Parameters
    ----------
    alert
        Columns of ``l1.alert`` without ``xid``; ``stamp`` and the versions in MJD TAI; ``database_id`` (text), and
        ``survey_name``, ``ivo_authority``, ``operational`` of its survey version; ``first_alert_id``, the first alert
        of the same DiaObject (NULL where this is it); ``retracted_alert_id``, of a retraction the alert that is
        withdrawn (else NULL).
    source
        The triggering DiaSource, columns of ``dia_source``.  Of a retraction, the version that was withdrawn, with
        ``time_withdrawn``.
    object
        The DiaObject version, columns of ``dia_object``; all NULL where there is none.
    band, band_bounds
        The light-curve statistics of that version, columns of ``dia_object_band``; those of alert i are rows
        ``band_bounds[i]:band_bounds[i + 1]``, in order of band.
    history, history_bounds
        The previous DiaSources, detected, forced and precovery, columns of ``dia_source``, in order of
        (``midpoint_mjd_tai``, ``dia_source_id``); bounds likewise.
    image
        The image metadata: columns of ``l1.alert_image``; ``day_obs`` as text YYYY-MM-DD, ``footprint`` as WKT polygon,
        ``template_sha256`` as hexadecimal text.  All NULL where there is none.
    cutouts
        Of each alert, the FITS file of each kind there is.
    compressed
        The same, gzipped once and kept so; only where a format asked for them.
    """

    alert: Rows
    source: Rows
    object: Rows
    band: Rows
    band_bounds: NDArray[np.int64]
    history: Rows
    history_bounds: NDArray[np.int64]
    image: Rows
    cutouts: Sequence[Mapping[str, bytes]]
    compressed: Sequence[Mapping[str, bytes]]

    def __len__(self) -> int:
        return len(self.alert)
