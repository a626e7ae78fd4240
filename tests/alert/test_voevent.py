"""VOEvents: valid, complete, of the size that brokers take, and the same bytes for ever.

Referees: the schema and the readers of Comet, voevent-parse, astropy's UCDs and units, the database's comments.
"""

from __future__ import annotations

import base64
import gzip
import importlib.util
import re
import warnings
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest
from astropy import units
from astropy.io.votable.ucd import parse_ucd
from lxml import etree

from l1db.alert.content import Content, Rows
from l1db.alert.ucd import ucd
from l1db.alert.voevent import MAX_BYTES, build, ivorn
from l1db.alert.voevent_columns import LEFT_OUT, VERSION, generate, version, versions
from l1db.binary_copy import WireColumn
from l1db.errors import InputError
from tests.alert.alert_contents import (
    ALERT,
    DATABASE_ID,
    DIA_SOURCE_TYPES,
    IMAGE,
    alone,
    contents,
    select,
    table_types,
    with_column,
    without_values,
)

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of both, about their regular expressions
    import voeventparse
    from comet.utility.voevent import parse_ivoid
    from comet.utility.xml import xml_document

RNG = np.random.default_rng(5)
SECONDS_IN_A_DAY = 86400


@pytest.fixture(scope="module")
def schema() -> etree.XMLSchema:
    """VOEvent 2.0's, as Comet has it."""
    spec = importlib.util.find_spec("comet")
    assert spec is not None
    assert spec.origin is not None
    return etree.XMLSchema(etree.parse(Path(spec.origin).parent / "schema" / "VOEvent-v2.0.xsd"))


def one(content: Content, reference: str | None = None) -> bytes:
    """The event of the only alert."""
    (document,) = build(content, reference)
    return document


def groups(document: bytes) -> dict[str, dict[str, dict[str, str]]]:
    """Groups by name, Params by name, attributes by name, as voevent-parse reads them."""
    found = voeventparse.get_grouped_params(voeventparse.loads(document))
    assert all(len(found.getlist(name)) == 1 for name in found), "names of Groups are unique"
    for group in found.values():
        assert all(len(group.getlist(name)) == 1 for name in group), "names of Params are unique in a Group"
    return {name: {param: dict(group[param]) for param in group} for name, group in found.items()}


def table(document: bytes) -> tuple[list[str], list[list[str]]]:
    """Names of the history's columns, and its rows."""
    what = voeventparse.loads(document).What
    if what.find("Table") is None:
        return [], []
    assert what.Table.get("name") == "history"
    names = [field.get("name") for field in what.Table.Field]
    return names, [[cell.text or "" for cell in row.iterchildren()] for row in what.Table.Data.TR]


def read_back(text: str, column: WireColumn) -> Any:
    """What a reader makes of a value."""
    dtype = column.values.dtype
    if dtype.kind == "b":
        return {"true": True, "false": False}[text]
    return text if dtype.kind == "O" else dtype.type(text)


def expected(rows: Rows, i: int) -> dict[str, Any]:
    """Values of a row that are there and shown."""
    return {
        name: column.values[i]
        for name, column in rows.columns.items()
        if column.present[i] and name not in LEFT_OUT["dia_object"]
    }


# ------------------------------------------------------------------------------------------------ what they say


def test_alerts_of_all_kinds_are_valid(schema: etree.XMLSchema) -> None:
    everything = contents(20, compressed={"difference": b"d", "science": b"s", "template": b"t"})
    bare = contents(1, n_history=0, bands=())
    bare = replace(bare, object=without_values(bare.object), image=without_values(bare.image))
    for document in (*build(everything), *build(everything, "https://l1db.example/alerts?id="), one(bare)):
        schema.assertValid(etree.fromstring(document))
        assert voeventparse.valid_as_v2_0(voeventparse.loads(document))
        assert document.startswith(b'<?xml version="1.0" encoding="UTF-8"?>')
    assert set(groups(one(bare))) == {"alert", "dia_source", "packet"}
    assert build(contents(0, n_history=[])) == []


