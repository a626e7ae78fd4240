"""Exposures in FITS files.

What is written
---------------
==========  ==========================================================================================================
primary     no data; NEXTEND (number of extensions), L1KIND, VISIT, DETECTOR, BAND, MJD-AVG (middle of the exposure,
            TIMESYS = 'TAI'), EXPTIME (s), and the exposure's ``metadata``
IMAGE       float32 with BUNIT, L1CALIB (nJy per unit), L1APCOR (aperture correction) and the WCS
MASK        int32; ``MP_<name>`` = bit number of the plane, as LSST has it
UNCERT      float32 variance; UTYPE = 'VarianceUncertainty', as `astropy.nddata.CCDData` has it
PSFIMAGE    float64, the PSF at the centre of the image, for other readers (``CCDData.psf``)
PSFMODEL    table, the PSF itself: one row, or one for each node of a grid of PSFNX x PSFNY nodes, x fastest
NOISECOR    float64, autocorrelation of the noise; absent if it is white
==========  ==========================================================================================================

Compressed (the default), IMAGE and UNCERT are quantised to 1/16 of the noise of each row and dithered, MASK, PSFIMAGE
and NOISECOR are lossless.  ``CCDData.read(file, hdu="IMAGE")`` reads such a file, and plain ``CCDData.read(file)`` one
that is not compressed (astropy looks for uncompressed images only).  Every extension has a DATASUM, which reading
verifies.  No date is written: the same exposure gives the same bytes.

What is read
------------
The above; what ``CCDData.write`` writes; and the planes of LSST's exposures (IMAGE or the primary, MASK, VARIANCE),
whose PSF lies in an archive that only LSST's software opens.  Compressed or not, gzipped or not.  BUNIT is nJy or
another unit of flux density, which calibrates the image, or adu, electron or count (or one of them per second), which
needs L1CALIB, or LSST's FLUXMAG0.  DATE-AVG and ``LSST BUTLER DATAID`` cards are understood.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import re
import warnings
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from astropy import units
from astropy.io import fits
from astropy.io.fits.verify import VerifyWarning
from astropy.time import Time
from astropy.wcs import WCS, FITSFixedWarning
from numpy.typing import NDArray

from l1db.errors import InputError
from l1db.images.exposure import Exposure, check_wcs
from l1db.images.psf import GaussianPsf, GridPsf, ImagePsf, MoffatPsf, Psf, as_psf
from l1db.images.uri import read_bytes

_UNIT_SPELLINGS = {"ADU": "adu", "electrons": "electron", "counts": "count", "DN": "adu", "dn": "adu"}
_FLUXMAG0_NJY = 10**9 * 3630.780547701003  # AB magnitude 0, the flux of which FLUXMAG0 gives in counts
_WCS_CARD = re.compile(
    r"WCSAXES|(CRPIX|CDELT|CUNIT|CTYPE|CRVAL|CROTA)\d|(PC|CD)\d_\d|(PV|PS)\d_\d+|LONPOLE|LATPOLE|RADESYS|EQUINOX"
    r"|(A|B|AP|BP)_(ORDER|DMAX|\d+_\d+)"
)
_NOT_METADATA = re.compile(
    r"SIMPLE|BITPIX|NAXIS\d*|EXTEND|NEXTEND|GROUPS|PCOUNT|GCOUNT|BSCALE|BZERO|BLANK|CHECKSUM|DATASUM|INHERIT|EXTNAME|EXTVER"
    r"|EXTLEVEL|BUNIT|UTYPE|L1KIND|L1CALIB|L1APCOR|VISIT|DETECTOR|BAND|MJD-AVG|TIMESYS|MJDREF|EXPTIME|COMMENT|HISTORY|CONTINUE|END|"
    + _WCS_CARD.pattern
)
_FLOAT_CARD = 20  # characters that astropy cuts a number down to
_TILE_ROWS = 32
_RICE = {"compression_type": "RICE_1"}
_QUANTISED = {**_RICE, "quantize_level": 16.0, "quantize_method": 2}  # 2: SUBTRACTIVE_DITHER_2, which keeps zeros
_LOSSLESS = {"compression_type": "GZIP_2", "quantize_level": 0.0}
# The columns of PSFMODEL: position of the node, model and its parameters, and the image, flattened, of an image model.
_NODES = {
    "X": "D",
    "Y": "D",
    "MODEL": "8A",
    "FWHM": "D",
    "BETA": "D",
    "SIZE": "J",
    "OVERSAMP": "J",
    "PIXELINT": "L",
    "NY": "J",
    "NX": "J",
    "IMAGE": "PD()",
}


def write_exposure(exposure: Exposure, path: str | os.PathLike[str], *, compress: bool = True, seed: int = 1) -> str:
    """Write an exposure, whole or not at all.

    Parameters
    ----------
    exposure
        What to write.
    path
        Local path.  Gzipped as a whole if it ends in ``.gz``.
    compress
        Whether to compress the planes in tiles (RICE), which quantises image and variance to 1/16 of their noise: 1.8 %
        of it, added in quadrature.
    seed
        Of the dither, 1 to 10000.

    Returns
    -------
    str
        SHA-256 of the file, hexadecimal.  Equal exposures written by the same astropy have equal files.

    Raises
    ------
    InputError
        If a part of the exposure has no place in a FITS file, or the file cannot be written.
    """
    path = Path(path)
    if not 1 <= seed <= 10000:
        raise InputError(f"{path}: the seed of the dither is {seed}; give 1 to 10000")
    try:
        content = _content(exposure, compress, seed)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    if path.suffix == ".gz":
        content = gzip.compress(content, mtime=0)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_bytes(content)
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise InputError(f"{path}: cannot be written: {error.strerror or error}") from None
    return hashlib.sha256(content).hexdigest()


def read_exposure(uri: str | os.PathLike[str], *, psf: Psf | NDArray[Any] | None = None) -> Exposure:
    """Read an exposure.

    Parameters
    ----------
    uri
        Local path, or anything fsspec opens.
    psf
        The PSF, or an image of it, to be used in place of the file's.

    Raises
    ------
    InputError
        If the file is none, breaks off or is damaged, or lacks something an exposure needs.
    """
    name = os.fspath(uri)
    content = _unzipped(name, read_bytes(uri))
    if not content.startswith(b"SIMPLE  ="):
        raise InputError(f"{name}: is not a FITS file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _check_whole(content)
            with fits.open(io.BytesIO(content), memmap=False) as hdus:
                exposure = _exposure(hdus, psf)
                exposure.corners()  # a WCS that does not reach the border is refused here, where the file has a name
                return exposure
    except InputError as error:
        raise InputError(f"{name}: {error}") from None
    except Exception as error:  # what astropy raises for damaged files is anything
        reason = (str(error).splitlines() or [""])[0] or type(error).__name__
        raise InputError(f"{name}: is damaged, or FITS of another kind: {reason}") from error


def array_checksum(exposure: Exposure) -> str:
    """SHA-256, hexadecimal, over shape, image, variance and mask.

    It is that of the values: neither the FITS bytes that carry them nor the bits of a NaN matter.
    """
    digest = hashlib.sha256(np.array(exposure.shape, dtype="<i8").tobytes())
    for plane in (exposure.image, exposure.variance):
        values = plane.astype("<f4")
        values[np.isnan(values)] = np.nan
        digest.update(values.tobytes())
    digest.update(exposure.mask.astype("<i4").tobytes())
    return digest.hexdigest()


def card(keyword: str, value: str | int | float | bool, comment: str = "") -> fits.Card:
    """A header card; unlike astropy's own it keeps all digits of a floating point number."""
    if isinstance(value, float | np.floating) and len(repr(float(value))) > _FLOAT_CARD and len(keyword) <= 8:
        return fits.Card.fromstring(f"{keyword:8}= {float(value)!r} / {comment}".replace("e", "E", 1)[:80])
    return fits.Card(keyword if len(keyword) <= 8 and " " not in keyword else f"HIERARCH {keyword}", value, comment)


