"""Exposures read from FITS files."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import re
import warnings
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from astropy import units
from astropy.io import fits
from astropy.time import Time
from astropy.wcs import WCS, FITSFixedWarning
from numpy.typing import NDArray

from l1db.errors import InputError
from l1db.images.exposure import Exposure, check_wcs
from l1db.images.fits.cards import is_metadata, is_wcs
from l1db.images.fits.file_bytes import check_whole
from l1db.images.fits.psf_table import psf_model
from l1db.images.psf import Psf, as_psf
from l1db.images.uri import read_bytes

_UNIT_SPELLINGS = {"ADU": "adu", "electrons": "electron", "counts": "count", "DN": "adu", "dn": "adu"}
_FLUXMAG0_NJY = 10**9 * 3630.780547701003  # AB magnitude 0, the flux of which FLUXMAG0 gives in counts


def read_exposure(
    uri: str | os.PathLike[str],
    *,
    psf: Psf | NDArray[Any] | None = None,
    default_psf: Psf | None = None,
    sha256: bytes | None = None,
) -> Exposure:
    """Read an exposure.

    Parameters
    ----------
    uri
        Local path, or anything fsspec opens.
    psf
        The PSF, or an image of it, to be used in place of the file's.
    default_psf
        The PSF to be used if the file has none.
    sha256
        What the file must hash to.

    Raises
    ------
    InputError
        If the file is none, breaks off or is damaged, lacks something an exposure needs, or is another.
    """
    name = os.fspath(uri)
    read = read_bytes(uri)
    if sha256 is not None and hashlib.sha256(read).digest() != sha256:
        raise InputError(f"{name}: is another file than was registered")
    content = _unzipped(name, read)
    if not content.startswith(b"SIMPLE  ="):
        raise InputError(f"{name}: is not a FITS file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            check_whole(content)
            with fits.open(io.BytesIO(content), memmap=False) as hdus:
                exposure = _exposure(hdus, psf, default_psf)
                exposure.corners()  # a WCS that does not reach the border is refused here, where the file has a name
                return exposure
    except InputError as error:
        raise InputError(f"{name}: {error}") from None
    except MemoryError:  # says nothing about the file
        raise
    except Exception as error:  # what astropy raises for damaged files is anything
        reason = (str(error).splitlines() or [""])[0] or type(error).__name__
        raise InputError(f"{name}: is damaged, or FITS of another kind: {reason}") from error


def _unzipped(name: str, content: bytes) -> bytes:
    if not content.startswith(b"\x1f\x8b"):
        return content
    try:
        return gzip.decompress(content)
    except (EOFError, OSError, zlib.error):
        raise InputError(f"{name}: is a truncated or damaged gzip file") from None


def _exposure(hdus: Any, psf: Psf | NDArray[Any] | None, default_psf: Psf | None) -> Exposure:
    named = {str(hdu.header.get("EXTNAME") or hdu.header.get("EXTTYPE") or "").strip().upper(): hdu for hdu in hdus[1:]}
    image = named.get("IMAGE") or (hdus[0] if hdus[0].header["NAXIS"] else None)
    if image is None:
        raise InputError(
            "has neither an extension IMAGE nor an image in the primary; name the extension with the image"
        )
    headers = (image.header, hdus[0].header)
    pixels = _plane(image, "IMAGE", None).astype(np.float32, copy=False)
    mask, planes = _mask(named, pixels.shape)
    calibration, unit = _calibration(headers)
    metadata = {
        c.keyword: c.value
        for c in hdus[0].header.cards
        if isinstance(c.value, str | int | float | bool) and is_metadata(c.keyword) and c.keyword
    }
    noise = _plane(named["NOISECOR"], "NOISECOR", None).astype(np.float64) if "NOISECOR" in named else None
    return Exposure(
        image=pixels,
        variance=_variance(named, pixels.shape),
        mask=mask,
        planes=planes,
        wcs=_wcs(image.header),
        psf=as_psf(psf) if psf is not None else _psf(named, default_psf),
        calibration=calibration,
        aperture_correction=_number(headers, "L1APCOR", 1.0),
        noise_correlation=noise,
        unit=unit,
        kind=_text(headers, "L1KIND"),
        visit=_integer(headers, "VISIT", "LSST BUTLER DATAID VISIT"),
        detector=_integer(headers, "DETECTOR", "LSST BUTLER DATAID DETECTOR"),
        band=_text(headers, "BAND", "LSST BUTLER DATAID BAND"),
        midpoint_mjd_tai=_midpoint(headers),
        exposure_time=_number(headers, "EXPTIME", None),
        metadata=metadata,
    )


def _plane(hdu: Any, name: str, shape: tuple[int, ...] | None) -> NDArray[Any]:
    """The pixels of an extension in native byte order, of two dimensions and of the image's shape."""
    data = getattr(hdu, "data", None)
    if not isinstance(data, np.ndarray) or data.dtype.names is not None or data.ndim != 2:
        raise InputError(f"{name} is not an image of two dimensions")
    if shape is not None and data.shape != shape:
        raise InputError(f"{name} has {data.shape[1]} x {data.shape[0]} pixels, IMAGE {shape[1]} x {shape[0]}")
    return data.astype(data.dtype.newbyteorder("="), copy=False)