def test_every_column_that_has_a_value_is_there_and_no_other() -> None:
    content = contents(30, bands=("g", "r", "weird <band>"))
    for i, document in enumerate(build(content)):
        found = groups(document)
        rows = {
            "alert": (content.alert, i),
            "dia_source": (content.source, i),
            "dia_object": (content.object, i),
            "image_metadata": (content.image, i),
        } | {f"dia_object_band_{content.band['band'].values[k]}": (content.band, k) for k in range(3 * i, 3 * i + 3)}
        assert set(found) == {*rows, "packet"}
        for group, (table_rows, k) in rows.items():
            values = expected(table_rows, k)
            assert found[group].keys() == values.keys()
            for name, value in values.items():
                param = found[group][name]
                assert read_back(param["value"], table_rows[name]) == value, name
                kind = table_rows[name].values.dtype.kind
                assert param["dataType"] == {"f": "float", "i": "int", "b": "string", "O": "string"}[kind]


@pytest.mark.parametrize("value", [0.1, 1 / 3, 16777217.0, 5.4276188e-05, -1.2e6, 3.4e38, 1e-45, -0.0, 1e16, 1e-12])
def test_numbers_are_spelled_shortest(value: float) -> None:
    content = contents()
    single = np.float32(value)
    content = replace(content, source=with_column(content.source, "psf_flux", [single]))
    content = replace(content, source=with_column(content.source, "trail_ra", [value]))
    params = groups(one(content))["dia_source"]
    digits = {name: params[name]["value"] for name in ("psf_flux", "trail_ra")}
    assert np.float32(digits["psf_flux"]) == single
    assert float(digits["trail_ra"]) == value
    fewest = {"psf_flux": np.format_float_scientific(single), "trail_ra": np.format_float_scientific(value)}
    for name, text in digits.items():
        assert Decimal(text).normalize().as_tuple().digits == Decimal(fewest[name]).normalize().as_tuple().digits


def test_numbers_that_are_none_are_spelled_as_voevent_does() -> None:
    content = contents(3)
    content = replace(content, source=with_column(content.source, "psf_flux", [np.nan, np.inf, -np.inf]))
    values = [groups(document)["dia_source"]["psf_flux"]["value"] for document in build(content)]
    assert values == ["nan", "inf", "-inf"]


def test_units_are_those_of_the_database(connection: psycopg.Connection) -> None:
    comments = connection.execute(
        "select attrelid::regclass::text, attname, col_description(attrelid, attnum),"
        "       atttypid = 'timestamptz'::regtype"
        "  from pg_attribute"
        " where attrelid = any('{l1.alert, l1.dia_source, l1.dia_object, l1.dia_object_band}'::regclass[])"
        "   and attnum > 0"
    ).fetchall()
    content = contents(60)  # so many that each column has a value somewhere
    found: dict[str, dict[str, dict[str, str]]] = {}
    for document in build(content):
        for group, params in groups(document).items():
            found.setdefault(re.sub("^(dia_object_band)_.*", r"\1", group), {}).update(params)
    n_units = 0
    for relation, name, comment, is_timestamp in comments:
        if name in LEFT_OUT[relation.split(".")[-1]]:
            continue
        stated = re.findall(r"\[([^],]+)\]", comment)
        unit = "d" if is_timestamp else stated[-1] if stated else ""
        told = found[relation.split(".")[-1]][name].get("unit", "")
        assert bool(told) == bool(unit), name
        if unit:
            n_units += 1
            assert units.Unit(told, format="vounit") == units.Unit(unit), name
    assert n_units > 70
    image = found["image_metadata"]
    assert [image[name].get("unit") for name in ("psf_fwhm", "zero_point", "flux_noise", "boresight_ra")] == [
        "pix", "mag", "nJy", "deg",
    ]  # fmt: skip
    assert (image["exposure_time"]["unit"], image["midpoint_mjd_tai"]["unit"]) == ("s", "d")


def test_every_column_has_a_ucd_of_valid_words() -> None:
    names = {*ALERT, *DIA_SOURCE_TYPES, *table_types("dia_object"), *table_types("dia_object_band"), *IMAGE}
    names |= {"n_history", "n_history_shown", "n_history_omitted", "omitted", "full_packet"}
    names |= {"cutout_difference", "cutout_science", "cutout_template"}
    for name in names:
        described = ucd(name)
        assert described is not None, name
        parse_ucd(described, check_controlled_vocabulary=True)
    assert ucd("no_such_column") is None
    params = groups(one(contents()))["dia_source"]
    assert params["ra"]["ucd"] == "pos.eq.ra;meta.main"
    assert params["psf_flux_err"]["ucd"] == "stat.error;phot.flux.density;arith.diff"


