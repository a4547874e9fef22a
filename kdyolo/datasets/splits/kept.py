"""Splits the user gives, with the data set or in a table: checked for leaks, mended where asked, completed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from kdyolo.config import SplitSettings
from kdyolo.datasets.sample import SPLITS, Dataset, Sample, printable
from kdyolo.datasets.splits.grouping import ALIKE, Group, Leak, Link, group_images, leaks
from kdyolo.datasets.splits.repair import Move, repair
from kdyolo.datasets.splits.stratify import stratify
from kdyolo.errors import ConfigError, DatasetError

Parts = dict[str, list[Group]]

_TOLD = ALIKE | {"near": "near copies of", "flipped": "near copies of"}
_EXAMPLES = 4


def keep_splits(dataset: Dataset, split: SplitSettings, links: Sequence[Link]) -> tuple[Parts, list[Move]]:
    """The groups of each split the user gave.

    Images that only their names link may stay apart, since names mislead; with ``split.repair`` they are brought
    together like all others. A missing split is carved out of train.

    Args:
        dataset: Checked; its samples say which splits they were given. Gets findings on what is left out and moved.
        split: Where the splits come from, whether they are mended, and the ratios for those that are missing.
        links: Between the usable images, see `linking.find_links`.

    Raises:
        ConfigError: There are no splits.
        DatasetError: There are no training images, or splits leak and are not to be mended.
    """
    origin, flag = ("The data set's own splits", "--keep-splits")
    if split.from_file is not None:
        origin, flag = f"The splits of {split.from_file}", "--from"
    given = _given(dataset, origin, flag)
    moves: list[Move] = []
    if split.repair:
        groups = group_images(dataset.usable, links)
        given, moves = repair(given, groups)
        for move in moves:
            dataset.add("moved", "note", move.sample.name, move.why)
    else:
        groups = group_images(dataset.usable, [link for link in links if link.kind != "name"])
        _refuse_leaks(dataset, given, groups, origin, flag)
    parts = {name: _only(groups, samples) for name, samples in given.items()}
    if not parts["train"]:
        raise DatasetError(
            f"{origin} leak so much that nothing is left of train.", f"Leave out {flag}: kdyolo then makes the splits."
        )
    _carve(parts, dataset, split)
    return parts, moves


def _given(dataset: Dataset, origin: str, flag: str) -> dict[str, list[Sample]]:
    samples = dataset.usable
    given = {name: [sample for sample in samples if name in sample.given] for name in SPLITS}
    if not any(given.values()):
        raise ConfigError(f"{origin} hold no image.", f"Leave out {flag} or --repair, and kdyolo makes splits.")
    if not given["train"]:
        raise DatasetError(f"{origin} have no training images.", f"Leave out {flag} or --repair.")
    if left_out := sum(not sample.given for sample in samples):
        dataset.add("not_in_a_split", "warning", "", f"{left_out} images are in none of the kept splits: left out.")
    return given


def _only(groups: Iterable[Group], samples: Iterable[Sample]) -> list[Group]:
    """Groups without the images that are not among `samples`."""
    names = {sample.name for sample in samples}
    inside = ((group, tuple(s for s in group.samples if s.name in names)) for group in groups)
    return [replace(group, samples=kept) for group, kept in inside if kept]


def _refuse_leaks(
    dataset: Dataset, given: Mapping[str, Sequence[Sample]], groups: Sequence[Group], origin: str, flag: str
) -> None:
    found = leaks(given, groups)
    if not found:
        return
    for leak in found:
        if leak.kind == "rule":  # the checks know of copies, not of the user's groups
            message = f"In {leak.split}, but {ALIKE['rule']} {printable(leak.twin.name)} in {leak.twin_split}."
            dataset.add("group_leak", "error", leak.sample.name, message, partner=leak.twin.name)
    counts = Counter((leak.split, leak.twin_split, _TOLD[leak.kind]) for leak in found)
    told = [
        f"{count} of {len(given[later])} {later} images are {how} {earlier} images"
        for (later, earlier, how), count in counts.items()
    ]
    raise DatasetError(
        f"{origin} leak: {'; '.join(told)} ({'; '.join(_examples(found))}).",
        f"--repair mends them with the fewest moves ({len(repair(given, groups)[1])}); without {flag} kdyolo makes "
        "splits that keep such images together. Near copies may stay apart with -S split.near_duplicates=false.",
    )


def _examples(found: Sequence[Leak]) -> list[str]:
    """A few leaks, of different splits and kinds where there are any."""
    first = list({(leak.split, leak.twin_split, leak.kind): leak for leak in reversed(found)}.values())[::-1]
    rest = [leak for leak in found if leak not in first]
    signs = {"identical": "="}
    return [
        f"{printable(leak.sample.name)} {signs.get(leak.kind or '', '~')} {printable(leak.twin.name)}"
        for leak in [*first, *rest][:_EXAMPLES]
    ]


def _carve(parts: Parts, dataset: Dataset, split: SplitSettings) -> None:
    """Take missing splits from train, in the proportion the ratios give them to it."""
    wanted = ["train", *(name for name in SPLITS if not parts[name])]
    if len(wanted) == 1:
        return
    share = np.array([split.ratios[SPLITS.index(name)] for name in wanted])
    groups = parts["train"]
    chosen = stratify(groups, (share / share.sum()).tolist(), split.seed, len(dataset.names))
    for i, name in enumerate(wanted):
        parts[name] = [group for group, part in zip(groups, chosen, strict=True) if part == i]
    for name in wanted[1:]:
        count = sum(len(group.samples) for group in parts[name])
        dataset.add("split_carved", "note", "", f"The data set has no {name} split: {count} images of train became it.")