def _variance(named: Mapping[str, Any], shape: tuple[int, ...]) -> NDArray[np.float32]:
    if "UNCERT" not in named:
        if "VARIANCE" not in named:
            raise InputError("has no variance; add an extension UNCERT (with UTYPE) or VARIANCE")
        return _plane(named["VARIANCE"], "VARIANCE", shape).astype(np.float32)
    hdu = named["UNCERT"]
    values, kind = _plane(hdu, "UNCERT", shape).astype(np.float64), hdu.header.get("UTYPE")
    with np.errstate(all="ignore"):
        if kind == "StdDevUncertainty":
            values = values**2
        elif kind == "InverseVariance":
            values = 1 / values
        elif kind != "VarianceUncertainty":
            raise InputError(
                f"UNCERT has UTYPE {kind!r}; one of VarianceUncertainty, StdDevUncertainty, InverseVariance is needed"
            )
        return values.astype(np.float32)


def _mask(named: Mapping[str, Any], shape: tuple[int, ...]) -> tuple[NDArray[np.int32], dict[str, int]]:
    if "MASK" not in named:
        if "UNCERT" not in named:
            raise InputError("has no MASK; add one, of zeros if nothing is masked")
        return np.zeros(shape, dtype=np.int32), {}  # as CCDData writes what has no mask
    hdu = named["MASK"]
    pixels = _plane(hdu, "MASK", shape)
    if pixels.dtype.kind not in "iu" or pixels.dtype.itemsize > 4:
        raise InputError(f"MASK consists of {pixels.dtype}; integers of 32 bits or less are needed")
    planes = {c.keyword[3:]: c.value for c in hdu.header.cards if c.keyword.startswith("MP_")}
    if not planes and pixels.any():
        if pixels.min() < 0 or pixels.max() > 1:
            raise InputError("MASK has bits but no MP_<name> cards that name them; add them")
        planes = {"BAD": 0}  # as CCDData writes a mask: true or false
    if not all(isinstance(bit, int) for bit in planes.values()):
        raise InputError("MASK has an MP_ card that is not the number of a bit")
    return pixels.astype(np.uint32).view(np.int32), planes