def test_history_is_a_table_of_all_rows_in_order() -> None:
    content = contents(5, n_history=[3, 0, 40, 1, 7])
    for i, document in enumerate(build(content)):
        names, rows = table(document)
        start, end = content.history_bounds[i : i + 2]
        assert len(rows) == end - start
        packet = groups(document)["packet"]
        assert packet["n_history"]["value"] == packet["n_history_shown"]["value"] == str(end - start)
        assert packet.keys() == {"n_history", "n_history_shown"}
        if not rows:
            continue
        assert names == [column.name for column in version(VERSION).history]
        for cells, k in zip(rows, range(start, end), strict=True):
            for name, cell in zip(names, cells, strict=True):
                column = content.history[name]
                if column.present[k]:
                    assert read_back(cell, column) == column.values[k]
                else:
                    assert cell == ""
        flags = [(row[names.index("is_forced")], row[names.index("is_precovery")]) for row in rows]
        assert flags == [
            tuple(str(content.history[name].values[k]).lower() for name in ("is_forced", "is_precovery"))
            for k in range(start, end)
        ]
        times = [float(row[names.index("midpoint_mjd_tai")]) for row in rows]
        assert times == sorted(times)


def test_cutouts_are_the_fits_files_gzipped() -> None:
    files = {kind: RNG.bytes(2880) for kind in ("difference", "science", "template")}
    document = one(contents(compressed={kind: gzip.compress(file) for kind, file in files.items()}))
    params = {
        param.get("name"): param for param in etree.fromstring(document).iterfind("What/Group[@name='cutouts']/Param")
    }
    assert params.keys() == {f"cutout_{kind}" for kind in files}
    for kind, file in files.items():
        param = params[f"cutout_{kind}"]
        assert gzip.decompress(base64.b64decode(param.findtext("Value"), validate=True)) == file
        assert param.findtext("Description") == "FITS, gzip, base64"
    assert b"cutout_science" not in one(contents(compressed={"difference": b"d", "template": b"t"}))


# ---------------------------------------------------------------------------------------------- where and when


def mjd_tai(utc: str, tai_minus_utc: int) -> float:
    """MJD TAI of a time in UTC, counted in whole days and seconds."""
    date, clock = utc.split("T")
    day = (datetime.fromisoformat(date).replace(tzinfo=UTC) - datetime(1858, 11, 17, tzinfo=UTC)).days
    hours, minutes, seconds = clock.split(":")
    return day + (int(hours) * 3600 + int(minutes) * 60 + float(seconds) + tai_minus_utc) / SECONDS_IN_A_DAY


@pytest.mark.parametrize(
    ("utc", "tai_minus_utc"),
    [
        ("2018-06-15T03:04:05.678", 37),
        ("2026-11-23T23:59:59.999", 37),
        ("2017-01-01T00:00:00.000", 37),
        ("2016-12-31T23:59:60.500", 36),
        ("2016-12-31T23:59:59.500", 36),
        ("2015-07-01T00:00:00.001", 36),
        ("2015-06-30T23:59:59.999", 35),
    ],
)
def test_time_is_utc_to_the_millisecond(utc: str, tai_minus_utc: int, schema: etree.XMLSchema) -> None:
    content = contents()
    time = [mjd_tai(utc, tai_minus_utc)]
    content = replace(content, source=with_column(content.source, "midpoint_mjd_tai", time))
    content = replace(content, alert=with_column(content.alert, "stamp", time))
    document = one(content)
    event = voeventparse.loads(document)
    assert event.WhereWhen.ObsDataLocation.ObservationLocation.AstroCoords.Time.TimeInstant.ISOTime.text == utc
    schema.assertValid(etree.fromstring(document))  # XML Schema knows no leap seconds
    date = datetime.fromisoformat(event.Who.Date.text)
    if ":60" not in utc:
        assert voeventparse.get_event_time_as_utc(event) == datetime.fromisoformat(utc).replace(tzinfo=UTC)
        assert abs((date - datetime.fromisoformat(utc).replace(tzinfo=UTC)).total_seconds()) < 2e-6
    else:
        assert date == datetime(2016, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)


