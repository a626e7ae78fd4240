"""Input tables: four formats, one result; what cannot be used is refused in one line."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.io.votable import from_table
from astropy.table import MaskedColumn, Table
from astropy.time import Time

from l1db.columns import BY_NAME, DTYPES, GIVEN
from l1db.errors import InputError
from l1db.tables import SourceTable, read_sources, read_visits


def sources(n: int = 3) -> Table:
    """A table with the required columns, in the database's units."""
    return Table(
        {
            "visit": np.full(n, 5, dtype="i8"),
            "detector": np.arange(n, dtype="i4"),
            "band": ["r"] * n,
            "midpoint_mjd_tai": np.full(n, 60000.5),
            "ra": np.linspace(10, 11, n),
            "dec": np.linspace(-5, -4, n),
            "psf_flux": np.linspace(1000, 2000, n),
            "psf_flux_err": np.full(n, 100.0),
        }
    )


def write(table: Table, path: Path) -> Path:
    """The table in the format that the suffix names."""
    if path.suffix == ".fits":
        table.write(path, overwrite=True)
    else:
        names = {".parquet": "parquet", ".ecsv": "ascii.ecsv", ".csv": "ascii.csv"}
        table.write(path, format=names[path.suffix], overwrite=True)
    return path


def refusal(path: Path, **options: bool) -> str:
    """The line a user reads."""
    with pytest.raises(InputError) as error:
        read_sources(path, **options)
    line = str(error.value)
    assert "\n" not in line
    assert path.name in line
    return line


SUFFIXES = (".parquet", ".fits", ".ecsv", ".csv")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_format_gives_the_same_columns(tmp_path: Path, suffix: str) -> None:
    table = sources()
    table["diaSourceId"] = MaskedColumn([2**62 - 1, 7, 0], mask=[False, False, True], dtype="i8", fill_value=-99)
    table["isNegative"] = [True, False, True]
    table["snr"] = [5.5, np.nan, 7.0]
    table["reliabilityVersion"] = ["a1", "", "b"]
    read = read_sources(write(table, tmp_path / f"sources{suffix}"))

    assert isinstance(read, SourceTable)
    assert len(read) == 3
    assert read.warning == ""
    assert read.bad_rows == ()
    for name, values in read.columns.items():
        assert values.dtype == DTYPES[BY_NAME[name].sql_type], name
        assert values.dtype.isnative, name
    np.testing.assert_array_equal(read.columns["ra"], table["ra"])
    np.testing.assert_array_equal(np.ma.getmaskarray(read.columns["dia_source_id"]), [False, False, True])
    assert read.columns["dia_source_id"][:2].tolist() == [2**62 - 1, 7]
    assert read.columns["is_negative"].tolist() == [True, False, True]
    np.testing.assert_array_equal(read.columns["snr"], np.array([5.5, np.nan, 7], dtype="f4"))
    assert read.columns["band"].tolist() == ["r", "r", "r"]
    assert read.columns["reliability_version"].tolist()[::2] == ["a1", "b"]
    assert read.columns["reliability_version"][1] in (None, "")


def test_camel_case_and_snake_case_names_are_the_same_columns(tmp_path: Path) -> None:
    table = sources()
    table.rename_columns(["midpoint_mjd_tai", "psf_flux"], ["midpointMjdTai", "psfFlux"])
    table["pixelFlags_crCenter"] = [True, False, True]
    read = read_sources(write(table, tmp_path / "s.csv"))
    assert read.columns["pixel_flags_cr_center"].tolist() == [True, False, True]
    assert read.spelling["psf_flux"] == "psfFlux"


def test_both_spellings_of_one_column_are_refused(tmp_path: Path) -> None:
    table = sources()
    table["psfFlux"] = table["psf_flux"]
    assert "psf_flux and psfFlux are the same column" in refusal(write(table, tmp_path / "s.fits"))


def test_missing_columns_are_named_with_what_looks_like_them(tmp_path: Path) -> None:
    table = sources()
    table.rename_column("ra", "RA")
    del table["dec"]
    line = refusal(write(table, tmp_path / "s.parquet"))
    assert "missing columns ra, dec" in line
    assert "RA" in line


def test_unknown_and_assigned_columns_are_said_in_one_warning(tmp_path: Path) -> None:
    table = sources()
    table["foo"] = 1
    table["bar"] = 2.0
    table["diaObjectId"] = 5
    path = write(table, tmp_path / "s.ecsv")
    read = read_sources(path)
    assert read.warning == (f"{path}: ignored unknown columns foo, bar; column assigned by l1db: diaObjectId")
    assert "dia_object_id" not in read.columns
    assert "foo, bar" in refusal(path, strict=True)


