"""The table PSFMODEL: a PSF by its model and parameters, at each node of a grid."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from astropy.io import fits

from l1db.errors import InputError
from l1db.images.psf import GaussianPsf, GridPsf, ImagePsf, MoffatPsf, Psf, as_psf

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


def psf_table(psf: Psf) -> Any:
    """The extension that tells the PSF."""
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


def psf_model(hdu: Any) -> Psf:
    """The PSF that the extension tells."""
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
