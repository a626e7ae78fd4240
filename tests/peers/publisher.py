"""What a forked process does: the command line, with its output in a file."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence

from l1db.cli import main


def run(arguments: Sequence[str], environment: Mapping[str, str], output: str) -> None:
    """Run ``l1db ARGUMENTS`` and exit as it does."""
    os.environ.update(environment)
    number = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(number, 1)
    os.dup2(number, 2)
    sys.argv = ["l1db", *arguments]
    main()
