"""What l1db says when it refuses: one line, naming what was wrong, where, and what to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class L1dbError(Exception):
    """Base of every refusal; ``str(error)`` is the one line a user reads."""


class SettingsError(L1dbError):
    """No usable DSN, or a setting that contradicts itself."""


class DatabaseError(L1dbError):
    """The database is down, not upgraded, or lacks something l1db needs."""


class RefusedError(L1dbError):
    """The database refused an ingest or a correction, and changed nothing."""


@dataclass(frozen=True)
class BadRow:
    """One unusable value of the input.

    ``row`` counts data rows from 1 in the table the user handed in; ``column`` is the name
    used there; ``why`` completes the sentence "row R, column C: ...".
    """

    row: int
    column: str
    why: str


class InputError(L1dbError):
    """The input cannot be used.  ``rows`` lists unusable rows where rows are the trouble."""

    def __init__(self, message: str, rows: Sequence[BadRow] = ()) -> None:
        super().__init__(message)
        self.rows = tuple(rows)


class UnreadableError(InputError):
    """A file cannot be read for a reason that may pass: it is where it should be, as far as can be told."""
