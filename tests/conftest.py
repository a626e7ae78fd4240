"""Databases for the tests, all on a real server.

The server is ``L1DB_TEST_DSN``, else what ``l1db`` itself would use.  Once per run a template database is made by
``l1db.database.init``; what a test gets is a clone of it.

==================  ================================================================================================
``connection``      rolled back after the test, on one clone for all tests: the fast one, for all that needs no commit
``database``        the DSN of a fresh clone, dropped after the test
``client``          an ``l1db.Client`` on ``database``
``fresh_database``  makes such clones, as many as wanted, for any survey profile
``archive``         the archive of cutouts of the run; ``L1DB_ARCHIVE`` names it
``shared_data``     the folder of real alert packets beside the checkout; the test is skipped where there is none
==================  ================================================================================================
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

# Threads of the linear algebra library would wait for each other: the tests' matrices are small.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

import l1db
from l1db import database as l1db_database
from l1db import settings
from l1db.errors import SettingsError

APPLICATION = "l1db tests"


_AT_ONCE = 20


def _make_slim(dsn: str) -> None:
    """Leave out of a template what takes most of the time of cloning it: reference systems that nothing here uses."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("delete from public.spatial_ref_sys where srid <> 4326")
        connection.execute("vacuum full public.spatial_ref_sys")


class Server:
    """Makes, clones and drops the databases of one run.

    Their names carry the process id of the run's own connection on the server: where no such connection is left, the
    run is dead and its databases are in nobody's use.
    """

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn
        self._connection = psycopg.connect(
            make_conninfo(dsn, dbname="postgres", application_name=APPLICATION), autocommit=True
        )
        self._prefix = f"l1db_test_{self._connection.info.backend_pid}_"
        self._templates: dict[str, str] = {}
        self._clones = 0
        self._used: list[str] = []

    def template(self, profile: str) -> str:
        """The DSN of the template with this survey profile, made when first asked for."""
        if profile not in self._templates:
            name = self._prefix + ("template" if profile == "seed" else f"template_{profile}")
            l1db_database.init(self._dsn(name), profile=profile)
            _make_slim(self._dsn(name))
            # A database with a connection cannot be cloned, and nobody but clones should come from this one.
            self._execute("alter database {} with allow_connections false", name)
            self._templates[profile] = name
        return self._dsn(self._templates[profile])

    def clone(self, profile: str) -> str:
        """The DSN of a new clone.  What ALTER DATABASE had set on the template is not cloned, so it is set again."""
        self.template(profile)
        template = self._templates[profile]
        self._clones += 1
        name = f"{self._prefix}{self._clones}"
        self._execute("create database {} template {}", name, template)
        for setting, value in self._settings(template):
            self._connection.execute("select set_config(%s, %s, false)", (setting, value))
            self._execute("alter database {} set {} from current", name, setting)
            self._execute("reset {}", setting)
        privileges = self._privileges(template)
        if privileges:
            self._execute("revoke all on database {} from public", name)
        for grantee, privilege in privileges:
            statement = f"grant {privilege} on database {{}} to " + ("{}" if grantee else "public")
            self._execute(statement, name, *([grantee] if grantee else []))
        return self._dsn(name)

    def drop(self, dsn: str) -> None:
        """Drop a database by and by: each time the server first writes out all it has in memory, so many go at once."""
        self._used.append(str(psycopg.conninfo.conninfo_to_dict(dsn)["dbname"]))
        if len(self._used) >= _AT_ONCE:
            for name in self._used:
                self._execute("drop database if exists {} with (force)", name)
            self._used = []

    def drop_leftovers(self) -> None:
        """Drop what runs have left behind that were killed."""
        leftovers = self._connection.execute(
            r"""select datname from pg_database
                 where datname ~ '^l1db_test_\d+_'
                   and split_part(datname, '_', 3)::int not in
                       (select pid from pg_stat_activity where application_name = %s)""",
            (APPLICATION,),
        ).fetchall()
        for (name,) in leftovers:
            self._execute("drop database if exists {} with (force)", name)

    def close(self) -> None:
        """Drop all databases of this run."""
        ours = self._connection.execute(
            "select datname from pg_database where starts_with(datname, %s)", (self._prefix,)
        ).fetchall()
        for (name,) in ours:
            self._execute("drop database if exists {} with (force)", name)
        self._connection.close()

    def _dsn(self, name: str) -> str:
        return make_conninfo(self.dsn, dbname=name)

    def _execute(self, statement: str, *names: object) -> None:
        self._connection.execute(sql.SQL(statement).format(*(sql.Identifier(str(name)) for name in names)))

    def _settings(self, name: str) -> list[tuple[str, str]]:
        return self._connection.execute(
            """select split_part(setting, '=', 1), substr(setting, strpos(setting, '=') + 1)
                 from pg_db_role_setting s join pg_database d on d.oid = s.setdatabase, unnest(setconfig) as setting
                where datname = %s and setrole = 0""",
            (name,),
        ).fetchall()

    def _privileges(self, name: str) -> list[tuple[str, str]]:
        """Who may do what on the database; nothing where nobody was granted anything.  Grantee '' is PUBLIC."""
        return self._connection.execute(
            """select coalesce(rolname, ''), privilege_type
                 from pg_database d, aclexplode(datacl) a left join pg_roles r on r.oid = a.grantee
                where datname = %s""",
            (name,),
        ).fetchall()


@pytest.fixture(scope="session", autouse=True)
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The archive of cutouts of this run: nothing is written into the checkout's own."""
    with pytest.MonkeyPatch.context() as patch:
        root = tmp_path_factory.mktemp("archive")
        patch.setenv("L1DB_ARCHIVE", str(root))
        yield root


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """The server of this run.  None is a failure, never a skip: without it nothing here means anything."""
    try:
        server = Server(os.environ.get("L1DB_TEST_DSN") or settings.dsn())
    except (SettingsError, psycopg.OperationalError) as error:
        pytest.fail(f"no server for the tests: {error}; run `make setup`, or set L1DB_TEST_DSN", pytrace=False)
    server.drop_leftovers()
    yield server
    server.close()


@pytest.fixture(scope="session")
def template_dsn(server: Server) -> str:
    """The DSN of the template with profile ``seed``.  It takes no connections; clone it."""
    return server.template("seed")


@pytest.fixture
def fresh_database(server: Server) -> Iterator[Callable[..., str]]:
    """Make clones: ``fresh_database(profile="seed")`` returns the DSN of a new one.  All are dropped after the test."""
    made: list[str] = []

    def make(profile: str = "seed") -> str:
        made.append(server.clone(profile))
        return made[-1]

    yield make
    for dsn in made:
        server.drop(dsn)


@pytest.fixture
def database(fresh_database: Callable[..., str]) -> str:
    """The DSN of a fresh database with profile ``seed``."""
    return fresh_database()


@pytest.fixture(scope="session")
def rollback_dsn(server: Server) -> str:
    """The DSN of the one clone in which nothing is ever committed."""
    return server.clone("seed")


@pytest.fixture
def connection(rollback_dsn: str) -> Iterator[psycopg.Connection]:
    """A connection whose transaction is rolled back after the test."""
    with psycopg.connect(rollback_dsn) as connection:
        yield connection
        connection.rollback()


@pytest.fixture
def client(database: str) -> Iterator[l1db.Client]:
    """A client on ``database``."""
    with l1db.Client(database) as client:
        yield client


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with real alert packets, ``alerts/ztf`` and ``alerts/rubin``."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no real alert packets: {folder} is not there")
    return folder
