"""Mend splits that leak, with the fewest moves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from kdyolo.datasets.sample import Sample, printable
from kdyolo.datasets.splits.grouping import ALIKE, Group, Part


@dataclass(frozen=True)
class Move:
    """An image that left a split.

    Attributes:
        sample: The image.
        origin, target: The split it was in, and the one its group is now in.
        why: A sentence.
    """

    sample: Sample
    origin: str
    target: str
    why: str


def repair(
    given: Mapping[str, Sequence[Sample]], groups: Iterable[Group]
) -> tuple[dict[str, list[Sample]], list[Move]]:
    """Put every group into one split, and move as few images as that takes.

    A group goes where most of its images are, and all others are left alone. Where two splits hold equally many it
    goes to the earlier one, train before val before test, as long as the other split keeps at least half of the images
    it had; else to the other one, so that no split runs dry where that costs no further move.

    Args:
        given: Split -> its images; an image may be in several.
        groups: Of those images, and perhaps others.

    Returns:
        The mended splits, each in order of name, and the moves in order of name.
    """
    order = list(given)
    where: dict[str, set[str]] = {}
    for split, samples in given.items():
        for sample in samples:
            where.setdefault(sample.name, set()).add(split)
    held = {split: len({sample.name for sample in samples}) for split, samples in given.items()}
    least = {split: -(-count // 2) for split, count in held.items()}
    counted = [(group, Counter(split for s in group.samples for split in where.get(s.name, ()))) for group in groups]
    moves: list[Move] = []
    # Groups that leave no choice first, so that the others see what is left of each split.
    for group, counts in sorted(((g, c) for g, c in counted if len(c) > 1), key=lambda pair: _is_tie(pair[1])):
        best = [split for split in order if counts[split] == max(counts.values())]
        spare = (t for t in best if all(held[s] - counts[s] >= least[s] for s in best if s != t))
        target = next(spare, best[-1])
        moves += _gather(group, where, target)
        for split, count in counts.items():
            held[split] -= count if split != target else 0
    for move in moves:
        where[move.sample.name] = {move.target}
    everything = {sample.name: sample for samples in given.values() for sample in samples}
    mended = {split: [everything[name] for name in sorted(everything) if split in where[name]] for split in order}
    return mended, sorted(moves, key=lambda move: (move.sample.name, move.origin))


def _is_tie(counts: Counter[str]) -> bool:
    return list(counts.values()).count(max(counts.values())) > 1


def _gather(group: Group, where: Mapping[str, set[str]], target: str) -> Iterable[Move]:
    """What must leave other splits for the group to be in `target` only."""
    there = Part([sample for sample in group.samples if target in where.get(sample.name, ())])
    for sample in group.samples:
        for origin in sorted(where.get(sample.name, set()) - {target}):
            if target in where[sample.name]:
                why = f"Taken out of {origin}: it is in {target} as well."
            else:
                twin, kind = there.closest(sample, group)
                why = f"Moved from {origin} to {target}: it is {ALIKE[kind]} {printable(twin.name)} there."
            yield Move(sample, origin, target, why)
