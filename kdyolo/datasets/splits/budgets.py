"""Which training images keep their labels when only a share of them may: nested, stratified, every class early."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from kdyolo.datasets.sample import printable
from kdyolo.datasets.splits.exchange import DIGITS
from kdyolo.datasets.splits.features import IMAGES, Counts, Features, features
from kdyolo.datasets.splits.grouping import Group
from kdyolo.datasets.splits.stratify import ranked, stratify
from kdyolo.errors import ConfigError

_FEW = 48


def nested_order(groups: Sequence[Group], nc: int, seed: int) -> list[int]:
    """An order of groups in which every beginning is as much like the whole as it can be.

    A smaller share of labels is then part of any larger one. First come a few groups that hold a box of each class,
    the rarest class first. The others are halved by `stratify`, one half before the other, and each half again; so the
    beginnings of 1/2, 1/4, 1/8 are the most even ones, and those between them nearly so.

    Args:
        groups: Of the training images, in any order; the order found does not depend on it.
        nc: Number of classes.
        seed: Decides among orders alike.

    Returns:
        Indices into `groups`.
    """
    if not groups:
        return []
    rank = ranked(groups, features(groups, nc), seed)
    ordered = [groups[index] for index in rank]
    cover = _cover(features(ordered, nc))
    rest = [[i] for i in range(len(ordered)) if i not in set(cover)]
    items = _arrange(ordered, [cover, *rest] if cover else rest, nc, seed)
    return [rank[i] for item in items for i in item]


def take(groups: Sequence[Group], fraction: float, names: Sequence[str], seed: int) -> tuple[list[Group], list[Group]]:
    """Divide training groups into those that keep their labels and the rest.

    Args:
        groups: Of the training images, in any order.
        fraction: Share of the images that keep their labels, 0-1; met as closely as whole groups allow. The groups of
            a smaller fraction are among those of a larger one.
        names: Class names.
        seed: See `nested_order`.

    Returns:
        The labelled groups and the others, both in order of their keys.

    Raises:
        ConfigError: The fraction leaves no image, or no box of a class that has some.
    """
    order = nested_order(groups, len(names), seed)
    table = features([groups[index] for index in order], len(names))
    images = np.concatenate([[0], np.cumsum(table.images)])
    kept = int(np.abs(images - fraction * images[-1]).round(DIGITS).argmin())
    if kept < (needed := _first_complete(table)):
        raise _too_few(table, names, kept, needed)
    chosen = set(order[:kept])
    labelled = [group for index, group in enumerate(groups) if index in chosen]
    rest = [group for index, group in enumerate(groups) if index not in chosen]
    return sorted(labelled, key=lambda group: group.key), sorted(rest, key=lambda group: group.key)


def _cover(table: Features) -> list[int]:
    """Groups that together hold every class: for the class in the fewest groups, one that brings most others along."""
    inside = (table.columns >= table.boxes.start) & (table.columns < table.boxes.stop)
    rows, classes = table.rows[inside], table.columns[inside] - table.boxes.start
    missing = np.bincount(classes, minlength=table.nc).astype(np.float64)  # groups of each class still to cover
    missing[missing == 0] = np.inf
    cover: list[int] = []
    while np.isfinite(missing).any():
        brings = np.bincount(rows[np.isfinite(missing)[classes]], minlength=len(table.images))
        candidates = rows[classes == missing.argmin()]
        best = candidates[np.lexsort((candidates, table.images[candidates], -brings[candidates]))[0]]
        cover.append(int(best))
        missing[classes[rows == best]] = np.inf
    return cover


def _arrange(groups: Sequence[Group], items: list[list[int]], nc: int, seed: int) -> list[list[int]]:
    """Order items, lists of groups that stay together: the half with the first item, then the other half."""
    merged = [
        groups[item[0]] if len(item) == 1 else Group(groups[item[0]].key, sum((groups[i].samples for i in item), ()))
        for item in items
    ]
    if len(items) <= _FEW:
        return [items[i] for i in _in_turn(features(merged, nc))] if items else []
    halves = stratify(merged, (0.5, 0.5), seed, nc)
    first = [item for item, half in zip(items, halves, strict=True) if half == halves[0]]
    second = [item for item, half in zip(items, halves, strict=True) if half != halves[0]]
    return _arrange(groups, first, nc, seed) + _arrange(groups, second, nc, seed)


def _in_turn(table: Features) -> list[int]:
    """The first item, then always the one after which everything is spread most evenly."""
    used = table.totals > 0
    share = table.sums(np.arange(len(table.images)), len(table.images))[:, used] / table.totals[used]
    order, got = [0], share[0].copy()
    left = np.arange(1, len(share))
    while len(left):
        after = got + share[left]
        off: Counts = ((after - after[:, [IMAGES]]) ** 2).sum(axis=1).round(DIGITS)
        best = int(off.argmin())
        got = after[best]
        order.append(int(left[best]))
        left = np.delete(left, best)
    return order


def _first_complete(table: Features) -> int:
    """Number of groups after which every class that has boxes has had one; at least 1."""
    boxes = table.columns >= table.boxes.start
    _, first = np.unique(table.columns[boxes], return_index=True)
    return int(table.rows[boxes][first].max(initial=0)) + 1


def _too_few(table: Features, names: Sequence[str], kept: int, needed: int) -> ConfigError:
    """What is wrong with keeping the labels of the first `kept` groups where `needed` is the least."""
    images = np.concatenate([[0], np.cumsum(table.images)])
    held = table.sums(np.where(np.arange(len(table.images)) < kept, 0, -1), 1)[0, table.boxes]
    absent = np.flatnonzero((held == 0) & (table.totals[table.boxes] > 0)).tolist()
    lacking = [printable(names[class_id]) for class_id in absent]
    without = f"without a box of {', '.join(lacking[:5])}{', ...' if len(lacking) > 5 else ''}" if lacking else "empty"
    least = math.ceil(1000 * images[needed] / images[-1]) / 1000
    return ConfigError(
        f"The share of labels leaves {images[kept]:.0f} of {images[-1]:.0f} training images, {without}.",
        f"The smallest share that works here is {least:g}: --labels-fraction {least:g} (or --label-budget).",
    )