def wcs_cards(exposure: Exposure) -> list[fits.Card]:
    """The WCS, distortion included, if what a header can say of it leads to the same positions."""
    wcs = exposure.wcs
    cards = [fits.Card(c.keyword, c.value, c.comment) for c in wcs.to_header(relax=True).cards if _is_wcs(c.keyword)]
    ny, nx = exposure.shape
    x, y = (grid.ravel() for grid in np.meshgrid(np.linspace(0, nx - 1, 5), np.linspace(0, ny - 1, 5)))
    told, meant = (w.all_pix2world(x, y, 0, ra_dec_order=True) for w in (WCS(fits.Header(cards)), wcs))
    turn = (np.subtract(told, meant) + 180) % 360 - 180
    turn[0] *= np.cos(np.radians(meant[1]))
    if not np.abs(turn).max() < 1e-8:
        raise InputError("its WCS is not one that a FITS header can tell; give it as SIP or TPV")
    return cards


def plane_cards(planes: Mapping[str, int]) -> list[fits.Card]:
    """``MP_<name>`` = bit number, in the order of the bits."""
    for plane in planes:
        if not re.fullmatch(r"[A-Z0-9_-]{1,60}", plane):
            raise InputError(f"mask plane {plane!r} has no keyword; use A to Z, 0 to 9 and _")
    ordered = sorted(planes.items(), key=lambda item: item[1])
    return [card(f"MP_{plane}", bit, "" if len(plane) > 20 else "bit number") for plane, bit in ordered]


