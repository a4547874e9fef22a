"""Divide images into train, val and test: nothing leaks, classes are spread evenly, a seed decides the rest."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kdyolo.config import SplitSettings
from kdyolo.datasets.sample import SPLITS, Dataset, Sample, printable
from kdyolo.errors import ConfigError, DatasetError

Features = NDArray[np.float64]


@dataclass(frozen=True)
class Group:
    """Images that must stay together.

    Attributes:
        key: What they share; the same for the same contents, whatever the file names.
        samples: The images, in order of name.
    """

    key: str
    samples: tuple[Sample, ...]


def group_identical(samples: Iterable[Sample]) -> list[Group]:
    """Group images by the sha256 of their content, in order of it."""
    by_content: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        by_content[sample.check.sha256].append(sample)
    return [Group(k, tuple(sorted(by_content[k], key=lambda s: s.name))) for k in sorted(by_content)]


def split_dataset(dataset: Dataset, split: SplitSettings) -> list[tuple[str, str, Sample]]:
    """Give every usable image a split.

    Args:
        dataset: Checked; gets findings on classes that are rare in a split and on images left out.
        split: Ratios, whether the user's own splits are kept, and the seed that decides among equal divisions.

    Returns:
        (split, group key, sample) in order of split and name.

    Raises:
        ConfigError: The splits should be kept, but the data set has none.
        DatasetError: Fewer than three different images, or the user's own splits share images.
    """
    nc = len(dataset.names)
    if split.keep_splits:
        parts = _kept(dataset, split)
    else:
        groups = group_identical(dataset.usable)
        chosen = stratify(groups, split.ratios, split.seed, nc)
        parts = {name: [g for g, c in zip(groups, chosen, strict=True) if c == i] for i, name in enumerate(SPLITS)}
    rows = [
        (name, group.key, sample)
        for name in SPLITS
        for group, sample in sorted(((g, s) for g in parts[name] for s in g.samples), key=lambda pair: pair[1].name)
    ]
    _report_rare_classes(dataset, rows)
    return rows


def stratify(groups: Sequence[Group], shares: Sequence[float], seed: int, nc: int) -> list[int]:
    """Assign groups to parts so that images, boxes and empty images come as close to the shares as possible.

    Greedy: groups with the rarest classes first, each to the part where it brings the counts closest to the shares,
    never to a part that already has its share of images. A part exceeds its share by less than one group.

    Args:
        groups: In any order.
        shares: Size of each part; sum 1.
        seed: Decides the order among groups alike.
        nc: Number of classes.

    Returns:
        Index of the part of each group.

    Raises:
        DatasetError: Fewer groups than parts.
    """
    if len(groups) < len(shares):
        raise DatasetError(
            f"There are only {len(groups)} different usable images for {len(shares)} splits.",
            "Add images; byte-identical copies count as one and stay in one split.",
        )
    features = np.array([_features(group, nc) for group in groups])
    held = features / np.maximum(features.sum(axis=0), 1)
    share = np.array(shares)[:, None]
    got = np.zeros((len(shares), held.shape[1]))
    chosen = [-1] * len(groups)
    order = _order(groups, features, seed)
    for position, index in enumerate(order):
        still_empty = [part for part in range(len(shares)) if got[part, 0] == 0]
        must_fill = len(order) - position <= len(still_empty)
        open_parts = still_empty if must_fill else np.flatnonzero(got[:, 0] < share[:, 0] - 1e-9).tolist()
        # What this choice adds to the chi-square distance, the sum of (got - share)^2 / share over all that is spread.
        cost = (held[index] * (2 * (got - share) + held[index]) / share).sum(axis=1)
        chosen[index] = min(open_parts, key=lambda part: float(cost[part]))
        got[chosen[index]] += held[index]
    return chosen


def _features(group: Group, nc: int) -> Features:
    """What of a group should be spread evenly: images, images per class, boxes per class, empty images; (2 + 2 nc,)."""
    per_image = np.array([np.bincount(sample.cls, minlength=nc) for sample in group.samples])
    with_class = (per_image > 0).sum(axis=0)
    without_any = float((per_image.sum(axis=1) == 0).sum())
    return np.array([len(group.samples), without_any, *with_class, *per_image.sum(axis=0)], dtype=np.float64)


def _order(groups: Sequence[Group], features: Features, seed: int) -> list[int]:
    totals = features.sum(axis=0)

    def rank(index: int) -> tuple[float, float, str]:
        rarest = min(totals[1:][features[index, 1:] > 0], default=0.0)
        shuffled = hashlib.sha256(f"{seed}:{groups[index].key}".encode()).hexdigest()
        return float(rarest), -float(features[index, 0]), shuffled

    return sorted(range(len(groups)), key=rank)


def _kept(dataset: Dataset, split: SplitSettings) -> dict[str, list[Group]]:
    """The user's own splits, checked for leaks; a split that is missing is carved out of train."""
    given: dict[str, list[Sample]] = {name: [] for name in SPLITS}
    left_out = 0
    for sample in dataset.usable:
        for name in sample.given:
            given[name].append(sample)
        left_out += not sample.given
    if not any(given.values()):
        raise ConfigError(
            "The data set has no splits of its own to keep.", "Leave out --keep-splits and kdyolo makes them."
        )
    if not given["train"]:
        raise DatasetError("The data set's own splits have no training images.", "Leave out --keep-splits.")
    if left_out:
        dataset.add("not_in_a_split", "warning", "", f"{left_out} images are in none of the kept splits: left out.")
    _refuse_leaks(given, dataset)
    parts = {name: group_identical(samples) for name, samples in given.items()}
    _carve(parts, dataset, split.ratios, split.seed)
    return parts


