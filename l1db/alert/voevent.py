"""Alerts as VOEvent 2.0: one XML document each, small enough for brokers, and the same bytes whenever it is made.

==============  =====================================================================================================
Who             the survey; Date is the stamp of the transaction that issued the alert, UTC
What            Groups ``alert``, ``dia_source``, ``dia_object``, ``dia_object_band_<band>``, ``image_metadata``,
                ``packet`` (what of the alert is in it), Table ``history`` and Group ``cutouts``
WhereWhen       position, and the midpoint of the DiaSource in UTC
Citations       the first alert of the same DiaObject; of a retraction, the alert that is withdrawn
==============  =====================================================================================================

Params and Fields have the names and the units of the columns in the database, so that an XPath filter of a broker and
a query in psql say the same: ``//Group[@name='dia_source']/Param[@name='snr' and @value > 5]``.  Times are MJD TAI in
them, also those that the database has as ``timestamptz``; a column without value has no Param, and an empty cell in
the Table.  Booleans are the strings ``true`` and ``false``.  Ids do not fit XPath's numbers, which are doubles: compare
them as strings.  Cutouts are FITS files, gzipped, in base64, in the Value of their Param.

Numbers are spelled with the fewest digits that read back as the same number, of 32 bits where the column is ``real``;
without exponent unless they are huge or tiny, as the numbers of XPath have none.

What has no room
----------------
Brokers take 99 999 bytes.  Past that the oldest rows of the history go first, then the science cutout, if there is
one, the template and the difference cutout; once a cutout is gone, the newest rows that fit are there again.  If not
even the rest has room, long texts are cut.  Group ``packet`` says all that, and where the whole is.

Nothing here looks at a clock, and nothing is compressed: the bytes depend on the `Content` of the alert and on
``reference`` alone, not on the company in which it is built.
"""

from __future__ import annotations

import binascii
import math
import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from functools import partial
from itertools import accumulate, product
from typing import Any
from urllib.parse import quote

import numpy as np
from astropy.time import Time
from numpy.typing import NDArray

from l1db.alert.content import CUTOUT_KINDS, Content, Rows
from l1db.alert.voevent_columns import VERSION, Shown, Version
from l1db.alert.voevent_columns import version as shown_by
from l1db.binary_copy import WireColumn
from l1db.columns import DTYPES

MAX_BYTES = 99_998
"""Size of the largest packet: Comet hangs up on more than 99 999 bytes, and the promise is to stay below that."""

_SHED = ("science", "template", "difference")
_DATA_TYPES = {
    **dict.fromkeys(("bigint", "integer", "smallint"), "int"),
    **dict.fromkeys(("double precision", "real"), "float"),
    **dict.fromkeys(("boolean", "text"), "string"),
}
_LONGEST_TEXTS = (None, 4096, 1024, 256, 64, 16)

_TITLES = {
    "detection": "Detection on a difference image",
    "forced": "Forced measurement on a difference image, at the position of a DiaObject",
    "retraction": "Retraction: this DiaSource was withdrawn",
}


def ivorn(ivo_authority: str, alert_id: int, database_id: str) -> str:
    """The name of an alert's VOEvent: ``ivo://<authority>/l1db/alerts#<database_id>/<alert_id>``.

    Every Level 1 Database counts its alerts from 1, so its whole id is in the name, which thus is unique for ever,
    whoever else issues alerts under the same authority.  What follows ``#`` is the ``key`` of a packet.  Characters
    that no IVOA identifier may have are percent-encoded.
    """
    return f"{_resource(ivo_authority)}/alerts#{database_id}/{alert_id}"


def _resource(ivo_authority: str) -> str:
    authority = quote(ivo_authority, safe="/-_.~*'()", errors="replace")
    return f"ivo://{authority}/l1db"


def build(content: Content, reference: str | None = None, version: str = VERSION) -> list[bytes]:
    """VOEvents of alerts.

    Parameters
    ----------
    content
        What the alerts say; cutouts are taken from ``compressed``.
    reference
        Where whole packets are to be had: a URI to which the alert's id is appended.  Without it, an event of which
        something was left out says how to ask for it.
    version
        Of our events: which columns they show, and what they say of them.

    Returns
    -------
    list of bytes
        A document for each alert, UTF-8, of at most `MAX_BYTES`, valid by the schema of VOEvent 2.0.

    Raises
    ------
    InputError
        If there is no such version.
    """
    if not len(content):
        return []
    events = _Events(content, reference, shown_by(version))
    return [events.document(i) for i in range(len(content))]


