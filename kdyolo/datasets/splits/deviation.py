"""How far the classes of a division are from their shares, and how far whole boxes keep them at least."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.float64]


def class_deviations(boxes: Counts, shares: Counts) -> Counts:
    """How far each class is off in the part where it is furthest off.

    Args:
        boxes: Boxes of each class in each part, (parts, nc).
        shares: What each part should hold of everything, (parts,); sum 1.

    Returns:
        (nc,): the largest over parts of |boxes of the class in the part / all its boxes - share of the part|; 0 for
        classes without boxes. The largest over classes is the division's *worst deviation*.
    """
    totals = boxes.sum(axis=0)
    off = np.abs(boxes / np.maximum(totals, 1) - shares[:, None])
    return np.where(totals > 0, off.max(axis=0), 0.0)


def least_deviations(totals: Counts, shares: Counts) -> Counts:
    """The smallest `class_deviations` any division can have, because boxes are whole.

    It is 0.3 for one box and shares of 0.7, 0.15, 0.15. Each part gets its share rounded down, and what is left goes
    to the largest remainders. A division of groups may not be able to reach it.

    Args:
        totals: Boxes of each class, (nc,).
        shares: As for `class_deviations`.
    """
    ideal = np.outer(shares, totals)
    whole = np.floor(ideal + 1e-9)
    left = np.rint(totals - whole.sum(axis=0))
    rank = np.argsort(np.argsort(whole - ideal, axis=0, kind="stable"), axis=0)
    return class_deviations(whole + (rank < left), shares)