# --- units


def with_units(path: Path, units: dict[str, str], table: Table) -> Path:
    """Write the table with units as the format's metadata holds them, whether or not astropy knows them."""
    if path.suffix == ".fits":
        hdu = fits.table_to_hdu(table)
        for i, name in enumerate(table.colnames, start=1):
            if name in units:
                hdu.header[f"TUNIT{i}"] = units[name]
        hdu.writeto(path, overwrite=True)
    elif path.suffix == ".parquet":
        arrow = pa.table({name: np.asarray(table[name]) for name in table.colnames})
        schema = pa.schema([f.with_metadata({"unit": units[f.name]}) if f.name in units else f for f in arrow.schema])
        pq.write_table(arrow.cast(schema), path)
    else:
        for name, unit in units.items():
            table[name].unit = u.Unit(unit, parse_strict="silent")
        write(table, path)
    return path


@pytest.mark.parametrize("suffix", [".parquet", ".fits", ".ecsv"])
def test_units_are_converted(tmp_path: Path, suffix: str) -> None:
    table = sources()
    table["ra"], table["dec"] = np.radians(table["ra"]), np.radians(table["dec"])
    table["psf_flux"], table["psf_flux_err"] = table["psf_flux"] / 1e3, table["psf_flux_err"] / 1e6
    table["ra_err"] = [0.1, 0.2, 0.3]
    units = {"ra": "rad", "dec": "rad", "psf_flux": "uJy", "psf_flux_err": "mJy", "ra_err": "arcsec"}
    read = read_sources(with_units(tmp_path / f"s{suffix}", units, table)).columns
    np.testing.assert_allclose(read["ra"], [10, 10.5, 11], rtol=1e-14)
    np.testing.assert_allclose(read["dec"], [-5, -4.5, -4], rtol=1e-14)
    np.testing.assert_allclose(read["psf_flux"], [1000, 1500, 2000], rtol=1e-6)
    np.testing.assert_allclose(read["psf_flux_err"], 100, rtol=1e-6)
    np.testing.assert_allclose(read["ra_err"], np.array([0.1, 0.2, 0.3]) / 3600, rtol=1e-6)


@pytest.mark.parametrize("suffix", [".parquet", ".fits", ".ecsv"])
@pytest.mark.parametrize("error_unit", ["mag", "mag(AB)"])
def test_ab_magnitudes_become_fluxes_with_errors(tmp_path: Path, suffix: str, error_unit: str) -> None:
    table = sources()
    table["psf_flux"] = [31.4, 23.9, 20.0]
    table["psf_flux_err"] = [0.1, 0.01, 0.05]
    table["is_negative"] = [False, False, True]
    units = {"psf_flux": "mag(AB)", "psf_flux_err": error_unit}
    read = read_sources(with_units(tmp_path / f"s{suffix}", units, table)).columns
    # astropy is the referee of the zero point, a difference quotient that of the error
    expected = (np.array([31.4, 23.9, 20.0]) * u.ABmag).to_value(u.nJy)
    np.testing.assert_allclose(np.abs(read["psf_flux"]), expected, rtol=1e-5)  # 31.4 is 8.90 + 22.5, rounded by custom
    assert np.sign(read["psf_flux"]).tolist() == [1, 1, -1]
    step = 1e-4
    slope = expected * (10 ** (0.4 * step) - 10 ** (-0.4 * step)) / (2 * step)
    np.testing.assert_allclose(read["psf_flux_err"], slope * [0.1, 0.01, 0.05], rtol=1e-5)


@pytest.mark.parametrize(
    ("column", "unit", "says"),
    [
        ("ra", "Jy", "ra is in Jy, which cannot be converted to deg"),
        ("psf_flux", "electron", "psf_flux is in electron, which cannot be converted to nJy"),
        ("psf_flux", "mag", "AB magnitudes are written mag(AB)"),
        ("psf_flux", "furlong", "unit 'furlong' is not known"),
        ("psf_flux_err", "mag(ST)", "cannot be converted to nJy"),
    ],
)
def test_incompatible_units_are_refused(tmp_path: Path, column: str, unit: str, says: str) -> None:
    assert says in refusal(with_units(tmp_path / "s.parquet", {column: unit}, sources()))


