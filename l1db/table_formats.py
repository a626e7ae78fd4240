"""Parquet, FITS, ECSV and CSV files as columns, with the units their metadata name, and nothing converted yet.

A file is what its first bytes say; its name may not claim otherwise.
"""

from __future__ import annotations

import csv
import gzip
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal
from xml.etree import ElementTree

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
from astropy.io import fits
from astropy.table import Table
from astropy.table.meta import get_header_from_yaml
from astropy.time import Time

from l1db.errors import InputError

Format = Literal["Parquet", "FITS", "ECSV", "CSV"]

_CSV_NULLS = ["", "NULL", "null", "None", "none", "NaN", "nan", "NA", "N/A", "--"]
_ECSV_TYPES = {
    **{
        name: getattr(pa, name)() for name in ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
    },
    **dict.fromkeys(("float16", "float32"), pa.float32()),
    **dict.fromkeys(("float64", "float128"), pa.float64()),
    "bool": pa.bool_(),
}
_SUFFIXES: dict[str, Format] = {
    ".parquet": "Parquet",
    ".parq": "Parquet",
    ".pq": "Parquet",
    ".fits": "FITS",
    ".fit": "FITS",
    ".fts": "FITS",
    ".ecsv": "ECSV",
    ".csv": "CSV",
}


@dataclass(frozen=True)
class RawColumn:
    """One column as a file has it; ``text`` marks one without types, all of whose values are strings (CSV)."""

    name: str
    values: Any
    unit: str = ""
    text: bool = False


@dataclass(frozen=True)
class RawTable:
    """A file's columns, not yet converted."""

    path: Path
    format: Format
    columns: tuple[RawColumn, ...]
    n_rows: int


def read_raw(path: Path) -> RawTable:
    """Read a file as it is, whichever of the formats it has.

    Raises
    ------
    InputError
        If it is none of them, is not what its name says, or breaks off.
    """
    kind = _format(path)
    read = {"Parquet": _read_parquet, "FITS": _read_fits, "ECSV": _read_ecsv, "CSV": _read_csv}[kind]
    try:
        return read(path)
    except InputError:
        raise
    except MemoryError:
        raise
    except Exception as error:  # each library has its own many ways to say that a file is broken
        why = str(error).strip().splitlines()
        raise InputError(
            f"{path}: cannot be read as {kind}, it is damaged or truncated: {why[0] if why else type(error).__name__}"
        ) from error


def _format(path: Path) -> Format:
    """What a file is, by its first bytes."""
    try:
        with path.open("rb") as file:
            head = file.read(4096)
        if head[:2] == b"\x1f\x8b":
            with gzip.open(path) as file:
                head = file.read(4096)
    except EOFError:
        raise InputError(f"{path}: breaks off: it is a truncated gzip file") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from None
    if not head:
        raise InputError(f"{path}: is empty")
    kind: Format
    if head.startswith(b"PAR1"):
        kind = "Parquet"
    elif head.startswith(b"SIMPLE  ="):
        kind = "FITS"
    elif head.startswith(b"# %ECSV"):
        kind = "ECSV"
    elif head.startswith(b"Obj\x01"):
        raise InputError(f"{path}: is an Avro file; alert packets go in through l1db replay")
    elif b"\0" not in head and _is_text(head):
        kind = "CSV"
    else:
        raise InputError(f"{path}: is none of Parquet, FITS, ECSV, CSV")
    suffixes = [s.lower() for s in path.suffixes if s.lower() != ".gz"]
    claimed = _SUFFIXES.get(suffixes[-1]) if suffixes else None
    if claimed not in (None, kind):
        what = "text, perhaps CSV" if kind == "CSV" else kind
        raise InputError(f"{path}: is not {claimed} as its name says, but {what}; name it by what it is")
    return kind


def _is_text(head: bytes) -> bool:
    try:
        head.decode()
    except UnicodeDecodeError as error:
        return error.start > len(head) - 4  # a character cut in two by the end of the sample
    return True


