"""The client's own work: reading columns, hashing content, and saying in one line what cannot be used."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import date
from typing import Any

import numpy as np
import psycopg
import pytest

import l1db
from l1db import Client
from l1db.client import day_obs
from l1db.columns import BY_NAME, GIVEN
from l1db.errors import DatabaseError, InputError, RefusedError
from l1db.footprint import polygon_wkt
from l1db.stack import Stack, detector_columns
from l1db.visit import DetectorData, Visit

VISIT = Visit(7, "r", 61000.2)
N = 40


def full_columns(n: int = N, seed: int = 1) -> dict[str, Any]:
    """Every column that may be given, with values that its type can hold."""
    rng = np.random.default_rng(seed)
    columns: dict[str, Any] = {}
    for column in GIVEN:
        match column.sql_type:
            case "double precision" | "real":
                columns[column.name] = np.float32(rng.uniform(0.1, 0.9, n)).astype("f8")
            case "bigint" | "integer":
                columns[column.name] = rng.integers(1, 2**31 - 1, n)
            case "boolean":
                columns[column.name] = rng.uniform(size=n) < 0.5
            case "text":
                columns[column.name] = np.array([f"v{i % 7}" for i in range(n)], dtype=object)
            case other:
                raise AssertionError(other)
    columns["dia_source_id"] = rng.permutation(n) + 1
    columns["ra"], columns["dec"] = 10 + rng.uniform(0, 0.1, n), 5 + rng.uniform(0, 0.1, n)
    columns["midpoint_mjd_tai"] = np.full(n, 61000.2)
    return columns


def hashes(*detectors: DetectorData, visit: Visit = VISIT) -> dict[int, bytes]:
    numbers, sha = detector_columns(Stack(visit, detectors))[:2]
    return dict(zip(numbers.values.tolist(), sha.values.tolist(), strict=True))


def sha(columns: dict[str, Any], number: int = 3, **about: Any) -> bytes:
    return hashes(DetectorData(number, columns, **about))[number]


# ------------------------------------------------------------------------------------------------ the hash of content


def test_the_hash_does_not_depend_on_the_order_of_rows() -> None:
    """Seen red with the canonical order left out."""
    columns = full_columns()
    for seed in range(5):
        order = np.random.default_rng(seed).permutation(N)
        assert sha({name: values[order] for name, values in columns.items()}) == sha(columns)


def test_nor_where_rows_differ_only_in_columns_that_do_not_order_them() -> None:
    twins = {name: np.concatenate([values, values]) for name, values in full_columns(5).items()}
    twins.pop("dia_source_id")
    twins["snr"] = np.arange(10.0)
    order = np.random.default_rng(2).permutation(10)
    assert sha({name: values[order] for name, values in twins.items()}) == sha(twins)


def test_nor_on_the_order_or_the_dtype_in_which_columns_come() -> None:
    columns = full_columns()
    backwards = dict(reversed(list(columns.items())))
    assert sha(backwards) == sha(columns)
    for name, values in columns.items():
        kind = BY_NAME[name].sql_type
        others: list[Any] = [values.tolist(), np.ma.masked_array(values), np.array(values.tolist(), dtype=object)]
        if kind == "real":
            others += [values.astype("f4"), values.astype(">f4"), values.astype(">f8")]
        elif kind in ("bigint", "integer"):
            others += [values.astype("u4"), values.astype(">i8"), values.astype("f8")]
        elif kind == "boolean":
            others += [values.astype("u1")]
        elif kind == "text":
            others += [values.astype("U5")]
        for other in others:
            assert sha({**columns, name: other}) == sha(columns), (name, getattr(other, "dtype", "list"))


def test_nor_on_columns_without_values() -> None:
    columns = full_columns()
    few = {name: columns[name] for name in ("ra", "dec", "psf_flux", "psf_flux_err")}
    empty = {
        "snr": np.full(N, np.nan),
        "psf_ndata": np.ma.masked_all(N, dtype=int),
        "is_negative": np.full(N, None, dtype=object),
        "reliability_version": np.full(N, None, dtype=object),
    }
    assert sha({**few, **empty}) == sha(few)


def test_nor_on_what_hides_under_a_mask() -> None:
    columns = full_columns()
    mask = np.arange(N) % 3 == 0
    one = np.ma.masked_array(columns["psf_ndata"], mask)
    other = np.ma.masked_array(np.where(mask, 99, columns["psf_ndata"]), mask)
    assert sha({**columns, "psf_ndata": one}) == sha({**columns, "psf_ndata": other})
    nan = np.where(mask, np.nan, columns["snr"])
    assert sha({**columns, "snr": nan}) == sha({**columns, "snr": np.ma.masked_array(columns["snr"], mask)})


def test_nor_on_other_detectors_of_the_call() -> None:
    """Whatever columns they have or lack, and whether their rows tie."""
    columns = full_columns()
    few = {name: full_columns(9, seed=4)[name] for name in ("ra", "dec", "psf_flux", "psf_flux_err")}
    tied = {name: np.full(6, values[0]) for name, values in few.items()}
    alone = {**hashes(DetectorData(3, columns)), **hashes(DetectorData(5, few)), **hashes(DetectorData(4))}
    together = hashes(DetectorData(5, few), DetectorData(4), DetectorData(3, columns), DetectorData(9, tied))
    assert {number: together[number] for number in alone} == alone


def test_the_hash_differs_for_any_changed_value() -> None:
    columns = full_columns()
    seen = {sha(columns)}
    for name, values in columns.items():
        changed, absent = values.copy(), np.ma.masked_array(values, np.arange(N) == 11)
        match BY_NAME[name].sql_type:
            case "boolean":
                changed[11] = not values[11]
            case "text":
                changed[11] = values[11] + "x"
            case "real":
                changed[11] = np.nextafter(np.float32(values[11]), np.float32(9))
            case "double precision":
                changed[11] = np.nextafter(values[11], 1e9)
            case _:
                changed[11] = values[11] + 1
        for other in (changed, absent):
            found = sha({**columns, name: other})
            assert found not in seen, name
            seen.add(found)
    assert sha({name: values[:-1] for name, values in columns.items()}) not in seen


def test_the_hash_differs_where_values_change_places() -> None:
    """Between two rows, between two columns, and between NULL and a value that looks like it."""
    columns = full_columns()
    swapped = columns["ap_flux"].copy()
    swapped[[3, 4]] = swapped[[4, 3]]
    others = [
        {**columns, "ap_flux": swapped},
        {**columns, "x": columns["y"], "y": columns["x"]},
        {**columns, "snr": np.where(np.arange(N) == 3, 0, columns["snr"])},
        {**columns, "snr": np.where(np.arange(N) == 3, np.nan, columns["snr"])},
        {**columns, "reliability_version": np.where(np.arange(N) == 3, "", columns["reliability_version"])},
        {**columns, "reliability_version": np.where(np.arange(N) == 3, None, columns["reliability_version"])},
    ]
    assert len({sha(columns), *map(sha, others)}) == 1 + len(others)


def test_the_hash_covers_what_is_said_of_the_detector() -> None:
    columns = full_columns()
    square = [(9.0, 4.0), (11.0, 4.0), (11.0, 6.0), (9.0, 6.0)]
    found = {
        sha(columns),
        sha(columns, 4),
        hashes(DetectorData(3, columns), visit=replace(VISIT, visit=8))[3],
        hashes(DetectorData(3, columns), visit=replace(VISIT, band="g"))[3],
        sha(columns, footprint=square),
        sha(columns, psf_fwhm=3.5),
        sha(columns, zero_point=3.5),
        sha(columns, flux_noise=3.5),
        sha(columns, software="x 1.0"),
        sha({}),
    }
    assert len(found) == 10
    assert all(len(value) == hashlib.sha256().digest_size for value in found)
    assert sha(columns, footprint=[*square, square[0]]) == sha(columns, footprint=np.array(square))
    assert sha(columns, psf_fwhm=3.1) == sha(columns, psf_fwhm=float(np.float32(3.1)))


# ------------------------------------------------------------------------------------------- what comes in and goes out


def test_every_column_comes_out_of_the_database_as_it_went_in(database: str) -> None:
    columns = full_columns()
    null = {name: np.random.default_rng(i).uniform(size=N) < 0.2 for i, name in enumerate(columns)}
    for name in ("dia_source_id", "ra", "dec", "psf_flux", "psf_flux_err", "midpoint_mjd_tai"):
        null[name][:] = False
    given = {name: np.ma.masked_array(values, null[name]) for name, values in columns.items()}
    with l1db.Client(database) as client:
        assert client.ingest(replace(VISIT, exposure_time=30), [DetectorData(3, given)]).n_sources == N
    names = list(columns)
    with psycopg.connect(database) as connection:
        rows = connection.execute(f"select {', '.join(names)} from l1.dia_source order by dia_source_id").fetchall()  # type: ignore[arg-type]
    order = np.argsort(columns["dia_source_id"])
    for name, found in zip(names, zip(*rows, strict=True), strict=True):
        for i, value in zip(order, found, strict=True):
            if null[name][i]:
                # The exposure time of a source is the visit's unless given.
                assert value == (30 if name == "exposure_time" else None), name
            elif BY_NAME[name].sql_type == "real":
                assert np.float32(value) == np.float32(columns[name][i]), name
            else:
                assert value == columns[name][i], name


def minimal(**more: Any) -> dict[str, Any]:
    return {"ra": [10.0, 10.1], "dec": [5.0, 5.1], "psf_flux": [900.0, 800.0], "psf_flux_err": [9.0, 9.0], **more}


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"ra": [10.0, np.inf]}, r"row 2, column ra: inf is not finite"),
        ({"psf_flux": [1e39, 1.0]}, r"row 1, column psf_flux: 1e\+39 is not finite"),
        ({"psf_flux": [1.0, 2.0, 3.0]}, r"column psf_flux has shape \(3,\), not \(2,\)"),
        ({"ra": [[10.0, 10.1]]}, r"has shape"),
        ({"psf_ndata": [1.5, 2.0]}, r"row 1, column psf_ndata: 1\.5 does not fit the column's type"),
        ({"psf_ndata": [1, 2**31]}, r"row 2, column psf_ndata: 2147483648 does not fit"),
        ({"dia_source_id": np.array([1, 2**63], dtype="u8")}, r"row 2, column dia_source_id: 9223372036854775808 "),
        ({"dia_source_id": [1.0, 2.0**63]}, r"row 2, column dia_source_id"),
        ({"snr": ["1", "high"]}, r"column snr cannot be read as real"),
        ({"flux": [1.0, 1.0]}, r"dia_source has no column flux"),
        ({"psfFlux": [1.0, 1.0]}, r"dia_source has no column psfFlux"),
        ({"dia_object_id": [1, 2]}, r"column dia_object_id is not given per source; leave it out"),
        ({"band": ["r", "r"]}, r"column band is not given per source; leave it out"),
        ({"reliability_version": [1, 2]}, r"column reliability_version"),
    ],
)
def test_what_cannot_be_read_is_named(more: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=rf"^visit 7.*{says}") as refusal:
        Stack(VISIT, [DetectorData(3, minimal(**more))])
    assert "\n" not in str(refusal.value)


def test_rows_are_named_by_the_users_table() -> None:
    sources = minimal(snr=[np.inf, -np.inf])
    with pytest.raises(InputError, match=r"row 812, column snr: inf is not finite \(and 1 more\)") as refusal:
        Stack(VISIT, [DetectorData(1, minimal()), DetectorData(3, sources, row_numbers=np.array([812, 17]))])
    assert [(bad.row, bad.column) for bad in refusal.value.rows] == [(812, "snr"), (17, "snr")]


def test_missing_columns_are_named_all_at_once() -> None:
    with pytest.raises(InputError, match=r"visit 7, detector 3: missing column\(s\) dec, psf_flux_err"):
        Stack(VISIT, [DetectorData(3, {"ra": [1.0], "psf_flux": [1.0]})])


def test_a_detector_given_twice_is_refused() -> None:
    with pytest.raises(InputError, match="visit 7: detector 3 is given twice"):
        Stack(VISIT, [DetectorData(3), DetectorData(1), DetectorData(3)])
    with pytest.raises(InputError, match="detector numbers fit in 16 bits"):
        Stack(VISIT, [DetectorData(70_000)])


def test_what_one_detector_has_and_another_lacks_is_null_there(database: str) -> None:
    """Numbers, flags, ids and texts alike."""
    more = {
        "snr": [5.0, 6.0],
        "is_negative": [True, False],
        "dia_source_id": [2**60 + 1, 2**60 + 3],
        "reliability_version": ["a", None],
        "psf_ndata": np.ma.masked_array([1, 2], [False, True]),
    }
    other = minimal(ra=[11.0, 11.1])
    with l1db.Client(database) as client:
        client.ingest(VISIT, [DetectorData(1, minimal(**more)), DetectorData(2, other)])
    with psycopg.connect(database) as connection:
        rows = connection.execute(
            """select snr, is_negative, dia_source_id < 2::bigint ^ 62, reliability_version, psf_ndata
                 from l1.dia_source order by ra"""
        ).fetchall()
        ids = connection.execute("select dia_source_id from l1.dia_source where detector = 1 order by ra").fetchall()
    assert rows == [
        (5.0, True, True, "a", 1),
        (6.0, False, True, None, None),
        (None, None, False, None, None),
        (None, None, False, None, None),
    ]
    assert ids == [(2**60 + 1,), (2**60 + 3,)], "ids of 61 bits came through a float"


@pytest.mark.parametrize("nothing", [None, np.nan])
def test_none_and_nan_are_null_in_any_column(nothing: float | None) -> None:
    """As pandas hands them over: object arrays with holes."""
    for name, value in (("snr", 5.0), ("psf_ndata", 3), ("is_negative", True), ("reliability_version", "a")):
        given = np.array([value, nothing], dtype=object)
        (column,) = [c for c in Stack(VISIT, [DetectorData(3, minimal(**{name: given}))]).given if c.name == name]
        assert column.present.tolist() == [True, False], name
        assert column.values[0] == value


def test_an_empty_detector_is_legal_and_stored_once(client: l1db.Client) -> None:
    first = client.ingest(VISIT, [DetectorData(3)])
    assert [(d.status, d.n_sources) for d in first.detectors] == [("stored", 0)]
    empty = {name: np.array([]) for name in ("ra", "dec", "psf_flux", "psf_flux_err")}
    assert client.ingest(VISIT, [DetectorData(3, empty)]).detectors[0].status == "unchanged"
    assert client.ingest(VISIT, []).detectors == ()


def test_the_same_data_in_another_order_and_type_is_the_same(client: l1db.Client) -> None:
    columns = full_columns()
    columns.pop("dia_source_id")
    first = client.ingest(VISIT, [DetectorData(3, columns)])
    shuffled = {name: values[::-1].tolist() for name, values in columns.items()}
    again = client.ingest(VISIT, [DetectorData(3, shuffled)])
    assert again.detectors[0] == replace(first.detectors[0], status="unchanged")
    columns["psf_flux"] = columns["psf_flux"] * 1.001
    with pytest.raises(RefusedError, match=rf"visit 7 is stored with other data: detector 3 \({N} of {N} rows"):
        client.ingest(VISIT, [DetectorData(3, columns)])


def test_after_a_refusal_the_client_goes_on(client: l1db.Client) -> None:
    with pytest.raises(InputError, match=r"visit 7: row 2, column ra"):
        client.ingest(VISIT, [DetectorData(3, minimal(ra=[10.0, 360.0]))])
    with pytest.raises(RefusedError, match="band q is unknown to the survey, which has u, g, r, i, z, y"):
        client.ingest(replace(VISIT, band="q"), [DetectorData(3, minimal())])
    with pytest.raises(RefusedError, match="ingest has no mode again"):
        client.ingest(VISIT, [DetectorData(3, minimal())], mode="again")  # type: ignore[arg-type]
    assert client.ingest(VISIT, [DetectorData(3, minimal())]).n_sources == 2


def test_bad_rows_of_the_database_are_named_by_the_users_table(client: l1db.Client) -> None:
    """All of them, whatever the canonical order made of the rows."""
    sources = minimal(ra=[400.0, 10.0], dec=[5.0, -91.0])
    with pytest.raises(InputError, match="nothing was stored") as refusal:
        client.ingest(VISIT, [DetectorData(3, sources, row_numbers=np.array([21, 12]))])
    assert {(bad.row, bad.column) for bad in refusal.value.rows} == {(21, "ra"), (12, "dec")}


def test_a_connection_that_is_lost_is_one_line(client: l1db.Client) -> None:
    with psycopg.connect(client._connection.info.dsn) as other:
        other.execute("select pg_terminate_backend(%s)", (client._connection.info.backend_pid,))
    with pytest.raises(DatabaseError) as refusal:
        client.ingest(VISIT, [DetectorData(3, minimal())])
    assert "\n" not in str(refusal.value)


# ------------------------------------------------------------------------------------------------ nights and footprints


@pytest.mark.parametrize(
    ("mjd_tai", "offset", "night"),
    [
        (61000.0, 12, date(2025, 11, 20)),  # midnight: the night that began the day before
        (61000.5 + 36.9 / 86400, 12, date(2025, 11, 20)),  # UTC is 37 s behind: still the night before noon
        (61000.5 + 37.1 / 86400, 12, date(2025, 11, 21)),
        (61000.9, 0, date(2025, 11, 21)),
        (57753.5 + 36.5 / 86400, 12, date(2016, 12, 31)),  # the day that ended in the last leap second
        (57754.5 + 36.9 / 86400, 12, date(2016, 12, 31)),
        (57754.5 + 37.1 / 86400, 12, date(2017, 1, 1)),
    ],
)
def test_the_night_is_the_date_of_utc_less_the_offset(mjd_tai: float, offset: float, night: date) -> None:
    assert day_obs(mjd_tai, offset) == night


def test_longitudes_of_an_outline_are_below_180() -> None:
    assert polygon_wkt([(359.5, 1), (0.5, 1), (180, 2)]) == "POLYGON((-0.5 1.0, 0.5 1.0, 180.0 2.0, -0.5 1.0))"


@pytest.mark.parametrize(
    ("corners", "says"),
    [
        ([(1, 2), (3, 4)], "three corners"),
        ([(1, 2), (3, 4), (1, 2)], "three corners"),
        ([(1, 2, 3)] * 4, r"shape \(k, 2\)"),
        ([(1, 2), (3, np.nan), (5, 6)], "finite"),
        ([(1, 2), (360, 3), (5, 6)], r"not in \[0, 360\)"),
        ([(1, 2), (3, 91), (5, 6)], "90"),
    ],
)
def test_what_is_no_outline_is_refused(corners: Any, says: str) -> None:
    with pytest.raises(InputError, match=f"^visit 7, detector 3: .*{says}"):
        detector_columns(Stack(VISIT, [DetectorData(3, minimal(), footprint=corners)]))


def test_a_column_with_a_hole_never_hashes_as_a_full_one() -> None:
    """Bytes made to coincide: the hole's bitmap and 31 values of one against 32 values of the other."""
    values = np.arange(32, dtype=np.float32)
    bitmap = np.ones(32, dtype=bool)
    bitmap[25] = False  # as a float its bytes are -1.9999999
    full = np.concatenate([np.packbits(bitmap).view(np.float32), values[:31]])
    holed = np.ma.array(np.insert(values[:31], 25, 0), mask=~bitmap)

    def sha256(snr: Any) -> bytes:
        sources = {"dia_source_id": np.arange(1, 33), "ra": values, "dec": values, "psf_flux": values + 1,
                   "psf_flux_err": values + 1, "snr": snr}  # fmt: skip
        stack = Stack(l1db.Visit(1, "r", 61_000.0), [l1db.DetectorData(0, sources)])
        (column,) = (c for c in detector_columns(stack) if c.name == "content_sha256")
        return bytes(column.values[0])

    assert sha256(full) != sha256(holed)
    assert sha256(np.full(32, 0.0)) == sha256(np.full(32, -0.0))


