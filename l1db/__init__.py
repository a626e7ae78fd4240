"""l1db: a Level 1 Database and alert system for difference imaging.

>>> import l1db
>>> with l1db.Client() as client:  # doctest: +SKIP
...     client.ingest(visit, detectors)
>>> for batch in l1db.listen("my_consumer"):  # doctest: +SKIP
...     print(batch)
"""

from l1db.alert.avro import read_packet
from l1db.client import Client
from l1db.errors import BadRow, DatabaseError, InputError, L1dbError, RefusedError, SettingsError
from l1db.listen import Alert, AlertBatch, listen
from l1db.visit import DetectorData, DetectorResult, IngestResult, Visit

__all__ = [
    "Alert",
    "AlertBatch",
    "BadRow",
    "Client",
    "DatabaseError",
    "DetectorData",
    "DetectorResult",
    "IngestResult",
    "InputError",
    "L1dbError",
    "RefusedError",
    "SettingsError",
    "Visit",
    "listen",
    "read_packet",
]
