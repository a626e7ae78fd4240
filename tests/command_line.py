"""The command line as a user has it, within the test's process."""

from __future__ import annotations

import io
import os
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from unittest.mock import patch

from l1db.cli import main


@dataclass(frozen=True)
class Outcome:
    """Exit code and what was written."""

    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The one line of an error."""
        assert self.code == 1, self
        lines = self.err.splitlines()
        assert len(lines) == 1, self.err
        assert self.out == ""
        return lines[0]


def l1db(*arguments: object, dsn: str) -> Outcome:
    """Run ``l1db ARGUMENTS`` on a database."""
    out, err = io.StringIO(), io.StringIO()
    with (
        patch.object(sys, "argv", ["l1db", *map(str, arguments)]),
        patch.dict(os.environ, {"L1DB_DSN": dsn}),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        try:
            main()
        except SystemExit as exit_:
            code = exit_.code
    assert isinstance(code, int)
    return Outcome(code, out.getvalue(), err.getvalue())