def _read_parquet(path: Path) -> RawTable:
    with pq.ParquetFile(path) as file:
        schema = file.schema_arrow
        stated = _parquet_units(schema)
        columns = []
        for i, name in enumerate(schema.names):
            if schema.names.count(name) > 1:
                raise InputError(f"{path}: column {name} occurs twice; keep one of them")
            if name == "__index_level_0__":  # pandas' unnamed row index
                continue
            table = file.read(columns=[name])
            values = table.column(0) if table.num_columns else pa.chunked_array([pa.nulls(file.metadata.num_rows)])
            columns.append(RawColumn(name, _of_arrow(values), stated.get(name, "") or _field_unit(schema.field(i))))
        return RawTable(path, "Parquet", _with_masks(columns), file.metadata.num_rows)


def _with_masks(columns: list[RawColumn]) -> tuple[RawColumn, ...]:
    """Put together what astropy takes apart: it writes the mask of column ``x`` as a column ``x.mask``."""
    masks = {c.name.removesuffix(".mask"): c.values for c in columns if c.name.endswith(".mask")}
    names = {c.name for c in columns}
    masks = {name: mask for name, mask in masks.items() if name in names and mask.dtype.kind == "b"}
    return tuple(
        replace(c, values=np.ma.array(c.values, mask=masks[c.name])) if c.name in masks else c
        for c in columns
        if c.name.removesuffix(".mask") not in masks or not c.name.endswith(".mask")
    )


def _field_unit(schema_field: pa.Field) -> str:
    metadata = schema_field.metadata or {}
    return next((metadata[key].decode() for key in (b"unit", b"units", b"unit_str") if key in metadata), "")


def _parquet_units(schema: pa.Schema) -> dict[str, str]:
    """Units from the places that concern the whole file: astropy's YAML, and the VO's VOTable header."""
    metadata = schema.metadata or {}
    stated: dict[str, str] = {}
    if header := metadata.get(b"IVOA.VOTable-Parquet.content"):
        for element in ElementTree.fromstring(header).iter():
            if element.tag.rpartition("}")[2] == "FIELD":
                stated[element.get("name", "")] = element.get("unit", "")
    if header := metadata.get(b"table_meta_yaml"):
        for column in get_header_from_yaml(header.decode().splitlines())["datatype"]:
            stated[column["name"]] = str(column.get("unit", ""))
    return stated


def _of_arrow(values: pa.ChunkedArray) -> Any:
    """A numpy array, masked where there are nulls; whatever arrow has no plain equivalent of becomes objects."""
    array = values.combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], array.type)
    kind = array.type
    if pa.types.is_dictionary(kind):
        array = array.dictionary_decode()
        kind = array.type
    if pa.types.is_decimal(kind) or pa.types.is_float16(kind):
        array = array.cast(pa.float64())
        kind = array.type
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        null = array.is_null().to_numpy(zero_copy_only=False)
        data = array.fill_null(False if pa.types.is_boolean(kind) else 0).to_numpy(zero_copy_only=False)
        return np.ma.array(data, mask=null) if array.null_count else data
    return array.to_numpy(zero_copy_only=False)


def _read_fits(path: Path) -> RawTable:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about units, which are looked at later
        warnings.filterwarnings("error", message=".*truncated.*")
        with fits.open(path, memmap=False) as hdus:
            tables = [hdu for hdu in hdus if type(hdu) is fits.BinTableHDU]
            if not tables:
                raise InputError(f"{path}: contains no binary table")
            stated = {c.name: c.unit or "" for c in tables[0].columns}
            if len(stated) < len(tables[0].columns):
                raise InputError(f"{path}: two columns have the same name; keep one of them")
            table = Table.read(tables[0], format="fits")
    columns = tuple(RawColumn(name, _of_astropy(table[name]), stated.get(name, "")) for name in table.colnames)
    return RawTable(path, "FITS", columns, len(table))