def calibration_cards(exposure: Exposure) -> list[fits.Card]:
    """What relates pixel values to fluxes."""
    return [
        card("BUNIT", exposure.unit, "unit of the pixels"),
        card("L1CALIB", float(exposure.calibration), "nJy per unit"),
        card("L1APCOR", float(exposure.aperture_correction), "factor on point-source fluxes"),
    ]


def identity_cards(exposure: Exposure) -> list[fits.Card]:
    """Which exposure it is."""
    facts: list[tuple[str, str | int | float | None, str]] = [
        ("L1KIND", exposure.kind, "what is shown"),
        ("VISIT", exposure.visit, "exposure"),
        ("DETECTOR", exposure.detector, "number of the detector"),
        ("BAND", exposure.band, "filter band"),
        ("MJD-AVG", _float(exposure.midpoint_mjd_tai), "[d] middle of the exposure, TAI"),
        ("TIMESYS", None if exposure.midpoint_mjd_tai is None else "TAI", "time scale"),
        # The default; said, it keeps astropy from warning that it works out DATE-AVG.
        ("MJDREF", None if exposure.midpoint_mjd_tai is None else 0.0, "[d] MJD of fiducial time"),
        ("EXPTIME", _float(exposure.exposure_time), "[s] exposure time"),
    ]
    return [card(keyword, value, comment) for keyword, value, comment in facts if value is not None]


def _float(value: float | None) -> float | None:
    return None if value is None else float(value)


# Writing


def _content(exposure: Exposure, compress: bool, seed: int) -> bytes:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", VerifyWarning)  # long comments are cut
        extensions = [
            _image("IMAGE", exposure.image, {**_QUANTISED, "dither_seed": seed} if compress else None),
            _image("MASK", exposure.mask, _RICE if compress else None),
            _image("UNCERT", exposure.variance, {**_QUANTISED, "dither_seed": seed} if compress else None),
            _image("PSFIMAGE", _central(exposure), _LOSSLESS if compress else None),
            _psf_table(exposure.psf),
        ]
        if exposure.noise_correlation is not None:
            noise = np.asarray(exposure.noise_correlation, dtype=np.float64)
            extensions.append(_image("NOISECOR", noise, _LOSSLESS if compress else None))
        image, mask, uncertainty = extensions[:3]
        for c in (*calibration_cards(exposure), *wcs_cards(exposure)):
            image.header.append(c, end=True)
        for c in plane_cards(exposure.planes):
            mask.header.append(c, end=True)
        uncertainty.header["UTYPE"] = "VarianceUncertainty"
        primary = fits.PrimaryHDU()
        primary.header.append(card("NEXTEND", len(extensions), "number of extensions"), end=True)
        for c in (*identity_cards(exposure), *_metadata_cards(exposure.metadata)):
            primary.header.append(c, end=True)
        file = io.BytesIO()
        fits.HDUList([primary, *extensions]).writeto(file, output_verify="exception")
    return _summed(_undated(file.getvalue()))


def _image(name: str, data: NDArray[Any], compression: Mapping[str, Any] | None) -> Any:
    if compression is None:
        return fits.ImageHDU(data, name=name)
    # Tiles of many rows are written twice as fast as the usual ones of a row, and are no larger.
    tile = (min(_TILE_ROWS, data.shape[0]), data.shape[1])
    return fits.CompImageHDU(data, name=name, tile_shape=tile, **compression)


