"""How fast VOEvents are built, and how large they are.

``python -m bench.voevents`` prints events per second of one core and their mean size, for short and long histories,
with and without cutouts.
"""

from __future__ import annotations

import os

# One core, before numpy starts its threads.
os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")

import argparse
import time

import numpy as np

from l1db.alert.voevent import build
from tests.alert.alert_contents import contents

CUTOUT = 15_000  # bytes: noise of 30 pixels in Rubin's layout, gzipped


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", type=int, default=500, help="alerts")
    parser.add_argument("--at-once", type=int, default=100, help="alerts in a batch")
    arguments = parser.parse_args()
    rng = np.random.default_rng(1)
    for n_history in (0, 50, 200, 2000):
        for cutouts in ({}, {"difference": rng.bytes(CUTOUT), "template": rng.bytes(CUTOUT)}):
            content = contents(arguments.at_once, n_history=n_history, bands="gri", compressed=cutouts)
            n_batches = max(1, arguments.n // arguments.at_once)
            start = time.process_time()
            for _ in range(n_batches):
                events = build(content)
            speed = n_batches * arguments.at_once / (time.process_time() - start)
            size = np.mean([len(event) for event in events]) / 1000
            whole = np.mean([b'"omitted"' not in event for event in events])
            print(
                f"{n_history:5} previous sources, {len(cutouts)} cutouts: {speed:6.0f} per second, {size:5.1f} kB, "
                f"{whole:4.0%} with all of it"
            )


if __name__ == "__main__":
    main()