def test_milliseconds_are_rounded_not_cut() -> None:
    content = contents()
    time = [mjd_tai("2026-11-23T23:59:59.99961", 37)]
    document = one(replace(content, source=with_column(content.source, "midpoint_mjd_tai", time)))
    assert b"<ISOTime>2026-11-24T00:00:00.000</ISOTime>" in document


def test_date_is_the_stamp_to_the_microsecond() -> None:
    stamp = datetime(2026, 11, 23, 4, 5, 6, 123457, tzinfo=UTC)
    content = contents()
    since_midnight = (stamp - datetime(2026, 11, 23, tzinfo=UTC)).total_seconds()
    mjd = mjd_tai("2026-11-23T00:00:00", 37) + since_midnight / SECONDS_IN_A_DAY
    event = voeventparse.loads(one(replace(content, alert=with_column(content.alert, "stamp", [mjd]))))
    assert datetime.fromisoformat(event.Who.Date.text) == stamp


def test_position_is_that_of_the_source() -> None:
    content = contents()
    source = content.source
    for name, value in {"ra": 359.9999999999, "dec": -1e-05, "ra_err": 3e-5, "dec_err": 4e-5}.items():
        source = with_column(source, name, [value])
    event = voeventparse.loads(one(replace(content, source=source)))
    position = voeventparse.get_event_position(event)
    assert (position.ra, position.dec, position.units, position.system) == (
        359.9999999999, -1e-05, "deg", "UTC-ICRS-TOPO",
    )  # fmt: skip
    assert position.err == pytest.approx(5e-5, rel=1e-6)
    assert event.WhereWhen.ObsDataLocation.ObservatoryLocation.get("id") == "Sky & Söhne"


@pytest.mark.parametrize("missing", ["ra_err", "dec_err"])
def test_position_without_error_says_so(missing: str, schema: etree.XMLSchema) -> None:
    content = contents()
    document = one(replace(content, source=with_column(content.source, missing, [None])))
    schema.assertValid(etree.fromstring(document))
    event = voeventparse.loads(document)
    assert np.isnan(voeventparse.get_event_position(event).err)
    assert "NaN: the source came without errors" in event.WhereWhen.Description.text


# ------------------------------------------------------------------------------------------------- who, and whom


def test_names_are_identifiers_of_the_ivoa() -> None:
    name = ivorn("org.example", 4711, DATABASE_ID)
    assert name == f"ivo://org.example/l1db/alerts#{DATABASE_ID}/4711"
    assert parse_ivoid(name) == ("org.example", "/l1db/alerts", f"{DATABASE_ID}/4711")
    content = contents(2)
    for i, document in enumerate(build(content)):
        event = voeventparse.loads(document)
        assert event.get("ivorn") == ivorn("org.example", i + 1, DATABASE_ID)
        assert event.Who.AuthorIVORN.text == "ivo://org.example/l1db"
        assert (event.Who.Author.title.text, event.Who.Author.shortName.text) == ("Sky & Söhne", "Sky & Söhne")


def test_two_databases_of_one_authority_give_different_names() -> None:
    assert ivorn("org.example", 1, DATABASE_ID) != ivorn("org.example", 1, DATABASE_ID[:-1] + "e")


@pytest.mark.parametrize(
    "authority", ["org.example/north", "my survey", 'a"b<c>&d', "größe", "a%zz", "\x01", "x" * 500]
)
def test_any_authority_gives_a_valid_event(authority: str, schema: etree.XMLSchema) -> None:
    content = contents()
    document = one(replace(content, alert=with_column(content.alert, "ivo_authority", [authority])))
    schema.assertValid(etree.fromstring(document))


@pytest.mark.parametrize(("operational", "role"), [(True, "observation"), (False, "test"), (None, "test")])
@pytest.mark.parametrize("kind", ["detection", "forced", "retraction"])
def test_only_operational_surveys_are_no_test(kind: str, operational: bool | None, role: str) -> None:
    content = contents()
    alert = with_column(with_column(content.alert, "operational", [operational]), "kind", [kind])
    assert voeventparse.loads(one(replace(content, alert=alert))).get("role") == role


