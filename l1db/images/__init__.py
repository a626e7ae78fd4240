"""Images and what belongs to them: exposures, their files, and models of their PSF."""

from l1db.images.psf import GaussianPsf, GridPsf, ImagePsf, MoffatPsf, Psf, as_psf

__all__ = ["GaussianPsf", "GridPsf", "ImagePsf", "MoffatPsf", "Psf", "as_psf"]
