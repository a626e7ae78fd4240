"""Alerts as Avro, in two schemas: LSST's alert schema 11.1, and l1db's own, which has more.

``mapping``
    Where each column of the database goes, and which are left out.
``schemas``
    The schemas, made from the mapping; their names, numbers and versions.
``encode``
    Packets from columns.
``framing``
    Packets on the wire and in container files; reading them.

What LSST's schema does not let be null and is not known comes as NaN (``x``, ``y``) or as 0 (``psfNdata``,
``trailNdata``, ``dipoleNdata``, ``bboxSize``; ``u_psfFluxNdata`` and so on of a band in which nothing was seen).
l1db's own schema has null for these in a DiaSource.  All else that may not be null, is not null in the database.

Forced and precovery measurements are in ``prvDiaForcedSources``, never in ``prvDiaSources``.  Only the trigger of an
alert of kind ``forced`` is a forced row in ``diaSource``.  Without previous detections ``prvDiaSources`` is null in
LSST's format, and without forced ones ``prvDiaForcedSources`` is an empty array, as in Rubin's packets; in l1db's
both are arrays.

A retraction is the packet of a detection whose ``diaSource`` has ``timeWithdrawnMjdTai``.
"""

from l1db.alert.avro.encode import build
from l1db.alert.avro.framing import read_packet, write_container
from l1db.alert.avro.schemas import header_schema, schema, schema_id, schema_name, schema_version, versions

__all__ = [
    "build",
    "header_schema",
    "read_packet",
    "schema",
    "schema_id",
    "schema_name",
    "schema_version",
    "versions",
    "write_container",
]