def test_units_of_astropy_and_votable_parquet_are_read(tmp_path: Path) -> None:
    table = sources()
    table["ra"] = np.radians(table["ra"])
    table["ra"].unit = "rad"
    table.write(tmp_path / "astropy.parquet")
    plain = pa.table({name: np.asarray(table[name]) for name in table.colnames if name != "band"})
    plain = plain.append_column("band", pa.array(["r"] * 3))
    votable = io.BytesIO()
    from_table(table[:0]).to_xml(votable)
    pq.write_table(
        plain.replace_schema_metadata({"IVOA.VOTable-Parquet.content": votable.getvalue()}), tmp_path / "vo.parquet"
    )
    for name in ("astropy", "vo"):
        np.testing.assert_allclose(read_sources(tmp_path / f"{name}.parquet").columns["ra"], [10, 10.5, 11])


# --- types and single values


def test_values_that_do_not_fit_their_type_are_listed_by_row_and_own_spelling(tmp_path: Path) -> None:
    table = sources()
    table["detector"] = [1, 70000, 3]
    table["psfNdata"] = [1.0, np.nan, 2.5]
    table["isNegative"] = [0, 1, 2]
    table["snr"] = [1e300, 1.0, 2.0]
    found = read_sources(write(table, tmp_path / "s.parquet"))
    assert [(bad.row, bad.column) for bad in found.bad_rows] == [
        (1, "snr"), (2, "detector"), (3, "psfNdata"), (3, "isNegative"),
    ]  # fmt: skip
    assert found.columns["psf_ndata"][0] == 1
    assert np.ma.getmaskarray(found.columns["psf_ndata"]).tolist() == [False, True, True]


def test_identifiers_that_floating_point_has_rounded_are_bad_rows(tmp_path: Path) -> None:
    table = sources()
    table["diaSourceId"] = [170587115523932323.0, 2.0**53, np.nan]
    found = read_sources(write(table, tmp_path / "s.parquet"))
    assert [(bad.row, bad.column) for bad in found.bad_rows] == [(1, "diaSourceId")]
    assert found.columns["dia_source_id"][1] == 2**53


def test_text_in_a_csv_number_is_a_bad_row_and_in_a_typed_file_a_wrong_type(tmp_path: Path) -> None:
    path = write(sources(), tmp_path / "s.csv")
    path.write_text(path.read_text().replace("10.5", "ten"))
    (bad,) = read_sources(path).bad_rows
    assert (bad.row, bad.column, bad.why) == (2, "ra", "'ten' is not a double precision")
    table = sources()
    table["ra"] = ["10", "ten", "11"]
    assert "column ra holds text; double precision is needed" in refusal(write(table, tmp_path / "s.fits"))


def test_csv_numbers_keep_all_digits_and_infinities_reach_the_database(tmp_path: Path) -> None:
    path = tmp_path / "s.csv"
    path.write_text(
        "# a remark\ndiaSourceId,visit,detector,band,midpoint_mjd_tai,ra,dec,psf_flux,psf_flux_err,is_negative\n"
        "4611686018427387903,1,1,r,60000.123456789,+1.5,inf,1e3,,t\n"
        "9223372036854775808,1,1,r,60000.123456789,,-4,1e3,2,False\n"
    )
    read = read_sources(path)
    assert read.columns["dia_source_id"][0] == 4611686018427387903
    assert [(bad.row, bad.column) for bad in read.bad_rows] == [(2, "diaSourceId")]
    assert np.isinf(read.columns["dec"][0])
    assert read.columns["ra"][0] == 1.5
    assert np.isnan(read.columns["ra"][1])
    assert read.columns["is_negative"].tolist() == [True, False]


# --- files that are not what they should be


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_truncated_files_are_refused(tmp_path: Path, suffix: str) -> None:
    path = write(sources(400), tmp_path / f"s{suffix}")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 2 // 3] if suffix != ".csv" else whole[: whole.rindex(b",")])
    assert "truncated" in refusal(path)