def _read_ecsv(path: Path) -> RawTable:
    header, body = _after_remarks(_content(path))
    meta = get_header_from_yaml([line.removeprefix("#").removeprefix(" ") for line in header.splitlines()[1:]])
    if "__serialized_columns__" in str(meta.get("meta", "")) or any("subtype" in c for c in meta["datatype"]):
        return _read_ecsv_of_objects(path)
    types = {c["name"]: _ECSV_TYPES.get(c["datatype"], pa.string()) for c in meta["datatype"]}
    stated = {c["name"]: str(c.get("unit", "")) for c in meta["datatype"]}
    table = _arrow_csv(path, body, delimiter=meta.get("delimiter", " "), types=types)
    columns = tuple(RawColumn(n, _of_arrow(table.column(n)), stated.get(n, "")) for n in table.column_names)
    return RawTable(path, "ECSV", columns, table.num_rows)


def _read_ecsv_of_objects(path: Path) -> RawTable:
    """ECSV with columns that are more than numbers, such as times: slower, and astropy's to read."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        table = Table.read(path, format="ascii.ecsv")
    columns = tuple(
        RawColumn(name, _of_astropy(table[name]), "" if isinstance(table[name], Time) else str(table[name].unit or ""))
        for name in table.colnames
        if hasattr(table[name], "unit") or isinstance(table[name], Time)
    )
    return RawTable(path, "ECSV", columns, len(table))


def _of_astropy(column: Any) -> Any:
    """A column's array; a column of times becomes MJD TAI."""
    if isinstance(column, Time):
        return np.asarray(column.tai.mjd)
    if np.ma.isMaskedArray(column):
        return np.ma.array(np.asarray(column.data.data), mask=np.ma.getmaskarray(column))
    return np.asarray(column)


def _read_csv(path: Path) -> RawTable:
    _, body = _after_remarks(_content(path))
    header = body.partition(b"\n")[0].decode().strip()
    if "," not in header and (other := next((mark for mark in (";", "\t", "|") if mark in header), "")):
        name = {"\t": "tabs"}.get(other, other)
        raise InputError(f"{path}: is it separated by commas? its first line has none, but {name}")
    table = _arrow_csv(path, body, delimiter=",", types=None)
    columns = tuple(
        RawColumn(n, pa.concat_arrays(c.chunks) if c.num_chunks else pa.array([], pa.string()), text=True)
        for n, c in zip(table.column_names, table.columns, strict=True)
    )
    return RawTable(path, "CSV", columns, table.num_rows)


def _content(path: Path) -> bytes:
    content = path.read_bytes()
    if content[:2] == b"\x1f\x8b":
        content = gzip.decompress(content)
    return content.removeprefix(b"\xef\xbb\xbf")


def _after_remarks(content: bytes) -> tuple[str, bytes]:
    """The remarks before the line with the names of the columns, and the rest."""
    start = 0
    while content.startswith((b"#", b"\n", b"\r"), start):
        end = content.find(b"\n", start)
        start = len(content) if end < 0 else end + 1
    return content[:start].decode(), content[start:]


def _arrow_csv(path: Path, content: bytes, *, delimiter: str, types: dict[str, pa.DataType] | None) -> pa.Table:
    """Separated values below a line of names; without ``types`` all are strings."""
    header = content.partition(b"\n")[0].decode().strip()
    names = [name.strip() for name in next(csv.reader([header], delimiter=delimiter), [])]
    if not any(names):
        raise InputError(f"{path}: has no header line with the names of its columns")
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise InputError(f"{path}: column {twice[0]} occurs twice; keep one of them")
    if types is not None and list(types) != names:
        raise InputError(f"{path}: the line of column names differs from the header above it")
    uneven: list[pa_csv.InvalidRow] = []

    def note(row: pa_csv.InvalidRow) -> str:
        uneven.append(row)
        return "skip"

    table = pa_csv.read_csv(
        pa.BufferReader(content),
        read_options=pa_csv.ReadOptions(column_names=names, skip_rows=1, use_threads=False),
        parse_options=pa_csv.ParseOptions(delimiter=delimiter, invalid_row_handler=note, newlines_in_values=True),
        convert_options=pa_csv.ConvertOptions(
            column_types=types or dict.fromkeys(names, pa.string()), strings_can_be_null=True, null_values=_CSV_NULLS
        ),
    )
    if uneven:
        row = uneven[0]
        raise InputError(
            f"{path}: row {row.number - 1}: {row.actual_columns} values for {row.expected_columns} columns; "
            "the file may be truncated"
        )
    return table
