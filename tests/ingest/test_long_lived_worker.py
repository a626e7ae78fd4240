"""One connection, calls of all sizes: plans made for one source must not serve 40 000, nor those of 40 000 one."""

from __future__ import annotations

import numpy as np
import pytest
from psycopg.conninfo import make_conninfo

from l1db import Client, DetectorData, Visit

SIDE = 200  # sources are put on a grid with this many columns


def visit(number: int, n: int, first: int = 0) -> tuple[Visit, list[DetectorData]]:
    """``n`` sources 36 arcsec from each other, from the ``first`` place of the grid on."""
    row, column = np.divmod(np.arange(first, first + n), SIDE)
    columns = {
        "ra": 100 + column / 100,
        "dec": row / 100,
        "ra_err": np.full(n, 0.1 / 3600),
        "dec_err": np.full(n, 0.1 / 3600),
        "psf_flux": np.full(n, 1000.0),
        "psf_flux_err": np.full(n, 50.0),
    }
    return Visit(number, "r", 61_000 + number * 1e-3), [DetectorData(0, columns)]


def test_one_source_then_40_000_then_one(client: Client) -> None:
    """A plan kept from one source is quadratic for 40 000.

    Seen to fail so: with hash and merge joins forbidden in ingest, the first large call does not end before the
    statement timeout, a hundred times what it takes.
    """
    client._connection.execute("set statement_timeout = '120s'")
    for number in range(1, 8):
        client.ingest(*visit(number, 1))
    for number in (10, 11):
        (founded,) = client.ingest(*visit(number, 40_000)).detectors
        assert founded.n_sources == 40_000
    for number in range(12, 18):
        client.ingest(*visit(number, 1))


# Statements inside the functions are seen by auto_explain, one notice each.
EXPLAIN = (
    "-c client_min_messages=log -c auto_explain.log_min_duration=0 -c auto_explain.log_nested_statements=on"
    " -c auto_explain.log_format=text -c session_preload_libraries=auto_explain"
)


def n_statements(database: str, calls: list[tuple[Visit, list[DetectorData]]]) -> list[int]:
    """SQL statements run inside each call of ingest, by one connection."""
    seen: list[str] = []
    numbers = []
    with Client(make_conninfo(database, options=EXPLAIN)) as client:
        client._connection.add_notice_handler(lambda notice: seen.append(notice.message_primary or ""))
        for call in calls:
            seen.clear()
            client.ingest(*call)
            plans = [text for text in seen if text.startswith("duration:")]
            begin = next(i for i, text in enumerate(plans) if "l1.visit v" in text)
            numbers.append(len(plans[begin:]))
    return numbers


@pytest.mark.parametrize("known", [False, True], ids=["all new", "all known"])
def test_the_number_of_statements_does_not_depend_on_the_number_of_sources(known: bool, database: str) -> None:
    """Seen to fail with a loop over the sources in found_objects: 1 000 statements more.

    The first call warms the caches; only the calls of 10 and of 1 000 are compared.  Refreshed statistics are no
    statements of the call: ANALYZE has no plan.
    """
    if known:
        with Client(database) as client:
            client.ingest(*visit(1, 1_000))
    place = (lambda k: 0) if known else (lambda k: 2_000 * k)
    calls = [visit(k + 2, n, place(k)) for k, n in enumerate([10, 10, 1_000, 1_000, 10])]
    numbers = n_statements(database, calls)
    assert numbers[1] > 20, "statements inside functions are not counted"
    assert max(numbers[1:]) == min(numbers[1:]), numbers
