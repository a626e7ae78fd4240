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

from l1db.images.fits.read import read_exposure
from l1db.images.fits.write import write_exposure

__all__ = ["read_exposure", "write_exposure"]