@pytest.mark.parametrize(
    ("kind", "first", "retracted", "cited"),
    [
        ("detection", None, None, []),
        ("detection", 11, None, [("followup", 11)]),
        ("forced", 11, None, [("followup", 11)]),
        ("retraction", None, 12, [("retraction", 12)]),
        ("retraction", 11, 12, [("retraction", 12), ("followup", 11)]),
        ("retraction", 12, 12, [("retraction", 12)]),
    ],
)
def test_citations(
    kind: str, first: int | None, retracted: int | None, cited: list[tuple[str, int]], schema: etree.XMLSchema
) -> None:
    content = contents()
    alert = with_column(content.alert, "kind", [kind])
    alert = with_column(with_column(alert, "first_alert_id", [first]), "retracted_alert_id", [retracted])
    document = one(replace(content, alert=alert))
    event = etree.fromstring(document)
    schema.assertValid(event)
    found = [(element.get("cite"), element.text) for element in event.iterfind("Citations/EventIVORN")]
    assert found == [(how, ivorn("org.example", alert_id, DATABASE_ID)) for how, alert_id in cited]
    assert (event.find("Citations") is None) == (not cited)


def test_filters_of_comet_see_the_params() -> None:
    content = contents()
    source = with_column(content.source, "snr", [7.5])
    source = with_column(with_column(source, "ra_err", [2.5e-5]), "is_negative", [False])
    content = replace(content, source=with_column(source, "psf_flux", [1.5e6]))
    event = xml_document(one(content)).element  # what Comet makes of the bytes before it filters
    for expression in (
        "//Param[@name='snr' and @value>7.4]",
        "//Group[@name='dia_source']/Param[@name='ra_err' and @value<2.6e-5 and @value>0.000024]",
        "//Param[@name='psf_flux' and @value>1499999 and @value<1500001]",
        "//Group[@name='dia_source']/Param[@name='is_negative' and @value='false']",
        "//Group[@name='dia_source']/Param[@name='dia_source_id' and @value='4611686018427387904']",
        "//Group[@name='dia_object_band_r']/Param[@name='band' and @value='r']",
        "//Group[@name='packet']/Param[@name='n_history' and @value=5]",
    ):
        assert etree.XPath(expression)(event), expression
    for expression in ("//Param[@name='snr' and @value>7.6]", "//Param[@name='omitted']"):
        assert not etree.XPath(expression)(event), expression
    # XPath 1.0 has no exponents; libxml2 reads them, others need not
    values = etree.XPath("//Param[@name='ra_err' or @name='psf_flux']/@value")(event)
    assert not any("e" in value for value in values)


# ------------------------------------------------------------------------------------------------------ any text


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("\x00\x01\x08\x0b\x1f", "\ufffd" * 5),
        ("\ud800 half a pair \udfff", "\ufffd half a pair \ufffd"),
        ("\ufffe\uffff", "\ufffd\ufffd"),
        ("SIMPLE  =                    T\nEND\r\n\t", "SIMPLE  =                    T\nEND\r\n\t"),
        ("<!-- & --> ]]> \"double\" 'single' &#0;", "<!-- & --> ]]> \"double\" 'single' &#0;"),
        ("Größe 星 🜚 \u200b\x85", "Größe 星 🜚 \u200b\x85"),
    ],
)
def test_texts_of_any_characters(given: str, told: str, schema: etree.XMLSchema) -> None:
    content = contents(n_history=1)
    content = replace(
        content,
        image=with_column(content.image, "wcs", [given]),
        alert=with_column(content.alert, "survey_name", [given]),
        history=with_column(content.history, "band", [given]),
    )
    document = one(content)
    schema.assertValid(etree.fromstring(document))
    event = voeventparse.loads(document)
    assert groups(document)["image_metadata"]["wcs"]["value"] == told
    assert event.Who.Author.title.text == told
    assert event.WhereWhen.ObsDataLocation.ObservatoryLocation.get("id") == told
    names, rows = table(document)
    assert rows[0][names.index("band")] == told


# ---------------------------------------------------------------------------------------------------------- size


def history_table(content: Content, k: int) -> tuple[bytes, bytes]:
    """A row of the history, and the whole Table, as they are in an event that has no other row."""
    row = replace(contents(), history=select(content.history, slice(k, k + 1)), history_bounds=np.array([0, 1]))
    ((whole, found),) = re.findall(b"(<Table.*(<TR>.*?</TR>\n).*</Table>\n)", one(row), re.DOTALL)
    return found, whole