def test_a_session_that_missed_a_new_partition_is_left_for_another(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seen to fail without the second try.  The first finds no leaf, as if it had not been told of it."""
    opened = Client._open
    tries = []

    def open_without_leaf(self: Client, visit: Visit) -> None:
        tries.append(visit)
        if len(tries) > 1:
            opened(self, visit)
        else:
            self._connection.execute("select l1_api.open_stage()")
            self._connection.execute(
                "insert into l1.visit (visit, band, midpoint_mjd_tai, day_obs) values (9, 'r', 62000.1, '2028-08-01')"
            )

    monkeypatch.setattr(Client, "_open", open_without_leaf)
    sources = {"ra": [10.0], "dec": [-5.0], "psf_flux": [900.0], "psf_flux_err": [90.0]}
    with Client(database) as client:
        result = client.ingest(Visit(9, "r", 62_000.1), [DetectorData(0, sources)])
    assert (len(tries), result.n_sources, result.detectors[0].status) == (2, 1, "stored")


def test_a_kind_of_image_that_is_none_is_refused_and_the_kinds_named(client: Client) -> None:
    """It would silently turn forced photometry off."""
    says = "'diference' is no kind of image; known are difference, science, template, snap_difference"
    with pytest.raises(InputError, match=f"^detector 3: {says}$"):
        DetectorData(3, images={"diference": "d.fits"})
    with pytest.raises(InputError, match=f"^visit 7, detector 3: {says}$"):
        client.add_images(7, 3, {"diference": "d.fits"})
