"""What of groups of images should be spread evenly over splits, as a sparse table of counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kdyolo.datasets.auditing.box_table import BoxTable
from kdyolo.datasets.splits.grouping import Group

Counts = NDArray[np.float64]
Ids = NDArray[np.int64]

IMAGES, EMPTY, SMALL = 0, 1, 2
SIZES = ("small", "medium", "large")
_LIMITS = (32.0**2, 96.0**2)
_SIDE = 640.0
_FIRST_CLASS = SMALL + len(SIZES)


@dataclass(frozen=True)
class Features:
    """Counts of each group (N): images, empty images, objects by size, images of each class, boxes of each class.

    Sizes are those of COCO, small below 32 x 32 px and large from 96 x 96 px, in an image scaled to 640 px on its
    longer side: what counts is how large the network sees an object, not how fine the camera was.

    Attributes:
        nc: Number of classes.
        rows, columns, counts: Entries that are not 0, in order of row and column; (E,) each.
        starts: Where each row starts in them, and the end; (N + 1,).
        totals: Of each column; (2 nc + 5,).
    """

    nc: int
    rows: Ids
    columns: Ids
    counts: Counts
    starts: Ids
    totals: Counts

    @property
    def boxes(self) -> slice:
        """Columns that hold the boxes of each class."""
        return slice(_FIRST_CLASS + self.nc, _FIRST_CLASS + 2 * self.nc)

    @property
    def images(self) -> Counts:
        """Images of each group, (N,)."""
        return self.counts[self.starts[:-1]]  # each group has some, in its first entry

    def row(self, index: int) -> tuple[Ids, Counts]:
        """Columns and counts of one group."""
        part = slice(self.starts[index], self.starts[index + 1])
        return self.columns[part], self.counts[part]

    def sums(self, parts: Ids, count: int) -> Counts:
        """Counts of each part, (count, 2 nc + 5).

        Args:
            parts: Part of each group (N,), from 0; negative for none.
            count: Number of parts.
        """
        width = len(self.totals)
        part = parts[self.rows]
        taken = part >= 0
        flat = part[taken] * width + self.columns[taken]
        return weighted_counts(flat, self.counts[taken], count * width).reshape(count, width)


def features(groups: Sequence[Group], nc: int) -> Features:
    """Count what is in each group.

    Args:
        groups: Of checked images.
        nc: Number of classes.
    """
    table = BoxTable.of([sample for group in groups for sample in group.samples])
    group = np.repeat(np.arange(len(groups)), [len(group.samples) for group in groups])
    empty = group[table.counts == 0]
    seen = np.unique(table.image * nc + table.cls)
    width = _FIRST_CLASS + 2 * nc
    entries = [
        group * width + IMAGES,
        empty * width + EMPTY,
        group[table.image] * width + SMALL + _size(table),
        group[seen // nc] * width + _FIRST_CLASS + seen % nc,
        group[table.image] * width + _FIRST_CLASS + nc + table.cls,
    ]
    flat, counts = np.unique(np.concatenate(entries), return_counts=True)
    rows, columns = np.divmod(flat, width)
    starts = np.searchsorted(rows, np.arange(len(groups) + 1))
    values = counts.astype(np.float64)
    return Features(nc, rows, columns, values, starts, weighted_counts(columns, values, width))


def weighted_counts(ids: Ids, weights: Counts, count: int) -> Counts:
    """Sum of the weights of each id, (count,)."""
    return np.bincount(ids, weights=weights, minlength=count).astype(np.float64, copy=False)


def _size(table: BoxTable) -> Ids:
    """0 for small, 1 for medium, 2 for large; (B,)."""
    side = np.maximum(table.side, 1)
    area = (table.xywhn[:, 2:] * side).prod(axis=1) * (_SIDE / side.max(axis=1)) ** 2
    size: Ids = np.digitize(area, _LIMITS)
    return size
