"""The schema ``l1``, the types of its columns, and how a column is made."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    Column,
    Date,
    DateTime,
    Double,
    Integer,
    Interval,
    LargeBinary,
    MetaData,
    SmallInteger,
    Text,
    Uuid,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.dialects.postgresql.base import ischema_names
from sqlalchemy.types import REAL, UserDefinedType

SCHEMA = "l1"


class PgSnapshot(UserDefinedType[str]):
    """PostgreSQL's ``pg_snapshot``: which transactions were visible."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        return "pg_snapshot"


class Xid8(UserDefinedType[str]):
    """PostgreSQL's ``xid8``: a transaction id that never wraps."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        return "xid8"


ischema_names["pg_snapshot"] = PgSnapshot
ischema_names["xid8"] = Xid8

metadata = MetaData(
    schema=SCHEMA,
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "fk": "%(table_name)s_%(column_0_name)s_fkey",
        "ix": "%(table_name)s_%(column_0_N_name)s_idx",
        "ck": "%(table_name)s_%(constraint_name)s_check",
    },
)

SQL_TYPES: dict[str, Any] = {
    "bigint": BigInteger(),
    "integer": Integer(),
    "smallint": SmallInteger(),
    "double precision": Double(),
    "real": REAL(),
    "boolean": Boolean(),
    "text": Text(),
    "timestamptz": DateTime(timezone=True),
    "interval": Interval(),
    "date": Date(),
    "uuid": Uuid(),
    "text[]": ARRAY(Text()),
    "bytea": LargeBinary(),
    "jsonb": JSONB(),
    "pg_snapshot": PgSnapshot(),
    "xid8": Xid8(),
}


def column(name: str, sql_type: str, comment: str, *, null: bool = False, **kwargs: Any) -> Column[Any]:
    """A column by the name of its type in SQL; not null unless so said."""
    return Column(name, SQL_TYPES[sql_type], nullable=null, comment=comment, **kwargs)