# ------------------------------------------------------------------------------------------------------- spelling

_SPECIAL = re.compile('[\x00-\x1f"&<>\ud800-\udfff\ufffe\uffff]')
_REFERENCES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "\t": "&#9;", "\n": "&#10;", "\r": "&#13;"}


def _escape(text: str) -> str:
    """Text fit for an attribute or an element; characters that XML does not know become U+FFFD.

    White space is spelled as references: as it is, readers make a blank of a line break in an attribute.
    """
    return _SPECIAL.sub(lambda match: _REFERENCES.get(match[0], "\ufffd"), text)


def _cut(text: str, longest: int | None) -> str:
    if longest is None or len(text) <= longest:
        return text
    return f"{text[:longest]}… [{len(text) - longest} more characters]"


def _uri(text: str) -> str:
    """A URI whose characters are those of URIs."""
    text = quote(text, safe="%/:?#[]@!$&'()*+,;=~", errors="replace")
    return re.sub("%(?![0-9A-Fa-f]{2})", "%25", text)


def _spelled(column: WireColumn, chosen: NDArray[np.int64] | slice = slice(None)) -> list[str | None]:
    """Values of a column as they are written, texts not yet escaped; None where there is none."""
    values, present = column.values[chosen], column.present[chosen]
    texts: list[str | None]
    if values.dtype.kind == "b":
        texts = ["true" if value else "false" for value in values.tolist()]
    elif values.dtype == np.float32:
        texts = [_number(str(value)) for value in values]  # Python's own numbers would show digits of the double
    elif values.dtype.kind == "f":
        texts = [_number(repr(value)) for value in values.tolist()]
    else:
        texts = [str(value) for value in values.tolist()]
    if not present.all():
        texts = [text if there else None for text, there in zip(texts, present.tolist(), strict=True)]
    return texts


def _number(text: str) -> str:
    """The same digits without exponent, where that does not take many more characters."""
    if "e" not in text or not 1e-12 < abs(float(text)) < 1e20:
        return text
    return f"{Decimal(text):f}"


def _values(rows: Rows, name: str) -> list[Any]:
    """Values of a column that may be missing altogether; None where there is none."""
    if (column := rows.columns.get(name)) is None:
        return [None] * len(rows)
    return [value if there else None for value, there in zip(column.values.tolist(), column.present, strict=True)]


def _xs_float(value: float) -> str:
    """A number as XML Schema spells it, which has words of its own for those that are none."""
    if math.isfinite(value):
        return str(value)
    return "NaN" if math.isnan(value) else "INF" if value > 0 else "-INF"


def _utc(mjd_tai: NDArray[np.float64], precision: int) -> list[str]:
    times: list[str] = Time(mjd_tai, format="mjd", scale="tai", precision=precision).utc.isot.tolist()
    return times


# ------------------------------------------------------------------------------------------- what columns mean


def _attributes(column: Shown) -> str:
    given = {"name": column.name, "ucd": column.ucd, "unit": column.unit, "dataType": _DATA_TYPES[column.type]}
    return " ".join(f'{key}="{_escape(value)}"' for key, value in given.items() if value)


def _description(column: Shown) -> str:
    return f"<Description>{_escape(column.description)}</Description>" if column.description else ""


def _columns(rows: Rows, shown: Sequence[Shown]) -> Iterator[tuple[Shown, WireColumn]]:
    """The columns that are shown, those that there are, with the types that they had when this was settled."""
    for wanted in shown:
        if (column := rows.columns.get(wanted.name)) is not None:
            values = column.values
            if values.dtype.kind in "if":
                values = values.astype(DTYPES[wanted.type], copy=False)
            yield wanted, WireColumn(wanted.name, values, column.present)


