"""Grouped, stratified folds of train and val: each image is once held out from a model that never saw its group."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

from kdyolo import storage
from kdyolo.datasets.auditing.audit import csv_text
from kdyolo.datasets.splits.grouping import Group
from kdyolo.datasets.splits.stratify import stratify
from kdyolo.datasets.view import View, ViewImage
from kdyolo.errors import DatasetError

FILE = "folds.csv"
FOLDED = ("train", "val")
"""Splits that are divided into folds; test stays apart."""

_COLUMNS = ("view", "source", "repeat", "fold")


def divide(groups: Sequence[Group], folds: int, repeats: int, seed: int, nc: int) -> list[list[int]]:
    """Divide groups into folds of equal shares, several times and each time differently.

    Args:
        groups: Of train and val.
        folds: Number of folds.
        repeats: How many times.
        seed: Of the first time; the next times use the next numbers.
        nc: Number of classes.

    Returns:
        For each time, the fold of each group, from 0.

    Raises:
        DatasetError: Fewer groups than folds.
    """
    if len(groups) < folds:
        raise DatasetError(
            f"Train and val have {len(groups)} groups of images, too few for {folds} folds.",
            f"Ask for at most {len(groups)} folds.",
        )
    return [stratify(groups, [1 / folds] * folds, seed + repeat, nc) for repeat in range(repeats)]


def write_folds(view: View, groups: Sequence[Group], chosen: Sequence[Sequence[int]]) -> Path:
    """Write ``folds.csv``: the fold of every image of train and val, once for each repeat.

    Args:
        view: The run's clean view.
        groups: Divided by `divide`.
        chosen: What it returned.
    """
    fold_of = [
        {sample.check.sha256: fold for group, fold in zip(groups, one, strict=True) for sample in group.samples}
        for one in chosen
    ]
    rows = [
        (image.image.relative_to(view.folder).as_posix(), image.source, repeat, folds[image.sha256])
        for repeat, folds in enumerate(fold_of)
        for image in sorted(_folded(view), key=lambda image: image.image)
    ]
    storage.write_text(view.folder / FILE, csv_text(_COLUMNS, rows))
    return view.folder / FILE


def read_folds(view: View, repeat: int = 0) -> Iterator[tuple[list[ViewImage], list[ViewImage]]]:
    """(images to train on, images held out) of each fold, both in order of file name.

    Every image of train and val is held out once, and no group is on both sides. A teacher trained on the first list
    has never seen the second: its labels there are out-of-fold.

    Args:
        view: The clean view of a run that was split with ``split.folds``.
        repeat: Which of the ``split.repeats`` divisions.

    Raises:
        DatasetError: The run has no folds, not so many repeats, or its table is damaged.
    """
    try:
        with (view.folder / FILE).open(encoding="utf-8", newline="") as file:
            rows = [(row["view"], int(row["fold"])) for row in csv.DictReader(file) if int(row["repeat"]) == repeat]
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise DatasetError(
            f"{view.folder} has no readable {FILE}.", "Split with --folds, for example --folds 5."
        ) from error
    fold_of = dict(rows)
    images = sorted(_folded(view), key=lambda image: image.image)
    names = [image.image.relative_to(view.folder).as_posix() for image in images]
    if not rows or not fold_of.keys() >= set(names):
        raise DatasetError(
            f"{view.folder / FILE} has no repeat {repeat}, or not all images.",
            "Split again with --folds and --repeats.",
        )
    for fold in sorted(set(fold_of.values())):
        inside = [fold_of[name] == fold for name in names]
        yield (
            [image for image, held in zip(images, inside, strict=True) if not held],
            [image for image, held in zip(images, inside, strict=True) if held],
        )


def _folded(view: View) -> list[ViewImage]:
    return [image for split in FOLDED for image in view.splits[split]]
