"""Whether an image is the one that it was handed in as, by what its file says of itself."""

from __future__ import annotations

from l1db.errors import InputError
from l1db.images.exposure import Exposure
from l1db.visit import Visit

_DAY = 86_400.0


def refuse_other(exposure: Exposure, uri: str, kind: str, detector: int, visit: int, exposed: Visit | None) -> None:
    """Raise InputError if a file contradicts what it was handed in as.

    What the file does not state is taken on trust.  Its midpoint may be off by the exposure time.

    Parameters
    ----------
    exposure, uri
        What was read, and where from.
    kind, detector, visit
        What it should be.
    exposed
        What else is known of the visit, if anything.
    """
    expected = [
        ("kind", exposure.kind, kind),
        ("visit", exposure.visit, visit),
        ("detector", exposure.detector, detector),
    ]
    if exposed is not None:
        expected.append(("band", exposure.band, exposed.band))
    differs = [
        f"{name} {stated}, not {wanted}" for name, stated, wanted in expected if stated is not None and stated != wanted
    ]
    if exposed is not None and exposure.midpoint_mjd_tai is not None:
        off = (exposure.midpoint_mjd_tai - exposed.midpoint_mjd_tai) * _DAY
        lasted = exposed.exposure_time if exposed.exposure_time is not None else exposure.exposure_time
        if lasted is not None and abs(off) > lasted:
            differs.append(
                f"midpoint {exposure.midpoint_mjd_tai:.6f} MJD TAI, not {exposed.midpoint_mjd_tai:.6f} ({off:+.1f} s)"
            )
    if differs:
        raise InputError(f"{uri}: is another image, its header says: {'; '.join(differs)}")
