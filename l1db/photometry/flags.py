"""What may be said against a forced measurement, as the bits of one integer."""

from __future__ import annotations

import operator
from enum import IntFlag


class ForcedFlag(IntFlag):
    """Bits of the column ``flags``; the stamp is the square of pixels that a position is measured on.

    ==================  ====  =====================================================================================
    EDGE_CLIPPED           1  The stamp reaches over the border of the image.
    OFFIMAGE_CENTRE        2  The position lies off the image, or is not finite.
    NO_GOOD_PIXELS         4  Nothing could be measured: flux and error are NaN.
    MASKED_CENTRE          8  A pixel of the central 3 x 3 is bad: masked, not finite, or without usable variance.
    LOW_PSF_FRACTION      16  The good pixels hold less than half of the sum of the squared PSF.
    SATURATED             32  A pixel of the stamp has one of the ``saturated_bits``.
    NODATA_VARIANCE       64  A pixel of the stamp has a variance that is not positive and finite.
    BLENDED_JOINT        128  Fitted together with neighbours.
    EXTRAPOLATED_PSF     256  The position lies outside the nodes between which the PSF is known.
    BLENDED_UNRESOLVED   512  A neighbour is too close to be told apart and left out, or there are too many to fit.
    FAILED              1024  The position is not finite, or the result fits no ``real``: flux and error are NaN.
    ASSUMED_PSF         2048  The image came without a PSF, of which only the width is known; set by `l1db.forced`.
    ==================  ====  =====================================================================================

    ``EDGE_CLIPPED`` and ``BLENDED_JOINT`` tell how a flux was measured, and say nothing against it.
    """

    EDGE_CLIPPED = 1
    OFFIMAGE_CENTRE = 2
    NO_GOOD_PIXELS = 4
    MASKED_CENTRE = 8
    LOW_PSF_FRACTION = 16
    SATURATED = 32
    NODATA_VARIANCE = 64
    BLENDED_JOINT = 128
    EXTRAPOLATED_PSF = 256
    BLENDED_UNRESOLVED = 512
    FAILED = 1024
    ASSUMED_PSF = 2048

    @classmethod
    def _missing_(cls, value: object) -> ForcedFlag:
        if type(value) is not int and hasattr(value, "__index__"):  # an element of the result's column
            return cls(operator.index(value))
        flag: ForcedFlag = super()._missing_(value)
        return flag
