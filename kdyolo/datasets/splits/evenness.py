"""What a division achieved: the share of everything that each split got, against the share it should have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from kdyolo.datasets.sample import printable
from kdyolo.datasets.splits.deviation import Counts, class_deviations, least_deviations
from kdyolo.datasets.splits.features import EMPTY, IMAGES, SIZES, SMALL, features
from kdyolo.datasets.splits.grouping import Group

_SHOWN = 12
_WIDTH = 24

Shares = dict[str, dict[str, int | float]]


@dataclass(frozen=True)
class Evenness:
    """Shares of each split.

    Attributes:
        ideal: Split -> the share it should have of everything.
        classes: Class -> its boxes, and split -> share of them.
        others: Images, empty images and objects of each size, likewise; only those there are.
        worst: Largest `class_deviations` of all classes that have boxes, 0-1.
        worst_at: The class and split of it, as text; empty without boxes.
        least: The worst deviation no division could be under, because boxes are whole.
    """

    ideal: dict[str, float]
    classes: Shares
    others: Shares
    worst: float
    worst_at: str
    least: float

    def facts(self) -> dict[str, object]:
        """The same for a record."""
        return {
            "worst_deviation": self.worst,
            "worst_deviation_at": self.worst_at,
            "least_deviation": self.least,
            "ideal_shares": self.ideal,
            "class_shares": self.classes,
            "other_shares": self.others,
        }

    def lines(self) -> list[str]:
        """The same as a small table in percent; of many classes the dozen furthest off."""

        def off(row: Mapping[str, float]) -> float:
            return max(abs(row[split] - share) for split, share in self.ideal.items())

        shown = sorted(self.classes, key=lambda name: -off(self.classes[name]))[:_SHOWN]
        table = [("share in %", "", *self.ideal), ("ideal", "", *map(_percent, self.ideal.values()))]
        for name, row in [*self.others.items(), *((n, r) for n, r in self.classes.items() if n in shown)]:
            table.append((_short(name), f"{row['count']}", *(_percent(row[split]) for split in self.ideal)))
        lines = [f"{first:<{_WIDTH}}{''.join(f'{cell:>9}' for cell in rest)}" for first, *rest in table]
        if rest := len(self.classes) - len(shown):
            lines.append(f"and {rest} classes that are closer to their shares")
        return lines


def evenness(parts: Mapping[str, Sequence[Group]], shares: Sequence[float], names: Sequence[str]) -> Evenness:
    """Measure a division.

    Args:
        parts: Split -> its groups.
        shares: What each split should hold of everything, in the order of `parts`; sum 1.
        names: Class names.
    """
    table = features([group for groups in parts.values() for group in groups], len(names))
    got = table.sums(np.repeat(np.arange(len(parts)), [len(groups) for groups in parts.values()]), len(parts))
    share = np.array(shares)
    boxes, totals = got[:, table.boxes], table.totals[table.boxes]
    off = class_deviations(boxes, share)
    columns = {"images": IMAGES, "empty images": EMPTY} | {f"{size} objects": SMALL + i for i, size in enumerate(SIZES)}

    def row(counts: Counts) -> dict[str, int | float]:
        return {"count": int(counts.sum()), **dict(zip(parts, (counts / counts.sum()).round(6).tolist(), strict=True))}

    worst, at = float(off.max(initial=0)), ""
    if totals.any():
        class_id = int(off.argmax())
        split = int(np.abs(boxes[:, class_id] / totals[class_id] - share).argmax())
        at = f"{printable(names[class_id])} in {list(parts)[split]}"
    return Evenness(
        dict(zip(parts, share.round(6).tolist(), strict=True)),
        {names[i]: row(boxes[:, i]) for i in np.flatnonzero(totals).tolist()},
        {name: row(got[:, column]) for name, column in columns.items() if table.totals[column]},
        round(worst, 6),
        at,
        round(float(least_deviations(totals, share).max(initial=0)), 6),
    )


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"


def _short(name: str) -> str:
    text = printable(name)
    return text if len(text) < _WIDTH else f"{text[: _WIDTH - 4]}..."