def _central(exposure: Exposure) -> NDArray[np.float64]:
    ny, nx = exposure.shape
    central: NDArray[np.float64] = exposure.psf.stamps([(nx - 1) // 2], [(ny - 1) // 2])[0]
    return central


def _metadata_cards(metadata: Mapping[str, Any]) -> Iterator[fits.Card]:
    for keyword, value in metadata.items():
        if _NOT_METADATA.fullmatch(keyword.upper()):
            raise InputError(f"metadata {keyword} has a place of its own in an exposure, or in FITS; name it otherwise")
        if not isinstance(value, str | int | float | bool | np.generic):
            raise InputError(
                f"metadata {keyword} is {type(value).__name__}; strings, numbers and booleans can be written"
            )
        try:
            metadata_card = card(keyword.upper(), value.item() if isinstance(value, np.generic) else value)
            metadata_card.verify("exception")
            str(metadata_card)
        except (ValueError, OSError) as error:  # VerifyError is an OSError or ValueError, depending on astropy
            raise InputError(f"metadata {keyword} cannot be written: {(str(error).splitlines() or [''])[0]}") from None
        yield metadata_card


def _undated(content: bytes) -> bytes:
    """The file without the times that astropy's tiles have in them.

    A tile that does not quantise (constant, or with NaN) is gzipped, and gzip notes when.
    """
    bare = bytearray(content)
    with fits.open(io.BytesIO(content), memmap=False, disable_image_compression=True) as hdus:
        for i, hdu in enumerate(hdus):
            if not hdu.header.get("ZIMAGE"):
                continue
            heap = hdus.fileinfo(i)["datLoc"] + hdu.header.get("THEAP", hdu.header["NAXIS1"] * hdu.header["NAXIS2"])
            rows = hdu.data.view(np.ndarray)
            columns = ["GZIP_COMPRESSED_DATA"] if "GZIP_COMPRESSED_DATA" in rows.dtype.names else []
            if hdu.header["ZCMPTYPE"].startswith("GZIP"):
                columns.append("COMPRESSED_DATA")
            for column in columns:
                for length, offset in rows[column].tolist():
                    if length:
                        bare[heap + offset + 4 : heap + offset + 8] = bytes(4)
    return bytes(bare)


def _summed(content: bytes) -> bytes:
    """The file with DATASUM in each of its extensions."""
    file = io.BytesIO()
    with fits.open(io.BytesIO(content), memmap=False, disable_image_compression=True) as hdus:
        for i, hdu in enumerate(hdus):
            if i:
                place = hdus.fileinfo(i)
                data = memoryview(content)[place["datLoc"] : place["datLoc"] + place["datSpan"]]
                hdu.header.append(card("DATASUM", str(_datasum(data)), "sum of the data"), end=True)
        hdus.writeto(file)
    return file.getvalue()


def _datasum(data: memoryview) -> int:
    """The ones' complement sum of 32-bit words of the FITS checksum convention."""
    total = int(np.frombuffer(data, dtype=">u4").sum(dtype=np.uint64))
    while total >> 32:
        total = (total & 0xFFFFFFFF) + (total >> 32)
    return total


def _psf_table(psf: Psf) -> Any:
    nx = ny = 0
    nodes, x, y = [psf], np.zeros(1), np.zeros(1)
    if isinstance(psf, GridPsf):
        nx, ny = len(psf.x), len(psf.y)
        nodes = [as_psf(node) for row in psf.psfs for node in row]
        x, y = np.tile(psf.x, ny), np.repeat(psf.y, nx)
    rows = [_node(node) | {"X": x[i], "Y": y[i]} for i, node in enumerate(nodes)]
    columns = []
    for name, form in _NODES.items():
        values = np.empty(len(rows), dtype=object)
        values[:] = [row[name] for row in rows]
        columns.append(fits.Column(name, form, array=values if name == "IMAGE" else np.array(values.tolist())))
    table = fits.BinTableHDU.from_columns(columns, name="PSFMODEL")
    table.header["PSFNX"] = (nx, "nodes along x; 0: the PSF is constant")
    table.header["PSFNY"] = (ny, "nodes along y")
    return table


def _node(psf: Psf) -> dict[str, Any]:
    row: dict[str, Any] = {"FWHM": psf.fwhm, "BETA": 0.0, "SIZE": psf.size, "OVERSAMP": 1, "PIXELINT": True}
    row |= {"NY": 0, "NX": 0, "IMAGE": np.empty(0)}
    if isinstance(psf, GaussianPsf):
        return row | {"MODEL": "GAUSSIAN"}
    if isinstance(psf, MoffatPsf):
        return row | {"MODEL": "MOFFAT", "BETA": psf.beta}
    if isinstance(psf, ImagePsf):
        ny, nx = psf.array.shape
        row |= {"MODEL": "IMAGE", "NY": ny, "NX": nx, "IMAGE": psf.array.ravel()}
        return row | {"OVERSAMP": psf.oversampling, "PIXELINT": psf.pixel_integrated}
    raise InputError(f"a PSF of type {type(psf).__name__} has no place in a file; sample it as a GridPsf of ImagePsf")


# Reading


def _unzipped(name: str, content: bytes) -> bytes:
    if not content.startswith(b"\x1f\x8b"):
        return content
    try:
        return gzip.decompress(content)
    except (EOFError, OSError, zlib.error):
        raise InputError(f"{name}: is a truncated or damaged gzip file") from None


def _check_whole(content: bytes) -> None:
    """That the file ends where its headers say, holds as many extensions as they say, and their data are undamaged."""
    again = "copy or write it again"
    with fits.open(io.BytesIO(content), memmap=False, disable_image_compression=True, lazy_load_hdus=False) as hdus:
        end = 0
        for i, hdu in enumerate(hdus):
            place = hdus.fileinfo(i)
            end = place["datLoc"] + place["datSpan"]
            if end > len(content):
                raise InputError(f"is truncated in extension {hdu.name or i}; {again}")
            expected = str(hdu.header.get("DATASUM", "")).strip()
            if expected.isdigit() and int(expected) != _datasum(memoryview(content)[place["datLoc"] : end]):
                raise InputError(f"is damaged: extension {hdu.name or i} does not have the DATASUM it claims; {again}")
        if content[end:].strip(b"\0 "):
            raise InputError(f"is truncated or damaged after extension {len(hdus) - 1}; {again}")
        extensions = hdus[0].header.get("NEXTEND")
        if isinstance(extensions, int) and extensions > len(hdus) - 1:
            raise InputError(f"is truncated: it has {len(hdus) - 1} extensions and claims {extensions}; {again}")


def _exposure(hdus: Any, psf: Psf | NDArray[Any] | None) -> Exposure:
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
        if isinstance(c.value, str | int | float | bool) and not _NOT_METADATA.fullmatch(c.keyword) and c.keyword
    }
    noise = _plane(named["NOISECOR"], "NOISECOR", None).astype(np.float64) if "NOISECOR" in named else None
    return Exposure(
        image=pixels,
        variance=_variance(named, pixels.shape),
        mask=mask,
        planes=planes,
        wcs=_wcs(image.header),
        psf=as_psf(psf) if psf is not None else _psf(named),
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
            wcs = WCS(fits.Header([c for c in header.cards if _is_wcs(c.keyword)]))
    except Exception as error:  # wcslib's errors are of many kinds
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise InputError(f"has an invalid WCS: {lines[-1] if lines else type(error).__name__}") from None
    check_wcs(wcs)
    return wcs


def _is_wcs(keyword: str) -> bool:
    return _WCS_CARD.fullmatch(keyword) is not None


def _psf(named: Mapping[str, Any]) -> Psf:
    if "PSFMODEL" in named:
        return _psf_model(named["PSFMODEL"])
    if "PSFIMAGE" in named:
        return as_psf(_plane(named["PSFIMAGE"], "PSFIMAGE", None))
    raise InputError(
        "has no PSF that l1db reads (an LSST archive is none); give psf=, or add its image as extension PSFIMAGE"
    )


def _psf_model(hdu: Any) -> Psf:
    missing = [name for name in _NODES if name not in (hdu.columns.names if isinstance(hdu, fits.BinTableHDU) else ())]
    nx, ny = hdu.header.get("PSFNX", 0), hdu.header.get("PSFNY", 0)
    if missing or len(hdu.data) != max(nx * ny, 1):
        raise InputError("PSFMODEL is not a table as l1db writes it; remove it, or give psf=")
    rows = [{name: hdu.data[name][i] for name in _NODES} for i in range(len(hdu.data))]
    models = [_model(row) for row in rows]
    if not nx * ny:
        return models[0]
    x = np.array([row["X"] for row in rows[:nx]], dtype=np.float64)
    y = np.array([row["Y"] for row in rows[::nx]], dtype=np.float64)
    return GridPsf([models[i : i + nx] for i in range(0, nx * ny, nx)], x, y)


def _model(row: Mapping[str, Any]) -> Psf:
    name = str(row["MODEL"]).strip()
    if name == "GAUSSIAN":
        return GaussianPsf(float(row["FWHM"]), int(row["SIZE"]))
    if name == "MOFFAT":
        return MoffatPsf(float(row["FWHM"]), float(row["BETA"]), int(row["SIZE"]))
    if name == "IMAGE":
        array = np.asarray(row["IMAGE"], dtype=np.float64).reshape(int(row["NY"]), int(row["NX"]))
        return ImagePsf(array, int(row["OVERSAMP"]), bool(row["PIXELINT"]))
    raise InputError(f"PSFMODEL has a model {name!r}; GAUSSIAN, MOFFAT and IMAGE are known")


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
