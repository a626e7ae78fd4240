"""A database's schema as ``pg_dump`` tells it, made comparable."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

# Each object begins with a comment of three lines that names it.
_HEADER = re.compile(r"^--\n-- (Name: .*)\n--\n", re.MULTILINE)
# What a dump says about itself and not about the database.
_NOISE = re.compile(r"^(--.*|\\(un)?restrict .*|SET .*|SELECT pg_catalog\.set_config.*)$", re.MULTILINE)


def schema_dump(dsn: str) -> dict[str, str]:
    """The DDL of schemas ``l1`` and ``l1_api`` by object, rights and comments included.

    ``alembic_version`` is left out: it says which revision a database is at, not what is in it.  So is
    ``dia_object_wide``, which follows the rows of the survey (tests/query/test_lsst_views.py).
    """
    done = subprocess.run(
        [
            _pg_dump(dsn),
            "--schema-only",
            "--schema=l1",
            "--schema=l1_api",
            "--exclude-table=l1.alembic_version",
            "--exclude-table=l1_api.dia_object_wide",
            f"--dbname={make_conninfo(dsn)}",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    _, *parts = _HEADER.split(done.stdout)
    dump: dict[str, str] = {}
    for header, body in zip(parts[::2], parts[1::2], strict=True):
        lines = [line for line in _NOISE.sub("", body).splitlines() if line.strip()]
        if "Type: ACL" in header:
            lines.sort()
        assert header not in dump
        dump[header] = "\n".join(lines)
    return dump


def differences(one: dict[str, str], other: dict[str, str]) -> str:
    """What differs between two dumps, for people; empty if nothing does."""
    found = []
    for header in sorted(one.keys() | other.keys()):
        if one.get(header) != other.get(header):
            found.append(f"{header}\n<<<\n{one.get(header, 'missing')}\n>>>\n{other.get(header, 'missing')}")
    return "\n".join(found)


def _pg_dump(dsn: str) -> str:
    """``pg_dump`` of the server's own major version."""
    with psycopg.connect(dsn) as connection:
        major = connection.info.server_version // 10000
    candidates = [Path(f"/usr/lib/postgresql/{major}/bin/pg_dump")]
    if pg_config := shutil.which("pg_config"):
        bindir = subprocess.run([pg_config, "--bindir"], capture_output=True, text=True, check=True).stdout.strip()
        candidates.append(Path(bindir) / "pg_dump")
    if found := shutil.which("pg_dump"):
        candidates.append(Path(found))
    for candidate in candidates:
        if candidate.is_file():
            said = subprocess.run([candidate, "--version"], capture_output=True, text=True, check=True).stdout
            if re.search(rf"\) {major}\b", said):
                return str(candidate)
    pytest.skip(f"no pg_dump of PostgreSQL {major}, the server's version: install its client package")