class _Params:
    """The Params of a table's rows: what is the same in all of them, and the values."""

    def __init__(self, rows: Rows, shown: Sequence[Shown]) -> None:
        self._columns = []
        for wanted, column in _columns(rows, shown):
            tail = _description(wanted)
            self._columns.append(
                (
                    f'<Param {_attributes(wanted)} value="',
                    _spelled(column),
                    column.values.dtype.kind == "O",
                    f'">{tail}</Param>\n' if tail else '"/>\n',
                )
            )

    def of(self, i: int, longest: int | None) -> str:
        """Those of one row, none for what has no value."""
        parts: list[str] = []
        for head, values, is_text, tail in self._columns:
            if (value := values[i]) is not None:
                parts += (head, _escape(_cut(value, longest)) if is_text else value, tail)
        return "".join(parts)


class _History:
    """The Table of previous DiaSources: of each alert the newest rows, as many as could have room."""

    def __init__(self, rows: Rows, bounds: NDArray[np.int64], shown: Sequence[Shown]) -> None:
        columns = list(_columns(rows, shown))
        self._head = (
            '<Table name="history">\n<Description>Previous DiaSources, oldest first: detections, forced measurements, '
            "precovery</Description>\n"
            + "".join(f"<Field {_attributes(wanted)}>{_description(wanted)}</Field>\n" for wanted, _ in columns)
            + "<Data>\n"
        ).encode()
        self._tail = b"</Data>\n</Table>\n"
        # No row is shorter: numbers have a digit where none is missing.
        least = len("<TR></TR>\n") + sum(
            len("<TD>0</TD>") if column.values.dtype.kind != "O" and column.present.all() else len("<TD/>")
            for _, column in columns
        )
        first = np.maximum(bounds[:-1], bounds[1:] - (MAX_BYTES // least + 1))
        lengths = bounds[1:] - first
        self._starts = np.concatenate([[0], np.cumsum(lengths)])
        chosen = np.repeat(first - self._starts[:-1], lengths) + np.arange(self._starts[-1])
        cells = []
        for _, column in columns:
            texts = _spelled(column, chosen)
            if column.values.dtype.kind == "O":
                texts = [text and _escape(text) for text in texts]
            cells.append([f"<TD>{text}</TD>" if text else "<TD/>" for text in texts])
        self._rows = ["".join(("<TR>", *row, "</TR>\n")).encode() for row in zip(*cells, strict=True)]

    def of(self, i: int) -> list[bytes]:
        """Rows of one alert, oldest first."""
        return self._rows[self._starts[i] : self._starts[i + 1]]

    def table(self, rows: Sequence[bytes]) -> bytes:
        """A Table of these rows; nothing where there is none, as a Table may not be empty."""
        return b"".join((self._head, *rows, self._tail)) if rows else b""

    def size(self, n_bytes: int) -> int:
        """Size of a Table of rows of so many bytes."""
        return len(self._head) + n_bytes + len(self._tail) if n_bytes else 0


# ---------------------------------------------------------------------------------------------------- documents

_ROOT = (
    '<?xml version="1.0" encoding="UTF-8"?>\n'
    '<voe:VOEvent xmlns:voe="http://www.ivoa.net/xml/VOEvent/v2.0"'
    ' xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:schemaLocation="http://www.ivoa.net/xml/VOEvent/v2.0'
    ' http://www.ivoa.net/xml/VOEvent/VOEvent-v2.0.xsd" version="2.0"'
)


def _group(name: str, params: str) -> str:
    """A Group; nothing where there is no Param, as a Group may not be empty."""
    return f'<Group name="{_escape(name)}">\n{params}</Group>\n' if params else ""


class _Events:
    """A number of alerts, column by column, on their way into documents."""

    def __init__(self, content: Content, reference: str | None, shown: Version) -> None:
        alert, source = content.alert, content.source
        self._compressed = content.compressed
        self._reference = reference
        self._ucds = shown.own
        self._alert_params = _Params(alert, shown.groups["alert"])
        self._source_params = _Params(source, shown.groups["dia_source"])
        self._object_params = _Params(content.object, shown.groups["dia_object"])
        self._band_params = _Params(content.band, shown.groups["dia_object_band"])
        self._image_params = _Params(content.image, shown.groups["image_metadata"])
        self._band_bounds = content.band_bounds.tolist()
        self._bands = _values(content.band, "band")
        self._history = _History(content.history, content.history_bounds, shown.history)
        self._n_history = np.diff(content.history_bounds).tolist()
        self._alert_ids = _values(alert, "alert_id")
        self._database_ids = _values(alert, "database_id")
        self._authorities = _values(alert, "ivo_authority")
        self._surveys = _values(alert, "survey_name")
        self._operational = _values(alert, "operational")
        self._kinds = _values(alert, "kind")
        self._source_ids = _values(alert, "dia_source_id")
        self._first = _values(alert, "first_alert_id")
        self._retracted = _values(alert, "retracted_alert_id")
        # Stamps count microseconds: with as many digits, Date finds the versions that the transaction opened.
        self._stamps = _utc(alert["stamp"].values, 6)
        self._midpoints = _utc(source["midpoint_mjd_tai"].values, 3)
        self._ra, self._dec = source["ra"].values.tolist(), source["dec"].values.tolist()
        ra_err, dec_err = (
            np.where(source[name].present, source[name].values, np.float32("nan")).astype(float)
            for name in ("ra_err", "dec_err")
        )
        self._radii = list(np.hypot(ra_err, dec_err).astype(np.float32))

    def document(self, i: int) -> bytes:
        """The event of an alert, with all that has room."""
        compressed = self._compressed[i]
        cutouts = {kind: self._cutout(kind, compressed[kind]) for kind in CUTOUT_KINDS if kind in compressed}
        sheddable = [kind for kind in _SHED if kind in cutouts]
        rows = self._history.of(i)
        for longest, n_shed in product(_LONGEST_TEXTS, range(len(sheddable) + 1)):
            if n_shed == 0:
                head, tail = self._head(i, longest).encode(), self._tail(i, longest).encode()
            shed = sheddable[:n_shed]
            kept = _group("cutouts", "".join(cutout for kind, cutout in cutouts.items() if kind not in shed)).encode()
            packet = partial(self._packet, i, shed, longest)
            n_rows = self._n_rows(i, rows, packet, MAX_BYTES - len(head) - len(kept) - len(tail))
            if n_rows is not None:
                break
        shown = n_rows or 0  # None: an authority or a reference as long as a packet; it is sent all the same
        return b"".join((head, packet(shown), self._history.table(rows[len(rows) - shown :]), kept, tail))

    def _n_rows(self, i: int, rows: Sequence[bytes], packet: Callable[[int], bytes], room: int) -> int | None:
        """How many of the newest rows of the history have room, with what is then said of them; None: not even none."""
        from_newest = [0, *accumulate(len(row) for row in reversed(rows))]

        def size(n_rows: int) -> int:
            return len(packet(n_rows)) + self._history.size(from_newest[n_rows])

        # With all of them there is less to say, so this is not the last step of the search.
        if len(rows) == self._n_history[i] and size(len(rows)) <= room:
            return len(rows)
        n_fitting = bisect_right(range(len(rows) + 1), room, key=size)
        return n_fitting - 1 if n_fitting else None

    def _packet(self, i: int, shed: Sequence[str], longest: int | None, n_rows: int) -> bytes:
        """Group ``packet``: what of the alert is in the event, and where the rest is."""
        n_history = self._n_history[i]
        params = self._own("n_history", n_history) + self._own("n_history_shown", n_rows)
        omitted = [f"{kind} cutout" for kind in shed]
        if n_rows < n_history:
            params += self._own("n_history_omitted", n_history - n_rows)
            omitted.insert(0, "oldest history")
        if longest is not None:
            omitted.append(f"texts beyond {longest} characters")
        if omitted:
            params += self._own("omitted", ", ".join(omitted))
            if self._reference is None:
                whole = self._ivorn(i, self._alert_ids[i])
                database = self._database_ids[i]
                params += self._own(
                    "full_packet", f"l1db alert show {self._alert_ids[i]} (Level 1 Database {database})"
                )
            else:
                whole = f"{self._reference}{self._alert_ids[i]}"
                params += self._own("full_packet", whole)
            params += f'<Reference uri="{_escape(_uri(whole))}"/>\n'
        return _group("packet", params).encode()

    def _own(self, name: str, value: int | str) -> str:
        """A Param that is no column."""
        data_type = "int" if isinstance(value, int) else "string"
        ucd = self._ucds[name]
        return f'<Param name="{name}" ucd="{ucd}" dataType="{data_type}" value="{_escape(str(value))}"/>\n'

    def _cutout(self, kind: str, compressed: bytes) -> str:
        name = f"cutout_{kind}"
        return (
            f'<Param name="{name}" ucd="{self._ucds[name]}" dataType="string">'
            "<Description>FITS, gzip, base64</Description>"
            f"<Value>{binascii.b2a_base64(compressed, newline=False).decode()}</Value></Param>\n"
        )

    def _ivorn(self, i: int, alert_id: int) -> str:
        return ivorn(self._authorities[i], alert_id, self._database_ids[i])

    def _head(self, i: int, longest: int | None) -> str:
        """From the declaration to the last Group without cutouts."""
        survey = _escape(_cut(self._surveys[i], longest))
        # XML Schema's days have 86 400 seconds: what is in a leap second is told as the end of the one before.
        date = re.sub(r":60\..*", ":59.999999", self._stamps[i])
        bands = "".join(
            _group(f"dia_object_band_{self._bands[row]}", self._band_params.of(row, longest))
            for row in range(self._band_bounds[i], self._band_bounds[i + 1])
        )
        return (
            f'{_ROOT} role="{"observation" if self._operational[i] else "test"}"'
            f' ivorn="{_escape(self._ivorn(i, self._alert_ids[i]))}">\n'
            f"<Who>\n<AuthorIVORN>{_escape(_resource(self._authorities[i]))}</AuthorIVORN>\n<Date>{date}Z</Date>\n"
            "<Description>Date is the stamp of the transaction that issued the alert, UTC.</Description>\n"
            f"<Author><title>{survey}</title><shortName>{survey}</shortName></Author>\n</Who>\n"
            f"<What>\n{_group('alert', self._alert_params.of(i, longest))}"
            f"{_group('dia_source', self._source_params.of(i, longest))}"
            f"{_group('dia_object', self._object_params.of(i, longest))}{bands}"
            f"{_group('image_metadata', self._image_params.of(i, longest))}"
        )

    def _tail(self, i: int, longest: int | None) -> str:
        """From the end of What."""
        radius = _xs_float(self._radii[i])
        says = "Error2Radius is the root of ra_err squared plus dec_err squared, 1 sigma each"
        if radius == "NaN":
            says += "; NaN: the source came without errors"
        title = _TITLES.get(self._kinds[i], "Alert")
        reference = "" if self._reference is None else _escape(_uri(f"{self._reference}{self._alert_ids[i]}"))
        return (
            "</What>\n<WhereWhen>\n<ObsDataLocation>\n"
            f'<ObservatoryLocation id="{_escape(_cut(self._surveys[i], longest))}"/>\n'
            '<ObservationLocation>\n<AstroCoordSystem id="UTC-ICRS-TOPO"/>\n'
            '<AstroCoords coord_system_id="UTC-ICRS-TOPO">\n'
            f'<Time unit="s"><TimeInstant><ISOTime>{self._midpoints[i]}</ISOTime></TimeInstant></Time>\n'
            '<Position2D unit="deg"><Name1>RA</Name1><Name2>Dec</Name2><Value2>'
            f"<C1>{_xs_float(self._ra[i])}</C1><C2>{_xs_float(self._dec[i])}</C2></Value2>"
            f"<Error2Radius>{radius}</Error2Radius></Position2D>\n"
            f"</AstroCoords>\n</ObservationLocation>\n</ObsDataLocation>\n<Description>{says}.</Description>\n"
            "</WhereWhen>\n<How><Description>Difference imaging: what an image shows and its template does not. Params "
            "have the names of the database's columns; times in them are MJD TAI.</Description></How>\n"
            f"{self._citations(i)}<Description>{title}: DiaSource {self._source_ids[i]}.</Description>\n"
            + (f'<Reference uri="{reference}"/>\n' if reference else "")
            + "</voe:VOEvent>\n"
        )

    def _citations(self, i: int) -> str:
        first, retracted = self._first[i], self._retracted[i]
        cited = []
        if retracted is not None:
            cited.append(("retraction", retracted))
        if first is not None and first != retracted:  # it is not followed up by being withdrawn
            cited.append(("followup", first))
        if not cited:
            return ""
        events = "".join(
            f'<EventIVORN cite="{how}">{_escape(self._ivorn(i, alert_id))}</EventIVORN>\n' for how, alert_id in cited
        )
        return f"<Citations>\n{events}</Citations>\n"
