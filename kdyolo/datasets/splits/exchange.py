"""Make a division of groups more even, by swaps of two groups and moves of one."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kdyolo.datasets.splits.deviation import class_deviations, least_deviations
from kdyolo.datasets.splits.features import IMAGES, Counts, Features, Ids, weighted_counts

DIGITS = 10
"""Costs are compared to so many decimals: what is finer is rounding, which another machine may do otherwise."""

_GAIN = 1e-9
_CANDIDATES = 96
_ROUNDS = 40
_MAX_STEPS = 2_000
_MAX_ENTRIES = 500_000_000


class _Step(NamedTuple):
    """Groups that change places between two parts; -1 for none, so that only the other one moves."""

    cost: float
    here: int
    there: int
    leaves_here: int
    leaves_there: int


class Exchange:
    """A division that is made more even step by step.

    The cost is the sum over parts and columns of ``weight (got / total - share)^2``. It is not divided by the shares as
    a chi-square distance is: so the cheapest division of a class's boxes, which are whole, is also the one with the
    smallest deviation. Each step is the cheapest one between two parts; none brings a part further from its number of
    images than the furthest was at the start.

    Args:
        table: Groups, in an order that does not depend on files.
        shares: Of each part (P,); sum 1.
        chosen: Part of each group to start from (N,).
    """

    def __init__(self, table: Features, shares: Counts, chosen: Ids) -> None:
        self.table, self.shares, self.chosen = table, shares, chosen.copy()
        self.sums = table.sums(chosen, len(shares))
        self.images = table.images
        self.least = least_deviations(table.totals[table.boxes], shares)
        self.weights = np.ones(len(table.totals))
        ahead = self._ahead()
        self.limits = (min(ahead.min(), 0) - 1e-6, max(ahead.max(), 0) + 1e-6)

    def run(self) -> Ids:
        """The most even division found (N,): first by its worst deviation, then by the worst above `least_deviations`.

        There are rounds of steps; after each, classes weigh more the further they are above the least they can have.
        """
        best, lowest = self.chosen.copy(), self._rank()
        left = min(_MAX_STEPS, _MAX_ENTRIES // max(1, len(self.table.rows)))
        for _ in range(_ROUNDS):
            left -= self._descend(left)
            if (rank := self._rank()) < lowest:
                best, lowest = self.chosen.copy(), rank
            excess = self._deviations() - self.least
            if left <= 0 or excess.max(initial=0) < _GAIN:
                break
            self.weights[self.table.boxes] *= 1 + excess / excess.max()
            self.weights /= self.weights.mean()
        return best

    def _deviations(self) -> Counts:
        return class_deviations(self.sums[:, self.table.boxes], self.shares)

    def _rank(self) -> tuple[float, float]:
        off = self._deviations()
        return round(float(off.max(initial=0)), DIGITS), round(float((off - self.least).max(initial=0)), DIGITS)

    def _ahead(self) -> Counts:
        """Images each part has above its share, (P,)."""
        ahead: Counts = self.sums[:, IMAGES] - self.shares * self.table.totals[IMAGES]
        return ahead

    def _descend(self, limit: int) -> int:
        """Take steps while they help; how many."""
        self.scale = np.sqrt(self.weights) / np.maximum(self.table.totals, 1)
        self.values = self.table.counts * self.scale[self.table.columns]
        self.squares = weighted_counts(self.table.rows, self.values**2, len(self.chosen))
        self.pulls = [self._pull(part) for part in range(len(self.shares))]
        steps = {pair: self._best(*pair) for pair in itertools.combinations(range(len(self.shares)), 2)}
        for taken in range(limit):
            step = min(steps.values(), key=lambda step: step.cost)
            if step.cost > -_GAIN:
                return taken
            changed = {step.here, step.there}
            self._move(step.leaves_here, step.here, step.there)
            self._move(step.leaves_there, step.there, step.here)
            for part in changed:
                self.pulls[part] = self._pull(part)
            steps |= {pair: self._best(*pair) for pair in steps if changed & set(pair)}
        return limit

    def _pull(self, part: int) -> Counts:
        """Half of what a group's presence in a part costs, to first order; (N,)."""
        ahead = (self.sums[part] - self.shares[part] * self.table.totals) * self.scale
        return weighted_counts(self.table.rows, self.values * ahead[self.table.columns], len(self.chosen))

    def _best(self, here: int, there: int) -> _Step:
        """The cheapest step between two parts.

        With v the weighted counts of a group and q the difference of its pulls, swapping i and j costs
        |v_i - v_j|^2 - (q_i - q_j), times two. Where a part has many groups, those are tried that are cheapest to move
        alone.
        """
        pull = self.pulls[here] - self.pulls[there]
        left, right = self._candidates(here, pull), self._candidates(there, -pull)
        leave = np.append(self.squares[left] - pull[left], 0)
        arrive = np.append(self.squares[right] + pull[right], 0)
        cost = (leave[:, None] + arrive - 2 * self._products(left, right)).round(DIGITS)
        cost[~self._allowed(here, there, left, right)] = np.inf
        i, j = divmod(int(cost.argmin()), len(right) + 1)
        return _Step(float(cost[i, j]), here, there, np.append(left, -1)[i].item(), np.append(right, -1)[j].item())

    def _candidates(self, part: int, pull: Counts) -> Ids:
        members = np.flatnonzero(self.chosen == part)
        if len(members) <= _CANDIDATES:
            return members
        alone = (self.squares[members] - pull[members]).round(DIGITS)
        return np.sort(members[np.argsort(alone, kind="stable")[:_CANDIDATES]])

    def _products(self, left: Ids, right: Ids) -> Counts:
        """v_i v_j of groups; (left + 1, right + 1), the last row and column for no group."""
        owner, columns, values = self._entries(right)
        dense = np.zeros((len(self.scale), len(right) + 1))
        dense[columns, owner] = values
        owner, columns, values = self._entries(left)
        starts = np.searchsorted(owner, np.arange(len(left)))  # every group has entries
        products = np.add.reduceat(values[:, None] * dense[columns], starts, axis=0)
        return np.vstack([products, np.zeros(len(right) + 1)])

    def _entries(self, groups: Ids) -> tuple[Ids, Ids, Counts]:
        """Position in `groups`, column and weighted count of all entries of some groups."""
        starts, counts = self.table.starts[groups], self.table.starts[groups + 1] - self.table.starts[groups]
        at = np.arange(counts.sum()) + np.repeat(starts - np.cumsum(counts) + counts, counts)
        return np.repeat(np.arange(len(groups)), counts), self.table.columns[at], self.values[at]

    def _allowed(self, here: int, there: int, left: Ids, right: Ids) -> NDArray[np.bool_]:
        """Which steps keep the numbers of images within their limits and no part empty; (left + 1, right + 1)."""
        lowest, highest = self.limits
        change = np.append(self.images[right], 0) - np.append(self.images[left], 0)[:, None]
        ahead = self._ahead()
        a, b = ahead[here] + change, ahead[there] - change
        fits: NDArray[np.bool_] = (np.minimum(a, b) >= lowest) & (np.maximum(a, b) <= highest)
        fits[:, -1] &= len(left) > 1
        fits[-1, :] &= len(right) > 1
        return fits

    def _move(self, group: int, origin: int, target: int) -> None:
        if group >= 0:
            columns, counts = self.table.row(group)
            self.sums[origin, columns] -= counts
            self.sums[target, columns] += counts
            self.chosen[group] = target
