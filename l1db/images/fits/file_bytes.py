"""The bytes of a FITS file: without dates, with the sums of its data, and whole."""

from __future__ import annotations

import io

import numpy as np
from astropy.io import fits

from l1db.errors import InputError
from l1db.images.fits.cards import card


def undated(content: bytes) -> bytes:
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


def summed(content: bytes) -> bytes:
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


def check_whole(content: bytes) -> None:
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


def _datasum(data: memoryview) -> int:
    """The ones' complement sum of 32-bit words of the FITS checksum convention."""
    total = int(np.frombuffer(data, dtype=">u4").sum(dtype=np.uint64))
    while total >> 32:
        total = (total & 0xFFFFFFFF) + (total >> 32)
    return total