def check_history(content: Content, document: bytes) -> int:
    """The newest rows are shown, as many as have room, and the numbers are told; how many rows that is."""
    names, rows = table(document)
    n = len(content.history)
    shown = content.history["dia_source_id"].values[n - len(rows) :].tolist()
    assert [int(row[names.index("dia_source_id")]) for row in rows] == shown
    packet = {name: param["value"] for name, param in groups(document)["packet"].items()}
    assert (packet["n_history"], packet["n_history_shown"]) == (str(n), str(len(rows)))
    assert packet.get("n_history_omitted", "0") == str(n - len(rows))
    if len(rows) < n:
        row, whole = history_table(content, n - len(rows) - 1)
        digits = 1  # one number may grow by a digit with the next row, the other shrink
        assert len(document) + len(row if rows else whole) > MAX_BYTES - digits
    return len(rows)


def omitted(document: bytes) -> str | None:
    """What is said to be missing."""
    return groups(document)["packet"].get("omitted", {}).get("value")


def shown_cutouts(document: bytes) -> list[str]:
    """Kinds of the cutouts in an event."""
    return etree.fromstring(document).xpath("//Group[@name='cutouts']/Param/@name")


def test_oldest_history_goes_first(schema: etree.XMLSchema) -> None:
    content = contents(n_history=10_000, compressed={"difference": RNG.bytes(15_000), "template": RNG.bytes(15_000)})
    document = one(content)
    schema.assertValid(etree.fromstring(document))
    assert len(document) <= MAX_BYTES < 99_999
    assert check_history(content, document) > 20
    assert omitted(document) == "oldest history"
    assert shown_cutouts(document) == ["cutout_difference", "cutout_template"]


def test_the_last_byte_is_used_and_no_more() -> None:
    content = contents(n_history=30, compressed={"difference": RNG.bytes(20_000), "template": RNG.bytes(15_000)})
    short = one(replace(content, image=with_column(content.image, "software", [""])))
    assert omitted(short) is None
    for spare, goes in ((0, None), (-1, "oldest history")):
        software = "x" * (MAX_BYTES - len(short) - spare)
        padded = replace(content, image=with_column(content.image, "software", [software]))
        document = one(padded)
        assert omitted(document) == goes
        assert len(document) <= MAX_BYTES
        check_history(padded, document)
    full = one(replace(content, image=with_column(content.image, "software", ["x" * (MAX_BYTES - len(short))])))
    assert len(full) == MAX_BYTES


def test_all_history_goes_before_a_cutout() -> None:
    difference, template = RNG.bytes(15_000), b""
    content = contents(n_history=50, compressed={"difference": difference, "template": template})
    without_history = replace(content, history=select(content.history, slice(0, 0)), history_bounds=np.array([0, 0]))
    # so large a template that what is left is less than a row
    size = (MAX_BYTES - len(one(without_history)) - 500) // 4 * 3
    content = replace(content, compressed=[{"difference": difference, "template": RNG.bytes(size)}])
    document = one(content)
    assert check_history(content, document) == 0
    assert omitted(document) == "oldest history"
    assert shown_cutouts(document) == ["cutout_difference", "cutout_template"]


@pytest.mark.parametrize(
    ("sizes", "goes", "stay"),
    [
        ({"difference": 9, "template": 60}, "template cutout", ["difference"]),
        ({"difference": 80, "template": 9}, "template cutout, difference cutout", []),
        ({"difference": 80, "template": 80}, "template cutout, difference cutout", []),
        ({"difference": 9, "science": 60, "template": 9}, "science cutout", ["difference", "template"]),
        ({"difference": 9, "science": 9, "template": 60}, "science cutout, template cutout", ["difference"]),
        ({"difference": 9, "template": 9}, None, ["difference", "template"]),
    ],
)
def test_cutouts_go_in_their_order_and_make_room(
    sizes: dict[str, int], goes: str | None, stay: list[str], schema: etree.XMLSchema
) -> None:
    content = contents(n_history=30, compressed={kind: RNG.bytes(1000 * size) for kind, size in sizes.items()})
    document = one(content)
    schema.assertValid(etree.fromstring(document))
    assert len(document) <= MAX_BYTES
    assert omitted(document) == goes
    assert shown_cutouts(document) == [f"cutout_{kind}" for kind in stay]
    assert check_history(content, document) == 30  # what went left room for all of it


