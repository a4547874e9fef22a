"""How images, boxes and classes are spread: what is rare, empty, crowded or of another size than the rest."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from kdyolo.datasets.auditing.box_table import BoxTable
from kdyolo.datasets.sample import SPLITS, Dataset, Sample, Severity, printable

NEEDED = {"train": 1, "val": 10, "test": 20}
"""Boxes a class needs in a split before its figures say anything."""

_UNEVEN: tuple[tuple[float, Severity], ...] = ((50, "warning"), (10, "note"))
_MANY_EMPTY = 0.5
_ENOUGH_IMAGES = 20
_SIZE_SPREAD = 4.0
_LEAST_SPREAD = float(np.log(1.5))


def report_balance(dataset: Dataset, table: BoxTable) -> None:
    """Record what is spread unevenly over the usable images."""
    if not len(table):
        return
    _classes(dataset, table)
    _empty(dataset, table)
    _crowds(dataset, table)
    _sizes(dataset, table.samples)


def _classes(dataset: Dataset, table: BoxTable) -> None:
    counts = np.bincount(table.cls, minlength=len(dataset.names))
    for class_id in np.flatnonzero(counts == 0).tolist():
        name = printable(dataset.names[class_id])
        dataset.add("unused_class", "warning", "", f"No box is of class {class_id}, {name!r}.")
    used = np.flatnonzero(counts)
    most, least = used[counts[used].argmax()], used[counts[used].argmin()]
    times = counts[most] / counts[least]
    for limit, severity in _UNEVEN:
        if times >= limit:
            names = [printable(dataset.names[class_id]) for class_id in (most, least)]
            message = f"{names[0]!r} has {counts[most]} boxes, {names[1]!r} has {counts[least]}: {times:.0f} times."
            dataset.add("class_imbalance", severity, "", message)
            return


def report_rare_classes(dataset: Dataset, table: BoxTable, shares: tuple[float, float, float]) -> None:
    """Warn of classes with too few boxes to be measured: in the user's own splits, or where it will make them.

    Args:
        dataset: Checked.
        table: Boxes of its usable images.
        shares: Of train, val and test, where the user has no splits.
    """
    own = [name for name in SPLITS if any(name in sample.given for sample in table.samples)]
    total = np.bincount(table.cls, minlength=len(dataset.names))
    counts = {name: _count(table, name, len(dataset.names)) for name in own}
    expected = {name: np.floor(total * share) for name, share in zip(SPLITS, shares, strict=True)}
    for class_id in np.flatnonzero(total).tolist():
        name = printable(dataset.names[class_id])
        if own:
            few = [(s, int(counts[s][class_id])) for s in own if counts[s][class_id] < NEEDED[s]]
            told = ", ".join(f"{count} in {split} ({NEEDED[split]} needed)" for split, count in few)
            message = f"Class {name!r} has too few boxes: {told}."
        else:
            few = [(s, int(expected[s][class_id])) for s in SPLITS if expected[s][class_id] < NEEDED[s]]
            told = ", ".join(f"about {count} would be in {split} ({NEEDED[split]} needed)" for split, count in few)
            message = f"Class {name!r} has {total[class_id]} boxes in all: {told}."
        if few:
            dataset.add("rare_class", "warning", "", message)


def _count(table: BoxTable, split: str, nc: int) -> NDArray[np.int64]:
    inside = np.array([split in sample.given for sample in table.samples], dtype=bool)
    return np.bincount(table.cls[inside[table.image]], minlength=nc)


def _empty(dataset: Dataset, table: BoxTable) -> None:
    empty = int((table.counts == 0).sum())
    if empty > _MANY_EMPTY * len(table.samples):
        dataset.add("many_empty", "warning", "", f"{empty} of {len(table.samples)} images have no box.")


def _crowds(dataset: Dataset, table: BoxTable) -> None:
    """Note images with far more or far fewer boxes than the others that have any.

    Fences of J. W. Tukey, "Exploratory Data Analysis" (1977), ch. 2, around the quartiles of log(1 + boxes): the outer
    one, 3 interquartile ranges away, above; the inner one, 1.5 ranges, below, since counts have no room there.
    """
    counts = table.counts
    labelled = np.flatnonzero(counts)
    if len(labelled) < _ENOUGH_IMAGES:
        return
    logs = np.log1p(counts[labelled])
    q1, q3 = np.quantile(logs, (0.25, 0.75))
    spread = max(q3 - q1, _LEAST_SPREAD)  # where half of the images have equally many boxes, all others are no outliers
    usual = f"{np.expm1(q1):.0f} to {np.expm1(q3):.0f} are usual"
    for code, found in (("crowded", logs > q3 + 3 * spread), ("sparse", logs < q1 - 1.5 * spread)):
        for image in labelled[found].tolist():
            message = f"It has {counts[image]} box{'' if counts[image] == 1 else 'es'}; {usual}."
            dataset.add(code, "note", table.samples[image].name, message)


def _sizes(dataset: Dataset, samples: Sequence[Sample]) -> None:
    """Note where the longer sides of the largest twentieth are several times those of the smallest."""
    if len(samples) < _ENOUGH_IMAGES:
        return
    sides = np.array([max(sample.check.width, sample.check.height) for sample in samples])
    low, high = np.quantile(sides, (0.05, 0.95))
    if high < _SIZE_SPREAD * low:
        return
    small, large = samples[int(sides.argmin())], samples[int(sides.argmax())]
    least, most = (f"{s.check.width} x {s.check.height} px" for s in (small, large))
    message = f"Nine of ten longer sides are {low:.0f} to {high:.0f} px; the extremes are {least} and {most}."
    dataset.add("mixed_sizes", "note", small.name, message, partner=large.name)
