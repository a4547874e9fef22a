"""Divide groups so that every part gets its share of each class, of each object size and of empty images."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from kdyolo.datasets.splits.exchange import DIGITS, Exchange
from kdyolo.datasets.splits.features import IMAGES, Counts, Features, Ids, features
from kdyolo.datasets.splits.grouping import Group
from kdyolo.errors import DatasetError


def stratify(groups: Sequence[Group], shares: Sequence[float], seed: int, nc: int) -> list[int]:
    """Assign groups to parts so that all that `features` counts comes as close to the shares as possible.

    First greedily: groups with the rarest classes first (as Sechidis, Tsoumakas, Vlahavas, "On the stratification of
    multi-label data", ECML PKDD 2011, take images), each to the part where it brings the counts closest to the shares,
    never to a part that already has its share of images. Then `exchange.Exchange` makes the division more even.

    Args:
        groups: In any order; the result does not depend on it.
        shares: Size of each part; sum 1.
        seed: Decides among divisions alike.
        nc: Number of classes.

    Returns:
        Index of the part of each group. No part is empty, and each exceeds its share of images by less than one group.

    Raises:
        DatasetError: Fewer groups than parts.
    """
    if len(groups) < len(shares):
        raise DatasetError(
            f"There are only {len(groups)} different usable images for {len(shares)} splits.",
            "Add images; copies, near copies and images of one source count as one and stay in one split.",
        )
    order = ranked(groups, features(groups, nc), seed)
    table = features([groups[index] for index in order], nc)
    share = np.array(shares, dtype=np.float64)
    chosen = np.empty(len(groups), dtype=np.int64)
    chosen[order] = Exchange(table, share, _greedy(table, share)).run()
    found: list[int] = chosen.tolist()
    return found


def ranked(groups: Sequence[Group], table: Features, seed: int) -> list[int]:
    """Indices of groups with what is rarest first, then the largest, then as the seed shuffles.

    Args:
        groups: In any order; the order found does not depend on it.
        table: Their features.
        seed: Shuffles groups that are alike, by their keys.
    """
    rarest = np.full(len(groups), np.inf)
    other = table.columns != IMAGES
    np.minimum.at(rarest, table.rows[other], table.totals[table.columns[other]])
    shuffled = [hashlib.sha256(f"{seed}:{group.key}".encode()).hexdigest() for group in groups]
    rank = list(zip(rarest.tolist(), (-table.images).tolist(), shuffled, strict=True))
    return sorted(range(len(groups)), key=rank.__getitem__)


def _greedy(table: Features, share: Counts) -> Ids:
    """Part of each group, taken in order; (N,)."""
    values = table.counts / table.totals[table.columns]
    ahead = np.repeat(-share[:, None], len(table.totals), axis=1)
    chosen = np.empty(len(table.images), dtype=np.int64)
    empty = np.ones(len(share), dtype=bool)
    for index in range(len(chosen)):
        part = slice(table.starts[index], table.starts[index + 1])
        columns, held = table.columns[part], values[part]
        must_fill = len(chosen) - index <= empty.sum()
        closed = ~empty if must_fill else ahead[:, IMAGES] >= -1e-9
        # What this choice adds to the chi-square distance, the sum of (got - share)^2 / share over all that is spread;
        # without the division the largest part would be filled first.
        cost = ((2 * ahead[:, columns] + held) * held).sum(axis=1) / share
        cost[closed] = np.inf
        chosen[index] = cost.round(DIGITS).argmin()
        ahead[chosen[index], columns] += held
        empty[chosen[index]] = False
    return chosen
