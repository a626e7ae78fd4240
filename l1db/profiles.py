"""The named sets of rules a survey may start from; each value is a column of ``l1.survey``.

``seed`` follows the project's original specification page, ``rubin`` today's LSST practice, ``ztf`` data with a seeing
of two arcseconds.  Where they differ is told in docs and in the design; what they share stands here once.
"""

from __future__ import annotations

from typing import Any

_SHARED: dict[str, Any] = {
    "name": "l1db",
    "operational": False,
    "ivo_authority": "org.example",
    "bands": ["u", "g", "r", "i", "z", "y"],
    "night_offset_hours": 12,
    "association_radius": 1.0,
    "error_floor": 0.05,
    "outlier_fraction": 1e-3,
    "calibration_min_pairs": 20,
    "density_min_sources": 20,
    "default_extra_variance": 0.0,
    "default_new_density": 1e-5,
    "history_days": None,
    "stats_include_forced": True,
    "quality_gate": False,
    "gate_min_reliability": None,
    "gate_min_snr": None,
    "max_new_objects": None,
    "alert_on": "detections",
    "forced_on": "unassociated",
    "forced_min_dia_sources": 1,
    "forced_min_reliability": None,
    "forced_margin": 20.0,
    "image_cache_days": 30.0,
    "statistics_at_ingest": "basic",
    "cutouts": ["difference", "template"],
}

PROFILES: dict[str, dict[str, Any]] = {
    "seed": {**_SHARED},
    "rubin": {
        **_SHARED,
        "history_days": 365.0,
        "stats_include_forced": False,
        "quality_gate": True,
        "gate_min_reliability": 0.1,
        "forced_on": "all",
        "forced_min_dia_sources": 2,
        "forced_min_reliability": 0.5,
        "cutouts": ["difference", "science", "template"],
    },
    "ztf": {
        **_SHARED,
        "name": "ZTF",
        "bands": ["g", "r", "i"],
        "association_radius": 1.5,
        "error_floor": 0.3,  # a third of a pixel; packets carry no position errors
        "stats_include_forced": False,
        "cutouts": ["difference", "science", "template"],
    },
}
