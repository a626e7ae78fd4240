"""What was found, held against what is true."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from l1db.demo.stored import ForcedRow
from l1db.photometry import ForcedFlag

# Detections that an object has at least for its forced fluxes to count: its place is known well enough then.
_WELL_PLACED = 3


@dataclass(frozen=True)
class Comparison:
    """Objects against the truth.

    Parameters
    ----------
    n_true, n_objects
        Things that were seen, and objects that were made of those that are judged.
    n_judged
        Things with a source in its place that has an object.  Of the others that are not lost, it is not asked which
        object they are.
    n_duplicates
        Objects too many: a thing with k objects counts k - 1.
    n_lost
        Things without object.
    n_mixed
        Objects with sources of more than one thing.
    purity
        Share of the sources that are of the thing which most of their object's sources are of.
    completeness
        Share of the sources that are in the object which most of their thing's sources are in.
    """

    n_true: int
    n_objects: int
    n_judged: int
    n_duplicates: int
    n_lost: int
    n_mixed: int
    purity: float
    completeness: float

    @property
    def n_unjudged(self) -> int:
        """Things that have an object, and no source there in its place."""
        return self.n_true - self.n_lost - self.n_judged


def compare(
    truth: Mapping[int, int], found: Mapping[int, int | None], out_of_place: Collection[int] = ()
) -> Comparison:
    """Compare which thing (``truth``) and which object (``found``) each source is of.

    Of sources without an object, which are the second of their thing in a visit, and of those ``out_of_place``, whose
    position is further off than its error says, nothing is counted but that their thing was seen, and not lost if they
    have an object.
    """
    objects_of: dict[int, Counter[int]] = {thing: Counter() for thing in truth.values()}
    things_of: dict[int, Counter[int]] = {}
    kept = set()
    for source, thing in truth.items():
        if (its_object := found.get(source)) is None:
            continue
        kept.add(thing)
        if source not in out_of_place:
            objects_of[thing][its_object] += 1
            things_of.setdefault(its_object, Counter())[thing] += 1
    return Comparison(
        n_true=len(objects_of),
        n_objects=len(things_of),
        n_judged=sum(map(bool, objects_of.values())),
        n_duplicates=sum(len(objects) - 1 for objects in objects_of.values() if objects),
        n_lost=len(objects_of) - len(kept),
        n_mixed=sum(len(things) > 1 for things in things_of.values()),
        purity=_largest_share(things_of.values()),
        completeness=_largest_share(objects_of.values()),
    )


def _largest_share(votes: Iterable[Counter[int]]) -> float:
    counted = [(max(vote.values(), default=0), vote.total()) for vote in votes]
    total = sum(n for _, n in counted)
    return sum(largest for largest, _ in counted) / total if total else 1.0


@dataclass(frozen=True)
class ForcedComparison:
    """Forced fluxes against those that were drawn.

    Parameters
    ----------
    n
        How many could be compared.
    chi2
        Mean square of their errors, in units of what they say of them; 1 if both are right.
    """

    n: int
    chi2: float


def compare_forced(
    truth: Mapping[int, int],
    found: Mapping[int, int | None],
    expected: Mapping[tuple[int, int, int], float],
    rows: Iterable[ForcedRow],
) -> ForcedComparison:
    """Compare forced fluxes of objects that were detected three times or more.

    Parameters
    ----------
    truth, found
        As in `compare`.
    expected
        Flux, nJy, by visit, detector and thing; without what no photometry of points can be held to.
    rows
        Forced fluxes.  Any flag but that of a joint fit excludes one.
    """
    members: dict[int, Counter[int | None]] = {}
    for source, its_object in found.items():
        if its_object is not None:
            members.setdefault(its_object, Counter())[truth.get(source)] += 1
    pulls = []
    for row in rows:
        votes = members.get(row.dia_object_id, Counter())
        if votes.total() < _WELL_PLACED or row.flags & ~ForcedFlag.BLENDED_JOINT:
            continue
        thing = votes.most_common(1)[0][0]
        if thing is not None and (row.visit, row.detector, thing) in expected:
            pulls.append((row.flux - expected[row.visit, row.detector, thing]) / row.flux_err)
    return ForcedComparison(len(pulls), float(np.mean(np.square(pulls))) if pulls else float("nan"))


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
