"""ZTF's alert packets (schemas 3.x and 4.x) as visits, detectors and DiaSources.

One readout channel (``rcid``) is a detector.  A processing identifier ``pid`` is written NNNNFFFFFRRTT: night, fraction
of the day at which the exposure began, readout channel and type of product; its first nine digits name the exposure.
Candidates carry magnitudes of the absolute difference flux, and its sign apart.

https://zwickytransientfacility.github.io/ztf-avro-alert/schema.html
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from astropy.time import Time
from numpy.typing import NDArray

from l1db import units
from l1db.alert.content import CUTOUT_KINDS
from l1db.ingest.run import VisitData
from l1db.visit import DetectorData, Visit

BANDS = {1: "g", 2: "r", 3: "i"}
EXPOSURE_TIME = 30.0  # seconds; most packets leave it out
_PER_EXPOSURE = 10_000  # pid // this names the exposure
_SENTINEL = -999.0

# What is kept of a candidate, in this order.
_FIELDS = (
    "candid",
    "pid",
    "rcid",
    "fid",
    "jd",
    "exptime",
    "ra",
    "dec",
    "xpos",
    "ypos",
    "magpsf",
    "sigmapsf",
    "magap",
    "sigmagap",
    "isdiffpos",
    "scorr",
    "drb",
    "drbversion",
    "rb",
    "rbversion",
    "magzpsci",
)
# Without these a candidate has no place in the database.
_NEEDED = ("pid", "fid", "jd", "ra", "dec")


def true_object(packet: dict[str, Any]) -> str:
    """ZTF's own name for the object of a packet and of all its previous candidates."""
    return str(packet["objectId"])


def detections(packet: dict[str, Any]) -> Iterator[tuple[int, bool, tuple[Any, ...]]]:
    """The detections in a packet.

    Yields
    ------
    candid, is_trigger, fields
        A previous candidate without ``candid`` is an upper limit, and left out.
    """
    for candidate in (packet["candidate"], *(packet.get("prv_candidates") or ())):
        is_trigger = candidate is packet["candidate"]
        candid = candidate.get("candid")
        if is_trigger and candid is None:
            candid = packet["candid"]
        if candid is not None:
            if missing := [name for name in _NEEDED if candidate.get(name) is None]:
                raise ValueError(f"candidate {candid} has no {', '.join(missing)}")
            fields = (candid, *(candidate.get(name) for name in _FIELDS[1:]))
            yield int(candid), is_trigger, fields


def cutouts(packet: dict[str, Any]) -> dict[str, bytes]:
    """The stamps of a packet's trigger, gzipped FITS files, by l1db's names of their kinds."""
    stamps = {kind: packet.get(f"cutout{kind.capitalize()}") for kind in CUTOUT_KINDS}
    return {kind: bytes(stamp["stampData"]) for kind, stamp in stamps.items() if stamp and stamp["stampData"]}