def test_largest_cutouts_and_a_long_history(schema: etree.XMLSchema) -> None:
    # 102 pixels: image, variance and mask of 4 bytes; noise hardly shrinks
    pixels = gzip.compress(RNG.normal(size=(3, 102, 102)).astype(np.float32).tobytes())
    content = contents(n_history=10_000, compressed={"difference": pixels, "template": pixels})
    document = one(content)
    schema.assertValid(etree.fromstring(document))
    assert len(document) <= MAX_BYTES
    assert omitted(document) == "oldest history, template cutout, difference cutout"
    assert check_history(content, document) > 100


def test_what_is_missing_can_be_asked_for() -> None:
    content = contents(n_history=1000)
    event = etree.fromstring(one(content))
    packet = "What/Group[@name='packet']"
    how = event.find(f"{packet}/Param[@name='full_packet']").get("value")
    assert how == f"l1db alert show 1 (Level 1 Database {DATABASE_ID})"
    assert event.find(f"{packet}/Reference").get("uri") == event.get("ivorn")
    assert event.find("Reference") is None
    event = etree.fromstring(one(content, "https://l1db.example/packets?a=b&id="))
    whole = "https://l1db.example/packets?a=b&id=1"
    assert event.find(f"{packet}/Param[@name='full_packet']").get("value") == whole
    assert event.find(f"{packet}/Reference").get("uri") == event.find("Reference").get("uri") == whole
    # with everything in it, the event still says where its packet is
    event = etree.fromstring(one(contents(), "https://l1db.example/"))
    assert event.find(f"{packet}/Reference") is None
    assert event.find("Reference").get("uri") == "https://l1db.example/1"


@pytest.mark.parametrize("reference", ["has blanks/", "100%/", "größe", 'a"<b>&c', "file:///spool/", "C:\\spool\\"])
def test_any_reference_gives_a_valid_event(reference: str, schema: etree.XMLSchema) -> None:
    schema.assertValid(etree.fromstring(one(contents(n_history=1000), reference)))


@pytest.mark.parametrize("character", ["x", '"', "星", "\n"])
@pytest.mark.parametrize("many", [False, True], ids=["one text", "all texts"])
def test_monstrous_texts_are_cut_and_the_event_is_sent(many: bool, character: str, schema: etree.XMLSchema) -> None:
    monster = character * 300_000
    content = contents(n_history=30, compressed={"difference": RNG.bytes(10_000), "template": RNG.bytes(10_000)})
    fields = [("image", "wcs")]
    if many:
        fields += [("image", name) for name in ("software", "target", "reason", "footprint", "template", "band")]
        fields += [("source", "band"), ("source", "no_object_reason"), ("alert", "survey_name"), ("alert", "kind")]
    for part, name in fields:
        content = replace(content, **{part: with_column(getattr(content, part), name, [monster])})
    document = one(content)
    schema.assertValid(etree.fromstring(document))
    assert len(document) <= MAX_BYTES
    beyond = re.search(r"texts beyond (\d+) characters", omitted(document) or "")
    assert beyond is not None
    kept = int(beyond[1])
    wcs = groups(document)["image_metadata"]["wcs"]["value"]
    assert wcs == character * kept + f"… [{300_000 - kept} more characters]"
    check_history(content, document)
    if not many:
        assert kept == 4096
        assert "cutout_difference" in shown_cutouts(document)


def test_a_long_text_in_the_history_costs_only_its_row_and_those_before() -> None:
    content = contents(n_history=10)
    bands = ["r"] * 10
    bands[4] = "x" * 200_000
    content = replace(content, history=with_column(content.history, "band", bands))
    document = one(content)
    names, rows = table(document)
    shown = content.history["dia_source_id"].values[5:].tolist()
    assert [int(row[names.index("dia_source_id")]) for row in rows] == shown
    assert omitted(document) == "oldest history"


# --------------------------------------------------------------------------------------------------------- bytes


def test_the_same_alert_gives_the_same_bytes_alone_and_in_company() -> None:
    content = contents(
        6, n_history=[0, 2000, 3, 50, 0, 1], compressed={"difference": RNG.bytes(9000), "template": RNG.bytes(9000)}
    )
    together = build(content, "https://l1db.example/")
    assert together == build(content, "https://l1db.example/")
    assert together == [one(alone(content, i), "https://l1db.example/") for i in range(6)]
    assert len({*together}) == 6


