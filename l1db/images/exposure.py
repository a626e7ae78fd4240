"""One image of a detector with everything that measuring on it needs."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.wcs import WCS
from astropy.wcs.utils import proj_plane_pixel_scales
from numpy.typing import ArrayLike, NDArray

from l1db.errors import InputError

if TYPE_CHECKING:
    from l1db.images.psf import Psf

FloatArray = NDArray[np.float64]

# The planes of LSST's masks and their usual bits.
MASK_PLANES: Mapping[str, int] = {
    "BAD": 0,
    "SAT": 1,
    "INTRP": 2,
    "CR": 3,
    "EDGE": 4,
    "DETECTED": 5,
    "DETECTED_NEGATIVE": 6,
    "SUSPECT": 7,
    "NO_DATA": 8,
    "STREAK": 9,
}
# Those whose pixels no flux is taken from.
BAD_PLANES = ("BAD", "SAT", "CR", "NO_DATA", "EDGE")

# How well the footprint follows the border of the image, arcsec, and the most segments an edge is cut into for it.
FOOTPRINT_TOLERANCE = 0.1
_MOST_SEGMENTS = 256
# A position whose pixel does not lead back to it within this part of a pixel has none.
_CLOSES = 1e-3
_ARCSEC = np.radians(1 / 3600)


@dataclass(frozen=True, eq=False)
class Exposure:
    """Image, variance and mask of one detector, and what relates them to the sky and to fluxes.

    Arrays are [y, x]; (0, 0) is the centre of the lower left pixel, x runs along axis 1.

    Parameters
    ----------
    image
        Shape (ny, nx), float32, in units of ``unit``.  NaN where there is none.
    variance
        Shape (ny, nx), float32, in the square of that unit.
    mask
        Shape (ny, nx), int32; the bits are named by ``planes``.
    planes
        Bit number, 0 to 31, of each mask plane by its name.
    wcs
        Celestial, equatorial, ICRS (FK5 of J2000 is taken for it; they differ by 0.02 arcsec); distortions as SIP or in
        the projection (TPV, ...), not as tables.
    psf
        The point-spread function.
    calibration
        nJy per unit of the image.
    aperture_correction
        Factor on flux and error of a point source, for the wings beyond the PSF's stamp.
    noise_correlation
        Autocorrelation of the noise: odd in both dimensions, 1 at the centre.  None if the noise is white.
    unit
        Of the image, as FITS spells it.  By default nJy if ``calibration`` is 1, else adu.
    kind
        What is shown: difference, science, template or snap_difference.
    visit, detector, band
        Which exposure it is.
    midpoint_mjd_tai
        Middle of the exposure, MJD TAI.
    exposure_time
        Seconds.
    metadata
        Further facts by FITS keyword: strings, numbers, booleans.

    Raises
    ------
    InputError
        If the parts do not fit each other.
    """

    image: NDArray[np.float32]
    variance: NDArray[np.float32]
    mask: NDArray[np.int32]
    planes: Mapping[str, int]
    wcs: WCS
    psf: Psf
    calibration: float = 1.0
    aperture_correction: float = 1.0
    noise_correlation: FloatArray | None = None
    unit: str = ""
    kind: str | None = None
    visit: int | None = None
    detector: int | None = None
    band: str | None = None
    midpoint_mjd_tai: float | None = None
    exposure_time: float | None = None
    metadata: Mapping[str, str | int | float | bool] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, dtype in (("image", np.float32), ("variance", np.float32), ("mask", np.int32)):
            object.__setattr__(self, name, np.ascontiguousarray(getattr(self, name), dtype=dtype))
        if self.image.ndim != 2 or 0 in self.image.shape:
            raise InputError(f"the image has shape {self.image.shape}; (ny, nx) is needed")
        for name in ("variance", "mask"):
            if (shape := getattr(self, name).shape) != self.image.shape:
                raise InputError(f"the {name} has shape {shape}, the image {self.image.shape}; they must be equal")
        bits = list(self.planes.values())
        if len({*bits}) != len(bits) or not all(0 <= bit <= 31 for bit in bits):
            raise InputError(f"mask planes need a bit of their own each, from 0 to 31; given {dict(self.planes)}")
        for name in ("calibration", "aperture_correction"):
            value = getattr(self, name)
            if not (np.isfinite(value) and value > 0):
                raise InputError(f"{name} is {value}; a positive number is needed")
        if self.noise_correlation is not None:
            _check_noise_correlation(np.asarray(self.noise_correlation))
        if not self.unit:
            object.__setattr__(self, "unit", "nJy" if self.calibration == 1 else "adu")
        check_wcs(self.wcs)

    @property
    def shape(self) -> tuple[int, int]:
        """Pixels: (ny, nx)."""
        ny, nx = self.image.shape
        return ny, nx

    @cached_property
    def _pixel_scale(self) -> float:
        """Side of a pixel where it is smallest, as an angle in radians."""
        return float(np.radians(np.min(proj_plane_pixel_scales(self.wcs))))

    def bits(self, *names: str) -> int:
        """The bit mask of the planes named, fit for ``mask & bits``; planes that this mask does not have give none."""
        bits = sum(1 << bit for bit in {self.planes[name] for name in names if name in self.planes})
        return bits - (1 << 32) if bits >> 31 else bits

    def sky(self, x: ArrayLike, y: ArrayLike) -> tuple[FloatArray, FloatArray]:
        """Right ascension in [0, 360) and declination of pixel positions, degrees; NaN where the WCS has none."""
        x, y = np.broadcast_arrays(np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64))
        with np.errstate(all="ignore"):
            ra, dec = self.wcs.all_pix2world(x.ravel(), y.ravel(), 0, ra_dec_order=True)
            ra = np.where(ra % 360.0 == 360.0, 0.0, ra % 360.0)
        return ra.reshape(x.shape), dec.reshape(x.shape)

    def pixel(self, ra: ArrayLike, dec: ArrayLike) -> tuple[FloatArray, FloatArray]:
        """Pixel positions x, y of positions on the sky in degrees, on the image or off it.

        NaN where there is none: the other side of the sky, or so far off that the inverse of a distortion does not
        lead back to where it started from.
        """
        ra, dec = np.broadcast_arrays(np.asarray(ra, dtype=np.float64), np.asarray(dec, dtype=np.float64))
        if ra.size == 0:
            return np.empty(ra.shape), np.empty(ra.shape)
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            x, y = self.wcs.all_world2pix(ra.ravel(), dec.ravel(), 0, ra_dec_order=True, tolerance=1e-7, quiet=True)
            back = _unit_vectors(*self.sky(x, y))
            strays = np.linalg.norm(back - _unit_vectors(ra.ravel(), dec.ravel()), axis=-1)
            found = strays < _CLOSES * self._pixel_scale
        return np.where(found, x, np.nan).reshape(ra.shape), np.where(found, y, np.nan).reshape(ra.shape)

    def corners(self) -> FloatArray:
        """The footprint: the outer edge of the outermost pixels, on the sky.

        Returns
        -------
        ndarray, shape (k, 2)
            Right ascension in [0, 360) and declination, degrees, in order around the border: the four corners and,
            where a distortion bends an edge away from the great circle between them, as many points between as bring
            the polygon to within 0.1 arcsec of it.

        Raises
        ------
        InputError
            If the WCS does not reach the border, or bends too wildly to be followed.
        """
        ny, nx = self.shape
        ring = np.array([(-0.5, -0.5), (nx - 0.5, -0.5), (nx - 0.5, ny - 0.5), (-0.5, ny - 0.5)])
        edges = [self._edge(ring[i], ring[(i + 1) % 4]) for i in range(4)]
        return np.concatenate(edges)

    def _edge(self, start: FloatArray, end: FloatArray) -> FloatArray:
        """Points on the sky from ``start`` (included) to ``end`` (not included), pixels; great circles between."""
        n = 1
        while n <= _MOST_SEGMENTS:
            # Four steps a segment: an S bend has no sagitta in the middle.
            along = np.linspace(start, end, 4 * n + 1)
            ra, dec = self.sky(along[:, 0], along[:, 1])
            if not np.isfinite([ra, dec]).all():
                raise InputError("the WCS has no sky position at the border of the image; is it that of this image?")
            points = _unit_vectors(ra, dec)
            nodes = points[::4]
            normal = np.cross(nodes[:-1], nodes[1:])
            normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), np.finfo(float).tiny)
            inner = points[:-1].reshape(n, 4, 3)
            if np.abs(np.einsum("nij,nj->ni", inner, normal)).max() < FOOTPRINT_TOLERANCE / 2 * _ARCSEC:
                return np.stack([ra[:-1:4], dec[:-1:4]], axis=1)
            n *= 2
        raise InputError("the WCS bends too much at the border of the image to be followed; is its distortion right?")


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


def check_wcs(wcs: WCS) -> None:
    """Raise InputError, with a message that completes "FILE: ...", if a WCS cannot serve an `Exposure`."""
    if wcs.naxis != 2 or not wcs.has_celestial:
        raise InputError("has no celestial WCS in two dimensions; CTYPE1, CTYPE2, CRVAL, CRPIX and CD or PC are needed")
    try:
        wcs.wcs.set()
        area = abs(np.linalg.det(wcs.pixel_scale_matrix))
    except (ValueError, np.linalg.LinAlgError) as error:  # wcslib's errors are ValueErrors and say what is wrong
        line = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise InputError(f"has an invalid WCS: {line[-1] if line else type(error).__name__}") from None
    if not (np.isfinite(area) and area > 0):
        raise InputError("has an invalid WCS: its CD or PC matrix is singular")
    if wcs.wcs.lngtyp.strip() != "RA":
        raise InputError(f"has a WCS in {wcs.wcs.lngtyp.strip()}; right ascension and declination are needed")
    if not _is_icrs(wcs):
        raise InputError(
            f"has a WCS in {wcs.wcs.radesys} of {wcs.wcs.equinox:g}; positions must be in ICRS (or FK5 of J2000)"
        )
    if any(table is not None for table in (wcs.cpdis1, wcs.cpdis2, wcs.det2im1, wcs.det2im2)):
        raise InputError("has a WCS with distortion tables; give the distortion as SIP or TPV")


def _is_icrs(wcs: WCS) -> bool:
    system, equinox = wcs.wcs.radesys.strip().upper(), wcs.wcs.equinox
    return system in ("", "ICRS") or (system == "FK5" and (np.isnan(equinox) or equinox == 2000.0))


def _check_noise_correlation(kernel: NDArray[Any]) -> None:
    if kernel.ndim != 2 or not all(n % 2 for n in kernel.shape):
        raise InputError(f"noise_correlation has shape {kernel.shape}; two odd dimensions are needed")
    if not np.isfinite(kernel).all() or abs(kernel[kernel.shape[0] // 2, kernel.shape[1] // 2] - 1) > 1e-6:
        raise InputError("noise_correlation must be finite, and 1 at its centre")


def _unit_vectors(ra: FloatArray, dec: FloatArray) -> FloatArray:
    lon, lat = np.radians(ra), np.radians(dec)
    return np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=-1)
