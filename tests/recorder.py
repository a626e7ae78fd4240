"""A stand-in for `l1db.Client`, for tests of what is handed to it; no database is behind it."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np

from l1db.client import Mode
from l1db.errors import BadRow, InputError, RefusedError
from l1db.visit import DetectorData, DetectorResult, IngestResult, Visit


class Recorder:
    """Keeps the calls it got, and refuses as the database would: fluxes beyond 1e6 nJy, and the visit ``refuse``.

    It is the factory of clients and the client at once.
    """

    def __init__(self, refuse: int | None = None) -> None:
        self.calls: list[tuple[Visit, tuple[DetectorData, ...], Mode]] = []
        self.refuse = refuse
        self.opened = 0
        self.threads: set[str] = set()
        self._lock = threading.Lock()

    def __call__(self) -> Recorder:
        self.opened += 1
        return self

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, *exception: object) -> None:
        return None

    def ingest(self, visit: Visit, detectors: Sequence[DetectorData], *, mode: Mode = "new") -> IngestResult:
        bad = [
            BadRow(int(row), "psf_flux", "is beyond 1e6")
            for detector in detectors
            if len(detector) and detector.row_numbers is not None
            for row in detector.row_numbers[np.asarray(detector.sources["psf_flux"]) > 1e6]
        ]
        if bad:
            raise InputError("unusable rows", bad)
        if visit.visit == self.refuse:
            raise RefusedError("visit contradicts the stored one")
        with self._lock:
            self.calls.append((visit, tuple(detectors), mode))
            self.threads.add(threading.current_thread().name)
        results = tuple(
            DetectorResult(d.detector, 1, "stored", len(d), 0, len(d), 0, len(d), 0, 0, datetime.now(UTC))
            for d in detectors
        )
        return IngestResult(visit.visit, results, {})

    def cancel(self) -> None:
        return None
