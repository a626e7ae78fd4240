"""Exposures written to FITS files."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.io.fits.verify import VerifyWarning
from numpy.typing import NDArray

from l1db.errors import InputError
from l1db.images.exposure import Exposure
from l1db.images.fits.cards import calibration_cards, card, identity_cards, is_metadata, plane_cards, wcs_cards
from l1db.images.fits.file_bytes import summed, undated
from l1db.images.fits.psf_table import psf_table

_TILE_ROWS = 32
_RICE = {"compression_type": "RICE_1"}
_QUANTISED = {**_RICE, "quantize_level": 16.0, "quantize_method": 2}  # 2: SUBTRACTIVE_DITHER_2, which keeps zeros
_LOSSLESS = {"compression_type": "GZIP_2", "quantize_level": 0.0}


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


def _content(exposure: Exposure, compress: bool, seed: int) -> bytes:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", VerifyWarning)  # long comments are cut
        extensions = [
            _image("IMAGE", exposure.image, {**_QUANTISED, "dither_seed": seed} if compress else None),
            _image("MASK", exposure.mask, _RICE if compress else None),
            _image("UNCERT", exposure.variance, {**_QUANTISED, "dither_seed": seed} if compress else None),
            _image("PSFIMAGE", _central(exposure), _LOSSLESS if compress else None),
            psf_table(exposure.psf),
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
    return summed(undated(file.getvalue()))


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
        if not is_metadata(keyword.upper()):
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
