"""Small images around positions on the sky, as the bytes of FITS files.

A cutout shows the pixels of its exposure as they are: neither resampled nor rescaled.  Its layout is that of Rubin's
alerts, which is that of `astropy.nddata.CCDData`, with a mask and a full WCS:

==========  ==========================================================================================================
primary     float32 image; BUNIT, L1CALIB (nJy per unit), L1APCOR, the exposure's WCS with CRPIX moved, distortions
            included, L1KIND, VISIT, DETECTOR, BAND, MJD-AVG (TIMESYS = 'TAI'), EXPTIME, CUTMINX, CUTMINY
MASK        int32, with ``MP_<name>`` = bit number
UNCERT      float32 variance, UTYPE = 'VarianceUncertainty'
PSFIMAGE    float32, the PSF at the position, centred on the central pixel, sum 1
==========  ==========================================================================================================

CUTMINX and CUTMINY are, as in Rubin's, what has to be added to a FITS pixel coordinate of the cutout, which counts from
1, for the pixel coordinate on the exposure, which counts from 0.

Why not CCDData.write, which manages 160 to 300 a second: for each cutout astropy makes four HDUs anew.  Some sixty
cards become objects that are formatted, parsed and verified one by one, the headers several times over, and astropy's
configuration is asked 470 times on the way, which alone is a quarter of the time; the pixels are hardly any of it.
But all that text is the same in every cutout of an exposure, save a few numbers.  So here it is made once; the cutouts
are rows of one array of records, in which the pixels and those numbers are fields, and numpy fills field by field.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from astropy.io import fits
from numpy.typing import ArrayLike, NDArray

from l1db.errors import InputError
from l1db.images.exposure import Exposure
from l1db.images.fits.cards import calibration_cards, identity_cards, plane_cards, wcs_cards
from l1db.images.psf import GaussianPsf, ImagePsf, MoffatPsf

FloatArray = NDArray[np.float64]

# Pixels: what an alert is to show at least, and the largest that Rubin cuts.
SMALLEST, LARGEST = 30, 102

_BLOCK = 2880  # bytes in which FITS counts
_AT_ONCE = 64  # cutouts: their bytes stay in the cache
_SIDE = b"%20s" % b"?"  # stands for the width of an image until that is known
_PATCHED = ("CUTMINX", "CUTMINY", "CRPIX1", "CRPIX2")


def cutout_fits(exposure: Exposure, ra: float, dec: float, size: int = SMALLEST) -> bytes | None:
    """One cutout; see `cutouts`, which for more than one is faster by far."""
    return cutouts(exposure, [ra], [dec], [size])[0]


def cutouts(exposure: Exposure, ra: ArrayLike, dec: ArrayLike, sizes: ArrayLike = SMALLEST) -> list[bytes | None]:
    """Cut an exposure out around positions on the sky.

    Parameters
    ----------
    exposure
        What to cut.
    ra, dec
        Shape (n,), degrees, ICRS.
    sizes
        Sides in pixels, shape (n,) or one for all, as ``bbox_size`` of a DiaSource; taken as 30 if less, 102 if more.

    Returns
    -------
    list of bytes or None
        FITS files.  The position is within half a pixel of the middle of each, also where that is beyond the border of
        the exposure: pixels that are not on it are NaN in image and variance and NO_DATA in the mask (a plane that is
        added where the exposure has none).  None where not a single pixel of the cutout is on the exposure.

    Raises
    ------
    InputError
        If positions and sizes do not fit each other, or the mask has no bit left for NO_DATA.
    """
    try:
        ra, dec = np.atleast_1d(np.asarray(ra, dtype=float)), np.atleast_1d(np.asarray(dec, dtype=float))
        wanted = np.broadcast_to(np.asarray(sizes, dtype=float), ra.shape)
    except (TypeError, ValueError) as error:
        raise InputError(f"cutouts need numbers, as many sizes as positions or one: {error}") from None
    if ra.ndim != 1 or ra.shape != dec.shape:
        raise InputError(f"cutouts need as many ra as dec, in one dimension, not shapes {ra.shape} and {dec.shape}")
    if np.isnan(wanted).any():
        raise InputError("a cutout's size is not a number")
    sides = np.clip(wanted, SMALLEST, LARGEST).astype(np.int64)
    x, y = exposure.pixel(ra, dec)
    ny, nx = exposure.shape
    with np.errstate(invalid="ignore"):
        x0, y0 = np.ceil(x - sides / 2), np.ceil(y - sides / 2)
        shown = (x0 < nx) & (x0 + sides > 0) & (y0 < ny) & (y0 + sides > 0)
    results: list[bytes | None] = [None] * len(ra)
    if not shown.any():
        return results
    layout = _Layout(exposure)
    for side in np.unique(sides[shown]).tolist():
        group = np.flatnonzero(shown & (sides == side))
        for start in range(0, len(group), _AT_ONCE):
            chosen = group[start : start + _AT_ONCE]
            corner = x0[chosen].astype(np.int64), y0[chosen].astype(np.int64)
            files = layout.files(side, *corner, layout.psf_stamps(x[chosen], y[chosen]))
            for i, file in zip(chosen.tolist(), files, strict=True):
                results[i] = file
    return results


class _Layout:
    """What the cutouts of one exposure have in common: headers, and where in a file everything stands."""

    def __init__(self, exposure: Exposure) -> None:
        planes = {**exposure.planes}
        if "NO_DATA" not in planes:
            free = {*range(32)} - {*planes.values()}
            if not free:
                raise InputError("the mask has no bit left for NO_DATA, which cutouts need")
            planes["NO_DATA"] = min(free)
        self.exposure = exposure
        self.no_data = np.array(1 << planes["NO_DATA"], dtype=np.uint32).astype(np.int32)
        self.crpix = [float(value) for value in exposure.wcs.wcs.crpix]
        # At the centre of a pixel such a model looks the same everywhere.
        psf = exposure.psf
        self.constant_psf = _centred(psf) if isinstance(psf, GaussianPsf | MoffatPsf | ImagePsf) else None
        corner = [fits.Card(f"CUTMIN{axis}", 0, "first pixel on the detector, from 0, less 1") for axis in "XY"]
        axes, *wcs = [card for card in wcs_cards(exposure) if card.keyword not in _PATCHED]  # WCSAXES comes first
        crpix = [fits.Card(f"CRPIX{i}", 0.0, "Pixel coordinate of reference point") for i in (1, 2)]
        about = [*corner, *calibration_cards(exposure), *identity_cards(exposure), axes, *crpix, *wcs]
        self.headers = {
            "image": _header(None, -32, about),
            "mask": _header("MASK", 32, plane_cards(planes)),
            "variance": _header("UNCERT", -32, [fits.Card("UTYPE", "VarianceUncertainty")]),
            "psf": _header("PSFIMAGE", -32, []),
        }

    def psf_stamps(self, x: FloatArray, y: FloatArray) -> FloatArray:
        """The PSF at each position, centred, shape (n, size, size); of a constant PSF, shape (1, size, size)."""
        if self.constant_psf is not None:
            return self.constant_psf
        return self.exposure.psf.stamps(np.floor(x + 0.5), np.floor(y + 0.5))

    def files(self, side: int, x0: NDArray[np.int64], y0: NDArray[np.int64], psf: FloatArray) -> list[bytes]:
        """Cutouts of ``side`` pixels whose lower left pixels are (x0, y0), on the exposure or beyond it."""
        exposure, (ny, nx) = self.exposure, self.exposure.shape
        template, layout = self._template(side)
        files = np.tile(np.frombuffer(template, dtype=np.uint8), (len(x0), 1))
        record = files.view(layout)[:, 0]
        rows, columns = y0[:, None] + np.arange(side), x0[:, None] + np.arange(side)
        pixels = rows.clip(0, ny - 1)[:, :, None], columns.clip(0, nx - 1)[:, None, :]
        record["image"], record["mask"] = exposure.image[pixels], exposure.mask[pixels]
        record["variance"] = exposure.variance[pixels]
        on_rows, on_columns = (rows >= 0) & (rows < ny), (columns >= 0) & (columns < nx)
        for i in np.flatnonzero(~(on_rows.all(axis=1) & on_columns.all(axis=1))):
            beyond = ~(on_rows[i][:, None] & on_columns[i])
            record["image"][i][beyond] = record["variance"][i][beyond] = np.nan
            record["mask"][i][beyond] = self.no_data
        record["psf"] = psf
        for axis, start, crpix in (("X", x0, self.crpix[0]), ("Y", y0, self.crpix[1])):
            record[f"image CUTMIN{axis}"] = [b"%20d" % value for value in (start - 1).tolist()]
            record[f"image CRPIX{1 + (axis == 'Y')}"] = [_number(value) for value in (crpix - start).tolist()]
        return [file.tobytes() for file in files]

    def _template(self, side: int) -> tuple[bytes, np.dtype[np.void]]:
        """A file with all that is common filled in, and as a record whose fields are what is not."""
        formats: dict[str, tuple[str, int]] = {}
        content = b""
        for plane, header in self.headers.items():
            width = self.exposure.psf.size if plane == "psf" else side
            header = header.replace(_SIDE, b"%20d" % width)
            for keyword in _PATCHED:
                if (at := header.find(b"%-8s= " % keyword.encode())) >= 0:
                    formats[f"{plane} {keyword}"] = ("S20", len(content) + at + 10)
            content += header
            formats[plane] = (f"({width},{width}){'>i4' if plane == 'mask' else '>f4'}", len(content))
            content += bytes(-(-4 * width**2 // _BLOCK) * _BLOCK)
        names, (forms, offsets) = list(formats), zip(*formats.values(), strict=True)
        return content, np.dtype({"names": names, "formats": forms, "offsets": offsets, "itemsize": len(content)})


@lru_cache(maxsize=64)
def _centred(psf: GaussianPsf | ImagePsf | MoffatPsf) -> FloatArray:
    """A PSF at the centre of a pixel; images of one visit often have the same, which then is made once."""
    return psf.stamps([0.0], [0.0])


def _header(name: str | None, bitpix: int, cards: Sequence[fits.Card]) -> bytes:
    """The header of an image of whatever width, which stands in it as `_SIDE`, twice."""
    first = [("SIMPLE", True)] if name is None else [("XTENSION", "IMAGE")]
    header = fits.Header([*first, ("BITPIX", bitpix), ("NAXIS", 2), ("NAXIS1", 0), ("NAXIS2", 0)])
    if name is None:
        header["EXTEND"] = True
    else:
        header["PCOUNT"], header["GCOUNT"], header["EXTNAME"] = 0, 1, name
    for card in cards:
        header.append(card, end=True)
    text: str = header.tostring()
    for axis in ("NAXIS1", "NAXIS2"):
        text = text.replace(f"{axis:8}= {0:20d}", f"{axis:8}= {_SIDE.decode()}", 1)
    return text.encode("ascii")


def _number(value: float) -> bytes:
    """A number in the 20 characters a header has for it."""
    text = b"%20.12f" % value
    return text if len(text) == 20 else b"%20.13E" % value