def test_values_under_a_null_do_not_matter() -> None:
    content = contents(3)
    scrambled = {
        name: WireColumn(name, np.where(column.present, column.values, column.values[::-1]), column.present)
        for name, column in content.source.columns.items()
    }
    assert build(replace(content, source=replace(content.source, columns=scrambled))) == build(content)


def test_bytes_stay_what_they_are() -> None:
    """Whoever changes what is built from the same content changes the packets of all alerts that were ever issued."""
    content = contents(n_history=2, bands=("r",), compressed={"difference": b"FITS"})
    alert, source, history = content.alert, content.source, content.history
    for name, values in {"stamp": [61001.0], "first_alert_id": [7], "alert_id": [12]}.items():
        alert = with_column(alert, name, values)
    given = {"ra": 10.25, "dec": -5.0, "ra_err": 3e-5, "dec_err": None, "psf_flux": 1e6, "midpoint_mjd_tai": 61000.5}
    for name, value in given.items():
        source = with_column(source, name, [value])
    for name, values in {
        "dia_source_id": [3, 4], "midpoint_mjd_tai": [60000.5, 60001.5], "psf_flux": [None, 0.1],
        "band": ["r", "a<b"], "is_forced": [True, False],
    }.items():  # fmt: skip
        history = with_column(history, name, values)
    document = one(
        replace(
            content,
            alert=only(alert, "alert_id kind dia_source_id stamp database_id survey_name ivo_authority first_alert_id"),
            source=only(source, "dia_source_id ra dec ra_err dec_err psf_flux midpoint_mjd_tai"),
            object=only(with_column(content.object, "n_dia_sources", [3]), "n_dia_sources"),
            band=only(with_column(content.band, "psf_flux_mean", [2.5]), "band psf_flux_mean"),
            history=only(history, "dia_source_id midpoint_mjd_tai psf_flux band is_forced"),
            image=only(with_column(content.image, "zero_point", [31.4]), "zero_point"),
        )
    )
    assert document == (Path(__file__).parent / "voevent.xml").read_bytes()


def only(table_rows: Rows, names: str) -> Rows:
    """The same rows, with some of the columns."""
    return replace(table_rows, columns={name: table_rows[name] for name in names.split()})


# ------------------------------------------------------------------------------------------------------ versions


def surplus(table: Rows) -> Rows:
    """The same rows as a later database may have them: a column more, the others in another order and wider."""
    columns = {
        name: WireColumn(name, column.values.astype("f8" if column.values.dtype.kind == "f" else "i8"), column.present)
        if column.values.dtype.kind in "fi"
        else column
        for name, column in sorted(table.columns.items(), reverse=True)
    }
    return Rows(
        table.n, {"one_more": WireColumn("one_more", np.ones(table.n), np.ones(table.n, dtype=bool)), **columns}
    )


def test_what_the_database_has_later_changes_no_event() -> None:
    """Seen red with all columns of the content shown, and without the types of the version's file."""
    content = contents(10, n_history=[3, 0, 40, 1, 7, 0, 0, 2, 1, 1], compressed={"difference": b"FITS"})
    names = ("alert", "source", "object", "band", "history", "image")
    later = replace(content, **{name: surplus(getattr(content, name)) for name in names})
    assert build(later) == build(content)


def test_the_file_of_the_version_is_what_models_make() -> None:
    """A new column is to be left out, or makes a new version.  Seen red with a column, a unit and a UCD changed."""
    assert (Path(__file__).parents[2] / "l1db" / "alert" / "schemas" / f"voevent.v{VERSION}.json").read_text(
        encoding="utf-8"
    ) == generate(), (
        f"events would not be of version {VERSION} any more: name the column in LEFT_OUT, or raise VERSION, both in "
        "l1db/alert/voevent_columns.py, and run python -m l1db.alert.voevent_columns"
    )
    assert versions()[-1] == VERSION


def test_a_version_that_there_is_not_is_refused() -> None:
    with pytest.raises(InputError, match="there is no version 0 of VOEvents; there are: 1"):
        build(contents(), version="0")