def _carve(parts: dict[str, list[Group]], dataset: Dataset, ratios: Sequence[float], seed: int) -> None:
    """Take missing splits from train, in the proportion the ratios give them to it."""
    wanted = ["train", *(name for name in SPLITS if not parts[name])]
    if len(wanted) == 1:
        return
    share = np.array([ratios[SPLITS.index(name)] for name in wanted])
    groups = parts["train"]
    chosen = stratify(groups, (share / share.sum()).tolist(), seed, len(dataset.names))
    for i, name in enumerate(wanted):
        parts[name] = [group for group, part in zip(groups, chosen, strict=True) if part == i]
    for name in wanted[1:]:
        count = sum(len(group.samples) for group in parts[name])
        dataset.add("split_carved", "note", "", f"The data set has no {name} split: {count} images of train became it.")


def _refuse_leaks(given: dict[str, list[Sample]], dataset: Dataset) -> None:
    """Raise where two of the user's splits hold the same image, as one file or as identical files."""
    told, examples = [], []
    for later, earlier in (("val", "train"), ("test", "train"), ("test", "val")):
        known = {sample.check.sha256: sample for sample in reversed(given[earlier])}
        leaks = [(s, known[s.check.sha256]) for s in given[later] if s.check.sha256 in known]
        for leak, twin in leaks:
            dataset.add(
                "split_leak", "error", leak.name, f"In {later}, but identical to {printable(twin.name)} in {earlier}."
            )
        if leaks:
            told.append(f"{len(leaks)} of {len(given[later])} {later} images are identical to {earlier} images")
            examples += [f"{printable(a.name)} = {printable(b.name)}" for a, b in leaks[:2]]
    if told:
        raise DatasetError(
            f"The data set's own splits leak: {'; '.join(told)} ({'; '.join(examples)}).",
            "Leave out --keep-splits: kdyolo then makes splits that keep identical images together.",
        )


def _report_rare_classes(dataset: Dataset, rows: Sequence[tuple[str, str, Sample]]) -> None:
    for name in SPLITS:
        counts = np.zeros(len(dataset.names), dtype=np.int64)
        for split, _, sample in rows:
            if split == name:
                counts += np.bincount(sample.cls, minlength=len(counts))
        for class_name, count in zip(dataset.names, counts.tolist(), strict=True):
            if count <= (0 if name == "train" else 1):
                message = f"Class {printable(class_name)!r} has {count} boxes in {name}: its figures mean little."
                dataset.add("rare_class", "warning", "", message)
