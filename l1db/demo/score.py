"""What was found, held against what is true."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Comparison:
    """Objects against the truth.

    Parameters
    ----------
    n_true, n_objects
        Things that were seen, and objects that were made.
    n_duplicates
        Objects too many: a thing with k objects counts k - 1.
    n_lost
        Things without object.
    n_mixed
        Objects with sources of more than one thing.
    """

    n_true: int
    n_objects: int
    n_duplicates: int
    n_lost: int
    n_mixed: int


def compare(truth: Mapping[int, int], found: Mapping[int, int | None]) -> Comparison:
    """Compare which thing (``truth``) and which object (``found``) each source is of."""
    objects_of: dict[int, set[int]] = {thing: set() for thing in truth.values()}
    things_of: dict[int, set[int]] = {}
    for source, thing in truth.items():
        if (its_object := found.get(source)) is not None:
            objects_of[thing].add(its_object)
            things_of.setdefault(its_object, set()).add(thing)
    return Comparison(
        n_true=len(objects_of),
        n_objects=len(things_of),
        n_duplicates=sum(len(objects) - 1 for objects in objects_of.values() if objects),
        n_lost=sum(not objects for objects in objects_of.values()),
        n_mixed=sum(len(things) > 1 for things in things_of.values()),
    )


@dataclass(frozen=True)
class Pairs:
    """Pairs of visits that saw one object, by the survey that made the packets and by this database.

    An object has one source of a visit here; where the survey gave it two, either may stand for the visit.
    """

    n_true: int
    n_found: int
    n_common: int

    @property
    def precision(self) -> float:
        """Share of the pairs found that are true."""
        return self.n_common / self.n_found if self.n_found else 1.0

    @property
    def recall(self) -> float:
        """Share of the true pairs that were found."""
        return self.n_common / self.n_true if self.n_true else 1.0


def count_pairs(truth: Mapping[int, str], visit: Mapping[int, int], found: Mapping[int, int | None]) -> Pairs:
    """Count pairs, from the true object, the visit and the found object of each source, if it has one."""
    known = {source: its_object for source, its_object in found.items() if its_object is not None and source in truth}
    return Pairs(
        n_true=_pairs(Counter(name for name, _ in {(truth[source], visit[source]) for source in truth})),
        n_found=_pairs(Counter(known.values())),
        n_common=_pairs(Counter((truth[source], its_object) for source, its_object in known.items())),
    )


def _pairs(sizes: Counter[Any]) -> int:
    return sum(n * (n - 1) // 2 for n in sizes.values())