def exposure(pid: NDArray[np.int64]) -> NDArray[np.int64]:
    """The exposure that a processing identifier belongs to; shape as given."""
    return np.asarray(pid // _PER_EXPOSURE)


def midpoint_mjd_tai(jd: NDArray[np.float64], exposure_time: NDArray[np.float64]) -> NDArray[np.float64]:
    """Middle of exposures, MJD TAI.

    Parameters
    ----------
    jd
        Start of the exposure, JD UTC, shape (n,).
    exposure_time
        Seconds, shape (n,).
    """
    # Two doubles: one alone resolves 40 microseconds of a Julian date.
    whole = np.floor(jd)
    start = Time(whole, jd - whole, format="jd", scale="utc").tai
    return np.asarray((start.jd1 - 2400000.5) + (start.jd2 + exposure_time / 2 / 86400))


def visits(rows: Sequence[tuple[Any, ...]]) -> list[VisitData]:
    """Visits in time order, from what `detections` yields; rows are numbered from 1 in the order given.

    Footprints and position errors are in no packet, and stay unknown.
    """
    if not rows:
        return []
    column = dict(zip(_FIELDS, zip(*rows, strict=True), strict=True))
    pid = np.array(column["pid"], dtype=np.int64)
    visit = exposure(pid)
    rcid = np.array([p // 100 % 100 if r is None else r for p, r in zip(column["pid"], column["rcid"], strict=True)])
    fid = np.array(column["fid"])
    order = np.lexsort((np.array(column["candid"]), rcid, visit))
    ids, visit_starts = np.unique(visit[order], return_index=True)
    group = np.searchsorted(ids, visit)

    # An exposure has one exposure time, known or not, and all its candidates share it.
    stated = _floats(column["exptime"])
    longest = np.full(len(ids), -np.inf)
    np.maximum.at(longest, group, np.where(np.isnan(stated), -np.inf, stated))
    exposure_time = np.where(longest > 0, longest, EXPOSURE_TIME)
    midpoint = midpoint_mjd_tai(np.array(column["jd"]), exposure_time[group])
    sources = _sources(column, midpoint, exposure_time[group])
    zero_point = _floats(column["magzpsci"])

    found = []
    for i, in_visit in enumerate(np.split(order, visit_starts[1:])):
        numbers, starts = np.unique(rcid[in_visit], return_index=True)
        detectors = []
        for number, part in zip(numbers, np.split(in_visit, starts[1:]), strict=True):
            given = {name: values[part] for name, values in sources.items()}
            scale = _zero_point(zero_point[part], float(exposure_time[i]))
            detectors.append(DetectorData(int(number), given, zero_point=scale, row_numbers=part + 1))
        band = BANDS.get(int(fid[in_visit[0]]), str(fid[in_visit[0]]))
        when = float(np.median(midpoint[in_visit]))
        found.append(VisitData(Visit(int(ids[i]), band, when, float(exposure_time[i])), tuple(detectors)))
    return sorted(found, key=lambda v: (v.visit.midpoint_mjd_tai, v.visit.visit))


def _sources(
    column: dict[str, tuple[Any, ...]], midpoint: NDArray[np.float64], exposure_time: NDArray[np.float64]
) -> dict[str, NDArray[Any]]:
    """Columns of ``dia_source``, each of shape (n,)."""
    negative = np.array([str(value).lower() in ("f", "0", "false") for value in column["isdiffpos"]])
    sign = np.where(negative, -1.0, 1.0)
    psf_flux = sign * units.flux_of_magnitude(_floats(column["magpsf"]))
    ap_flux = sign * units.flux_of_magnitude(_floats(column["magap"]))
    deep, plain = _floats(column["drb"]), _floats(column["rb"])
    version = np.where(
        np.isnan(deep), np.array(column["rbversion"], dtype=object), np.array(column["drbversion"], dtype=object)
    )
    return {
        "dia_source_id": np.array(column["candid"], dtype=np.int64),
        "midpoint_mjd_tai": midpoint,
        "exposure_time": exposure_time.astype(np.float32),
        "ra": np.array(column["ra"], dtype=np.float64),
        "dec": np.array(column["dec"], dtype=np.float64),
        # ZTF counts pixels from 1.
        "x": (_floats(column["xpos"]) - 1).astype(np.float32),
        "y": (_floats(column["ypos"]) - 1).astype(np.float32),
        "is_negative": negative,
        "snr": _floats(column["scorr"]).astype(np.float32),
        "psf_flux": psf_flux.astype(np.float32),
        "psf_flux_err": _error(psf_flux, column["sigmapsf"]),
        "ap_flux": ap_flux.astype(np.float32),
        "ap_flux_err": _error(ap_flux, column["sigmagap"]),
        "reliability": np.where(np.isnan(deep), plain, deep).astype(np.float32),
        "reliability_version": version,
    }


def _error(flux: NDArray[np.float64], magnitude_error: tuple[Any, ...]) -> NDArray[np.float32]:
    return units.flux_error_of_magnitude_error(flux, _floats(magnitude_error)).astype(np.float32)


def _zero_point(of_exposure: NDArray[np.float64], exposure_time: float) -> float | None:
    """Magnitude of one count per second; None where the packets disagree, as ZTF recalibrates now and then."""
    values = np.unique(of_exposure[~np.isnan(of_exposure)])
    return float(values[0] - 2.5 * np.log10(exposure_time)) if len(values) == 1 else None


def _floats(values: Sequence[Any]) -> NDArray[np.float64]:
    """Numbers, NaN where there is none or ZTF's -999."""
    array = np.array([np.nan if value is None else value for value in values], dtype=np.float64)
    array[array == _SENTINEL] = np.nan
    return array