def _calibration(headers: tuple[Any, ...]) -> tuple[float, str]:
    """nJy per unit, and the unit."""
    spelt = _text(headers, "BUNIT")
    given = _number(headers, "L1CALIB", None)
    if given is None and (counts := _number(headers, "FLUXMAG0", None)):
        given = _FLUXMAG0_NJY / counts
    if spelt is None:
        if given is None:
            raise InputError("has no BUNIT; add it: nJy, or adu and L1CALIB (nJy per unit)")
        return given, "adu"
    try:
        unit = units.Unit(_UNIT_SPELLINGS.get(spelt, spelt))
    except ValueError:
        raise InputError(f"BUNIT {spelt!r} is not a unit; nJy, or adu with L1CALIB, is needed") from None
    if unit.is_equivalent(units.nJy):
        factor = 1.0 if unit == units.nJy else float(unit.to(units.nJy))
        if given is not None and abs(given / factor - 1) > 1e-6:
            raise InputError(f"BUNIT {spelt} is {factor:g} nJy, but L1CALIB says {given:g}; correct one of them")
        return factor, unit.to_string()
    if not any(unit in (base, base / units.s) for base in (units.adu, units.electron, units.ct)):
        raise InputError(f"BUNIT {spelt!r} is no flux; nJy, or adu, electron or count with L1CALIB, is needed")
    if given is None:
        raise InputError(f"BUNIT is {spelt}, and nothing says how much that is: add L1CALIB (nJy per {spelt})")
    return given, unit.to_string()


def _wcs(header: Any) -> WCS:
    if any(re.match(r"(CPDIS|D2IMDIS|CQDIS)\d", keyword) for keyword in header):
        raise InputError("has a WCS with distortion tables; give the distortion as SIP or TPV")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FITSFixedWarning)
            wcs = WCS(fits.Header([c for c in header.cards if is_wcs(c.keyword)]))
    except Exception as error:  # wcslib's errors are of many kinds
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise InputError(f"has an invalid WCS: {lines[-1] if lines else type(error).__name__}") from None
    check_wcs(wcs)
    return wcs


def _psf(named: Mapping[str, Any], default: Psf | None) -> Psf:
    if "PSFMODEL" in named:
        return psf_model(named["PSFMODEL"])
    if "PSFIMAGE" in named:
        return as_psf(_plane(named["PSFIMAGE"], "PSFIMAGE", None))
    if default is not None:
        return default
    raise InputError(
        "has no PSF that l1db reads (an LSST archive is none); give psf=, or psf_fwhm in the table of visits, or add "
        "its image as extension PSFIMAGE"
    )


def _value(headers: tuple[Any, ...], *keywords: str) -> tuple[str, Any] | None:
    """The first of the keywords that the headers have a value for, with that value."""
    for keyword in keywords:
        for header in headers:
            value = header.get(keyword)
            if value is not None and not isinstance(value, fits.card.Undefined):
                return keyword, value
    return None


def _text(headers: tuple[Any, ...], *keywords: str) -> str | None:
    found = _value(headers, *keywords)
    return (str(found[1]).strip() or None) if found else None


def _integer(headers: tuple[Any, ...], *keywords: str) -> int | None:
    found = _value(headers, *keywords)
    if found and (isinstance(found[1], bool) or not isinstance(found[1], int)):
        raise InputError(f"{found[0]} is {found[1]!r}; an integer is needed")
    return found[1] if found else None


def _number(headers: tuple[Any, ...], keyword: str, default: Any) -> Any:
    found = _value(headers, keyword)
    if found and (isinstance(found[1], bool) or not isinstance(found[1], int | float)):
        raise InputError(f"{keyword} is {found[1]!r}; a number is needed")
    return float(found[1]) if found else default


def _midpoint(headers: tuple[Any, ...]) -> float | None:
    """MJD TAI, from MJD-AVG or DATE-AVG and TIMESYS."""
    scale = (_text(headers, "TIMESYS") or "UTC").lower()
    mjd, date = _number(headers, "MJD-AVG", None), _text(headers, "DATE-AVG")
    if mjd is None and date is None:
        return None
    if mjd is not None and scale == "tai":
        return float(mjd)
    if scale not in Time.SCALES:
        raise InputError(f"TIMESYS {scale.upper()} is no time scale; give TAI or UTC")
    try:
        time = Time(date, scale=scale) if mjd is None else Time(mjd, format="mjd", scale=scale)
        return float(time.tai.mjd)
    except ValueError as error:
        raise InputError(f"DATE-AVG or MJD-AVG is not a time: {(str(error).splitlines() or [''])[0]}") from None
