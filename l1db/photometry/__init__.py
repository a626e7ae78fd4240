"""Forced photometry: how bright an image is at given positions, whether or not anything was detected there."""

from l1db.photometry.flags import ForcedFlag
from l1db.photometry.forced import forced_photometry
from l1db.photometry.noise import measure_noise_correlation

__all__ = ["ForcedFlag", "forced_photometry", "measure_noise_correlation"]
