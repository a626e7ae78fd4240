"""The tables of schema ``l1`` as SQLAlchemy models.

They mirror the Alembic revisions; ``alembic check`` and a comparison of schema dumps keep the two equal.  The unique
rules of the partitioned tables live on their leaves, which ``l1_api.ensure_partitions`` makes.

``metadata`` has them all, since the modules that define them are imported here.
"""

from l1db.models import alert, correction, dia_object, dia_source, image, publishing, stamp, survey, visit
from l1db.models.schema import SCHEMA, metadata

__all__ = [
    "SCHEMA",
    "alert",
    "correction",
    "dia_object",
    "dia_source",
    "image",
    "metadata",
    "publishing",
    "stamp",
    "survey",
    "visit",
]