@pytest.mark.parametrize("suffix", SUFFIXES[:3])
def test_a_name_that_claims_another_format_is_refused(tmp_path: Path, suffix: str) -> None:
    path = write(sources(), tmp_path / "s.csv").rename(tmp_path / f"s{suffix}")
    assert "is not" in refusal(path)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b"\x89PNG\r\n\x1a\n\0\0", "none of Parquet, FITS, ECSV, CSV"),
        (b"Obj\x01xxx", "l1db replay"),
        (b"Dear Sir\nno table\n", "missing columns visit"),
    ],
)
def test_foreign_files_are_refused(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    assert says in refusal(path)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    assert "No such file" in refusal(tmp_path / "none.csv")


def test_40000_sources_with_every_column_are_read_in_little_memory(tmp_path: Path) -> None:
    n = 40_000
    rng = np.random.default_rng(1)
    columns = {"visit": np.full(n, 1), "detector": np.zeros(n, "i2"), "band": pa.array(["r"] * n)}
    for column in GIVEN:
        kind = DTYPES[column.sql_type].kind
        columns[column.name] = (
            rng.random(n) if kind == "f" else rng.random(n) > 0.5 if kind == "b" else pa.array(["v"] * n)
            if kind == "O" else rng.integers(0, 100, n)
        )  # fmt: skip
    pq.write_table(pa.table(columns), tmp_path / "s.parquet")
    read = read_sources(tmp_path / "s.parquet")
    assert sum(values.nbytes for values in read.columns.values()) < 20e6


# --- visits

VISITS = """visit,detector,band,midpointMjdTai,exposure_time,n_snaps,psf_fwhm,footprint,difference
5,0,r,60000.5,30,2,3.5,"POLYGON((10 -5, 11 -5, 11 -4, 10 -4, 10 -5))",d/0.fits
5,1,r,60000.5,30,2,,,d/1.fits
6,0,g,60000.6,,,,,
"""


def test_visits_are_read_with_footprints(tmp_path: Path) -> None:
    path = tmp_path / "visits.csv"
    path.write_text(VISITS)
    table = read_visits(path)
    assert table.columns["visit"].tolist() == [5, 5, 6]
    assert table.footprints[0] is not None
    np.testing.assert_array_equal(table.footprints[0], [[10, -5], [11, -5], [11, -4], [10, -4]])
    assert table.footprints[1] is None
    assert np.ma.getmaskarray(table.columns["n_snaps"]).tolist() == [False, False, True]
    assert table.warning == ""
    assert [images.get("difference") for images in table.images] == [
        str(tmp_path / "d" / "0.fits"),
        str(tmp_path / "d" / "1.fits"),
        None,
    ], "relative to the table"


def test_a_misspelt_image_column_is_told_with_what_it_may_be_or_refused(tmp_path: Path) -> None:
    """It would silently turn forced photometry off.  Seen red with --strict for sources only."""
    path = tmp_path / "visits.csv"
    path.write_text(VISITS.replace("difference", "Diference").replace("n_snaps", "colour"))
    told = "unknown columns colour, Diference (is it difference?)"
    assert read_visits(path).warning == f"{path}: ignored {told}"
    with pytest.raises(InputError) as error:
        read_visits(path, strict=True)
    assert str(error.value) == f"{path}: {told} (--strict)"


def test_a_column_that_is_there_is_not_what_another_may_be(tmp_path: Path) -> None:
    table = sources()
    table["psfFlux2"], table["sciencFlux"] = 1.0, 1.0
    path = write(table, tmp_path / "s.ecsv")
    assert read_sources(path).warning == f"{path}: ignored unknown columns psfFlux2, sciencFlux (is it scienceFlux?)"


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("5,1,r", "5,0,r", "row 2, column detector: detector 0 of visit 5 is there twice"),
        ("5,1,r", "5,1,g", "row 2, column band: g, but row 1, same visit, has r"),
        ("6,0,g,60000.6", "6,0,g,", "row 3, column midpointMjdTai: is missing"),
        ("POLYGON((10 -5, 11 -5", "POLYGON((10 -5, 11", "row 1, column footprint: is not POLYGON"),
    ],
)
def test_contradictions_among_visits_are_refused(tmp_path: Path, old: str, new: str, says: str) -> None:
    path = tmp_path / "visits.csv"
    path.write_text(VISITS.replace(old, new))
    with pytest.raises(InputError, match=r"visits\.csv") as error:
        read_visits(path)
    assert says in str(error.value)


def test_a_column_of_times_in_ecsv_becomes_mjd_tai(tmp_path: Path) -> None:
    table = sources()
    table["midpoint_mjd_tai"] = Time([60000.5] * 3, format="mjd", scale="utc")
    read = read_sources(write(table, tmp_path / "s.ecsv"))
    np.testing.assert_allclose(read.columns["midpoint_mjd_tai"], 60000.5 + 37 / 86400, rtol=0, atol=1e-9)
