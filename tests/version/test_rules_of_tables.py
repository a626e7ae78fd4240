"""What the tables refuse by themselves, whoever writes."""

from __future__ import annotations

import psycopg
import pytest

VISIT = (
    "insert into l1.visit (visit, band, midpoint_mjd_tai, exposure_time, boresight_ra, boresight_dec, day_obs)"
    " values (1, 'r', {midpoint}, {exposure}, {ra}, {dec}, '2025-01-01')"
)
SOURCE = (
    "insert into l1.dia_source (dia_source_id, visit, detector, dia_object_id, no_object_reason, midpoint_mjd_tai, ra,"
    " dec, band, psf_flux, psf_flux_err, time_processed, validity_start, is_forced)"
    " values (1, 1, 1, {object}, {reason}, 61000.1, {ra}, {dec}, 'r', {flux}, {error}, now(), now(), {forced})"
)
OBJECT = (
    "insert into l1.dia_object (dia_object_id, validity_start, ra, dec, n_dia_sources, n_forced,"
    " first_dia_source_mjd_tai, last_dia_source_mjd_tai, n_good_dia_sources, first_epoch_mjd_tai)"
    " values (1, now(), {ra}, {dec}, {n}, {forced}, 1, 1, 1, 1)"
)
GOOD_SOURCE = {"object": 1, "reason": "null", "ra": 0, "dec": 0, "flux": 1, "error": 1, "forced": False}
GOOD_VISIT = {"midpoint": 61000, "exposure": 30, "ra": 0, "dec": 0}
GOOD_OBJECT = {"ra": 0, "dec": 0, "n": 1, "forced": 0}


@pytest.mark.parametrize(
    ("changed", "rule"),
    [
        ({"ra": 360}, "position"),
        ({"ra": -1e-9}, "position"),
        ({"dec": 90.1}, "position"),
        ({"ra": "'NaN'"}, "position"),
        ({"dec": "'NaN'"}, "position"),
        ({"object": "null"}, "belongs"),
        ({"object": "null", "reason": "'tired'"}, "no_object_reason"),
        ({"flux": "null"}, "detection_has_flux"),
        ({"error": 0}, "detection_has_flux"),
    ],
)
def test_a_source_is_refused(changed: dict[str, object], rule: str, connection: psycopg.Connection) -> None:
    connection.execute("select l1_api.ensure_partitions(61000.1)")
    with pytest.raises(psycopg.errors.CheckViolation, match=f"dia_source_{rule}_check"):
        connection.execute(SOURCE.format(**{**GOOD_SOURCE, **changed}))


@pytest.mark.parametrize(
    "changed",
    [{}, {"object": "null", "reason": "'quality'"}, {"forced": True, "flux": "null", "error": "null"}],
)
def test_a_source_is_taken(changed: dict[str, object], connection: psycopg.Connection) -> None:
    connection.execute("select l1_api.ensure_partitions(61000.1)")
    assert connection.execute(SOURCE.format(**{**GOOD_SOURCE, **changed})).rowcount == 1


@pytest.mark.parametrize(
    ("changed", "rule"),
    [
        ({"midpoint": 2_461_000.5}, "midpoint"),
        ({"midpoint": 0}, "midpoint"),
        ({"midpoint": "'NaN'"}, "midpoint"),
        ({"exposure": -1}, "exposure_time"),
        ({"ra": 360}, "boresight"),
        ({"dec": -91}, "boresight"),
    ],
)
def test_a_visit_is_refused(changed: dict[str, object], rule: str, connection: psycopg.Connection) -> None:
    with pytest.raises(psycopg.errors.CheckViolation, match=f"visit_{rule}_check"):
        connection.execute(VISIT.format(**{**GOOD_VISIT, **changed}))


@pytest.mark.parametrize(
    ("changed", "rule"),
    [({"ra": 360}, "position"), ({"n": 0}, "counts"), ({"forced": -1}, "counts")],
)
def test_an_object_is_refused(changed: dict[str, object], rule: str, connection: psycopg.Connection) -> None:
    with pytest.raises(psycopg.errors.CheckViolation, match=f"dia_object_{rule}_check"):
        connection.execute(OBJECT.format(**{**GOOD_OBJECT, **changed}))


def test_an_object_has_one_current_version(connection: psycopg.Connection) -> None:
    connection.execute(OBJECT.format(**GOOD_OBJECT))
    with pytest.raises(psycopg.errors.UniqueViolation, match="dia_object_pkey"):
        connection.execute(OBJECT.format(**GOOD_OBJECT))


def test_a_detector_has_one_live_attempt(connection: psycopg.Connection) -> None:
    connection.execute(VISIT.format(**GOOD_VISIT))
    attempt = (
        "insert into l1.visit_detector (visit, detector, attempt, survey_version, content_sha256, withdrawn_at)"
        " values (1, 1, {attempt}, 1, sha256(''), {withdrawn})"
    )
    connection.execute(attempt.format(attempt=1, withdrawn="now()"))
    connection.execute(attempt.format(attempt=2, withdrawn="null"))
    with pytest.raises(psycopg.errors.UniqueViolation, match="visit_detector_live_idx"):
        connection.execute(attempt.format(attempt=3, withdrawn="null"))


def test_a_source_has_one_alert_of_a_kind(connection: psycopg.Connection) -> None:
    connection.execute("select l1_api.ensure_partitions(61000.1)")
    alert = (
        "insert into l1.alert (kind, dia_source_id, midpoint_mjd_tai, visit, detector, survey_version, stamp)"
        " values ('{kind}', 1, 61000.1, 1, 1, 1, now())"
    )
    connection.execute(alert.format(kind="detection"))
    connection.execute(alert.format(kind="retraction"))
    with pytest.raises(psycopg.errors.UniqueViolation, match="dia_source_id_kind"):
        connection.execute(alert.format(kind="detection"))


def test_an_alert_is_of_a_known_kind(connection: psycopg.Connection) -> None:
    connection.execute("select l1_api.ensure_partitions(61000.1)")
    with pytest.raises(psycopg.errors.CheckViolation, match="alert_kind_check"):
        connection.execute(
            "insert into l1.alert (kind, dia_source_id, midpoint_mjd_tai, visit, detector, survey_version, stamp)"
            " values ('rumour', 1, 61000.1, 1, 1, 1, now())"
        )
