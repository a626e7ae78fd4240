"""The border of an image on the sky, as corners and as WKT."""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import ArrayLike, NDArray

from l1db.errors import InputError


def polygon_wkt(corners: ArrayLike, where: str = "footprint") -> str:
    """An outline on the sky as WKT with longitudes in (-180, 180].

    Parameters
    ----------
    corners
        Right ascension and declination, shape (k, 2), k >= 3, degrees; the first may be repeated at the end.
    where
        What the outline belongs to, for the error.

    Raises
    ------
    InputError
        If these are not the corners of an outline.
    """
    points = np.asarray(corners, dtype=float)
    if points.ndim != 2 or points.shape[1:] != (2,) or not np.isfinite(points).all():
        raise InputError(f"{where}: a footprint is an array of finite (ra, dec), shape (k, 2)")
    if (points[:, 0] < 0).any() or (points[:, 0] >= 360).any() or (np.abs(points[:, 1]) > 90).any():
        raise InputError(f"{where}: a corner of the footprint is not in [0, 360) x [-90, 90]")
    if len(points) > 1 and (points[0] == points[-1]).all():
        points = points[:-1]
    if len(points) < 3:
        raise InputError(f"{where}: a footprint needs three corners or more")
    longitude = np.where(points[:, 0] > 180, points[:, 0] - 360, points[:, 0])
    ring = [f"{lon!r} {lat!r}" for lon, lat in zip(longitude.tolist(), points[:, 1].tolist(), strict=True)]
    return f"POLYGON(({', '.join([*ring, ring[0]])}))"


def polygon_corners(wkt: str) -> NDArray[np.float64]:
    """Corners of ``POLYGON((ra dec, ra dec, ...))``, shape (k, 2); a first corner repeated at the end is dropped."""
    inside = re.fullmatch(r"\s*POLYGON\s*\(\s*\(([^()]*)\)\s*\)\s*", wkt, flags=re.IGNORECASE)
    try:
        corners = np.array([[float(v) for v in pair.split()] for pair in (inside or ["", ""])[1].split(",")])
        if corners.ndim != 2 or corners.shape[1] != 2:
            raise ValueError
    except ValueError:
        raise ValueError("is not POLYGON((ra dec, ra dec, ...)) in degrees") from None
    if (corners[0] == corners[-1]).all():
        corners = corners[:-1]
    if len(corners) < 3:
        raise ValueError("has fewer than three corners")
    return corners
