"""What the database recomputes at each ingest, against numpy on the same light curves.

The referee follows the rule and not the SQL: per visit, for each object it touches, all detections within the history
window before the object's latest one give the position; those of each band give that band's statistics.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import psycopg
import pytest
from test_mean_position import mean_direction, off_by_mas

import l1db
from l1db.database import change_survey
from l1db.visit import DetectorData, Visit
from tests.version.continuity import breaks

N_OBJECTS = 40
# Midpoints in the order of ingest: late visits (earlier epochs) among them, inside and outside a window of 365 d.
MIDPOINTS = [61000.1, 61003.1, 61100.2, 61001.1, 61420.3, 61420.31, 61200.3, 61050.2, 60900.1, 61500.0]
BANDS = ["r", "r", "g", "g", "r", "g", "r", "i", "g", "r"]


@dataclass
class Referee:
    """Every detection of one object, and the statistics of each band."""

    history_days: float
    epochs: list[tuple[float, str, float, float, float, float, float, float]] = field(default_factory=list)
    band: dict[str, dict[str, float | None]] = field(default_factory=dict)

    def see(self, band: str, *epoch: float) -> None:
        mjd, ra, dec, ra_err, dec_err, flux, flux_err = epoch
        self.epochs.append((mjd, band, ra, dec, ra_err, dec_err, flux, flux_err))
        self.band = {}
        for name in {e[1] for e in self.window()}:
            used = [e for e in self.window() if e[1] == name]
            f = np.array([e[6] for e in used], dtype=float)
            w = 1 / np.array([e[7] for e in used], dtype=float) ** 2
            self.band[name] = {
                "mean": (f * w).sum() / w.sum(),
                "err": w.sum() ** -0.5,
                "sigma": f.std(ddof=1) if len(f) > 1 else None,
                "n": len(f),
                "min": f.min(),
                "max": f.max(),
            }

    def window(self) -> list[tuple[float, str, float, float, float, float, float, float]]:
        latest = max(e[0] for e in self.epochs)
        return [e for e in self.epochs if e[0] >= latest - self.history_days]


def equal(found: float | None, expected: float | None) -> bool:
    """Equal as single precision can be."""
    if found is None or expected is None:
        return found is expected
    return bool(np.isclose(found, expected, rtol=3e-7, atol=0))


@pytest.mark.parametrize(("profile", "history_days"), [("seed", np.inf), ("rubin", 365.0)])
@pytest.mark.parametrize("centre", [(0.0, -10.0), (30.0, 90.0)])
def test_objects_are_what_their_light_curves_say(
    fresh_database: Callable[..., str], profile: str, history_days: float, centre: tuple[float, float]
) -> None:
    """One detection, equal fluxes, several bands, missed visits, late visits; around RA 0 and around a pole.

    Seen red with n in place of n - 1, with the mean unweighted, and with the window counted back from the visit.
    """
    rng = np.random.default_rng(11)
    # A sunflower around the centre, arcminutes apart.
    k = np.arange(1, N_OBJECTS + 1)
    radius, angle = 0.02 * np.sqrt(k) + 0.02, k * 2.399963
    if centre[1] == 90:
        true_ra, true_dec = np.degrees(angle) % 360, 90 - radius
    else:
        true_dec = centre[1] + radius * np.sin(angle)
        true_ra = (centre[0] + radius * np.cos(angle) / np.cos(np.radians(true_dec))) % 360
    referees = [Referee(history_days) for _ in k]
    dsn = fresh_database(profile)
    with l1db.Client(dsn) as client:
        for number, (mjd, band) in enumerate(zip(MIDPOINTS, BANDS, strict=True), 1):
            seen = np.flatnonzero((rng.uniform(size=N_OBJECTS) < 0.7) | (number == 1) & (k > 3))
            n = len(seen)
            err = np.float32(0.05 / 3600 * rng.uniform(0.5, 2, (2, n)))
            dec = true_dec[seen] + rng.normal(0, 0.03 / 3600, n)
            ra = (true_ra[seen] + rng.normal(0, 0.03 / 3600, n) / np.cos(np.radians(dec))) % 360
            flux = np.float32(rng.normal(1000, 300, n))
            flux[seen < 5] = 250.0
            flux_err = np.float32(rng.uniform(5, 50, n))
            result = client.ingest(
                Visit(number, band, mjd),
                [
                    DetectorData(
                        0,
                        {
                            "ra": ra, "dec": dec, "ra_err": err[0], "dec_err": err[1],
                            "psf_flux": flux, "psf_flux_err": flux_err,
                        },
                    )
                ],
            )  # fmt: skip
            assert result.detectors[0].n_without_object == 0
            for i, *epoch in zip(seen, ra, dec, err[0], err[1], flux, flux_err, strict=True):
                referees[i].see(band, mjd, *map(float, epoch))
    with psycopg.connect(dsn) as connection:
        for ra, dec, referee in zip(true_ra, true_dec, referees, strict=True):
            compare(connection, float(ra), float(dec), referee)


def compare(connection: psycopg.Connection, ra: float, dec: float, referee: Referee) -> None:
    rows = connection.execute(
        """select o.dia_object_id, o.ra, o.dec, o.ra_err, o.dec_err, o.n_dia_sources, o.n_forced,
                  o.first_dia_source_mjd_tai, o.last_dia_source_mjd_tai
             from l1.dia_object o where q3c_join(%s::float8, %s::float8, o.ra, o.dec, 1.0 / 3600)""",
        (ra, dec),
    ).fetchall()
    assert len(rows) == bool(referee.epochs)
    if not rows:
        return
    key, ra, dec, ra_err, dec_err, n, n_forced, first, last = rows[0]
    window = referee.window()
    assert off_by_mas(ra, dec, mean_direction(*np.array([e[2:4] for e in window]).T)) < 0.01
    assert equal(ra_err, np.sqrt(sum(e[4] ** 2 for e in window)) / len(window))
    assert equal(dec_err, np.sqrt(sum(e[5] ** 2 for e in window)) / len(window))
    assert (n, n_forced) == (len(window), 0)
    assert (first, last) == (min(e[0] for e in window), max(e[0] for e in window))
    bands = connection.execute(
        """select band, psf_flux_mean, psf_flux_mean_err, psf_flux_sigma, psf_flux_ndata, psf_flux_min, psf_flux_max
             from l1.dia_object_band where dia_object_id = %s""",
        (key,),
    ).fetchall()
    assert {row[0] for row in bands} == set(referee.band)
    for band, *found in bands:
        expected = referee.band[band]
        for value, name in zip(found, ("mean", "err", "sigma", "n", "min", "max"), strict=True):
            assert equal(value, expected[name]), (key, band, name, value, expected)


def source(mjd_flux: float) -> dict[str, list[float]]:
    return {"ra": [10.0], "dec": [5.0], "psf_flux": [mjd_flux], "psf_flux_err": [9.0]}


def test_errors_that_are_not_given_are_not_made_up(database: str) -> None:
    with l1db.Client(database) as client:
        client.ingest(Visit(1, "r", 61000.2), [DetectorData(0, source(900.0))])
    with psycopg.connect(database) as connection:
        assert connection.execute("select ra_err, dec_err, ra_dec_cov from l1.dia_object").fetchall() == [(None,) * 3]


def test_equal_fluxes_have_no_scatter(database: str) -> None:
    """Not a tiny negative variance, and no rounding: exactly 0."""
    with l1db.Client(database) as client:
        for number in range(1, 8):
            client.ingest(Visit(number, "r", 61000.2 + number), [DetectorData(0, source(0.1))])
    with psycopg.connect(database) as connection:
        assert connection.execute("select psf_flux_sigma, psf_flux_ndata from l1.dia_object_band").fetchall() == [
            (0, 7)
        ]


def test_what_a_replacement_takes_away_opens_the_window_again(fresh_database: Callable[..., str]) -> None:
    """The latest detection goes: the object is what its earlier ones say, however long ago, and not an orphan."""
    dsn = fresh_database("rubin")
    with l1db.Client(dsn) as client:
        client.ingest(Visit(1, "r", 61000.2), [DetectorData(0, source(900.0))])
        client.ingest(Visit(2, "r", 61400.2), [DetectorData(0, source(500.0))])
        client.ingest(Visit(2, "r", 61400.2), [DetectorData(0)], mode="replace")
    with psycopg.connect(dsn) as connection:
        assert connection.execute(
            "select n_dia_sources, first_dia_source_mjd_tai, last_dia_source_mjd_tai from l1.dia_object"
        ).fetchall() == [(1, 61000.2, 61000.2)]
        assert connection.execute("select psf_flux_mean, psf_flux_ndata from l1.dia_object_band").fetchall() == [
            (900, 1)
        ]


def bands(connection: psycopg.Connection) -> list[tuple[str, float, int]]:
    return connection.execute(
        "select band, psf_flux_mean, psf_flux_ndata from l1.dia_object_band order by 1"
    ).fetchall()


def test_a_window_that_moves_changes_every_band(fresh_database: Callable[..., str]) -> None:
    """Seen to fail with only the visit's band recomputed: g had its former mean, or no row though a live source."""
    dsn = fresh_database("rubin")
    with l1db.Client(dsn) as client, psycopg.connect(dsn, autocommit=True) as connection:
        client.ingest(Visit(1, "g", 61000.2), [DetectorData(0, source(900.0))])
        client.ingest(Visit(2, "r", 61400.2), [DetectorData(0, source(500.0))])
        assert bands(connection) == [("r", 500, 1)]
        client.ingest(Visit(3, "g", 61005.2), [DetectorData(0, source(700.0))])
        assert bands(connection) == [("r", 500, 1)], "a late visit, of before the window"
        client.ingest(Visit(2, "r", 61400.2), [DetectorData(0)], mode="replace")
        assert bands(connection) == [("g", 800, 2)]
        assert breaks(connection) == []


def test_a_window_that_is_unlimited_again_reaches_back_to_the_first_detection(
    fresh_database: Callable[..., str],
) -> None:
    dsn = fresh_database("rubin")
    with l1db.Client(dsn) as client, psycopg.connect(dsn, autocommit=True) as connection:
        for number, mjd in enumerate((61000.2, 61400.2), start=1):
            client.ingest(Visit(number, "r", mjd), [DetectorData(0, source(900.0))])
        change_survey(connection, {"history_days": None}, "test")
        client.ingest(Visit(3, "r", 61401.2), [DetectorData(0, source(900.0))])
        assert connection.execute("select n_dia_sources, first_dia_source_mjd_tai from l1.dia_object").fetchall() == [
            (3, 61000.2)
        ]
