"""Whether a confidence means what it says: of the detections scored 0.7, are 70 % right?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from kdyolo.boxes import Detections, Truth
from kdyolo.evaluation.errors import Floats, check_keys, classify_image

FLOOR = 0.05
"""Detections below it are left out: mAP asks for thousands of boxes near 0, which would settle the error alone."""
BINS = 10


@dataclass(frozen=True)
class Bin:
    """Detections with a score in (`low`, `high`], the first bin with 0 too; None where there are none.

    Attributes:
        low: Lower end of the scores.
        high: Upper end of the scores.
        count: Number of detections.
        confidence: Their mean score.
        precision: How many of them, in [0, 1], found a truth box.
    """

    low: float
    high: float
    count: int
    confidence: float | None
    precision: float | None


@dataclass(frozen=True)
class Calibration:
    """One model on one split.

    Attributes:
        floor: Least score of the detections counted.
        count: Number of detections counted.
        error: Expected calibration error in [0, 1].
        confidence: Mean score.
        precision: How many, in [0, 1], found a truth box; a mean score above it is over-confidence.
        bins: Equally wide, ascending, over [0, 1].
    """

    floor: float
    count: int
    error: float
    confidence: float
    precision: float
    bins: tuple[Bin, ...]

    def to_json(self) -> dict[str, Any]:
        """Everything as plain data, rounded to 6 decimals."""
        figures = {name: round(getattr(self, name), 6) for name in ("error", "confidence", "precision")}
        bins = [{name: _rounded(value) for name, value in vars(one).items()} for one in self.bins]
        return {"floor": self.floor, "count": self.count, **figures, "bins": bins}


def calibrate(
    truths: Mapping[str, Truth], detections: Mapping[str, Detections], floor: float = FLOOR, bins: int = BINS
) -> Calibration | None:
    """Compare scores with the precision at IoU 0.5, all classes together.

    The error is sum_b n_b / N |precision_b - confidence_b| over the bins (Guo et al. 2017, "On Calibration of Modern
    Neural Networks", https://arxiv.org/abs/1706.04599, eq. 3), with precision for accuracy as in detection there are no
    true negatives (Kueppers et al. 2020, https://arxiv.org/abs/2004.13546). A duplicate counts as wrong.

    Args:
        truths: Image key -> its labels; images without objects belong in it.
        detections: The same keys -> what the model found, NMS done.
        floor: Least score counted, in [0, 1].
        bins: Number of bins.

    Returns:
        The calibration; None where no detection reaches `floor`.

    Raises:
        ValueError: The two key sets differ.
    """
    check_keys(truths, detections)
    images = [classify_image(truths[key], detections[key], floor) for key in sorted(truths)]
    score = np.concatenate([np.zeros(0), *(image.score for image in images)])
    right = np.concatenate([np.zeros(0), *(image.kind == "correct" for image in images)])
    if not len(score):
        return None
    edges = np.arange(bins + 1) / bins
    place = np.clip(np.searchsorted(edges, score, side="left") - 1, 0, bins - 1)
    filled = tuple(_bin(edges[b], edges[b + 1], score[place == b], right[place == b]) for b in range(bins))
    gaps = [
        b.count * abs(b.precision - b.confidence)
        for b in filled
        if b.confidence is not None and b.precision is not None
    ]
    return Calibration(floor, len(score), sum(gaps) / len(score), float(score.mean()), float(right.mean()), filled)


def _bin(low: float, high: float, score: Floats, right: Floats) -> Bin:
    if not len(score):
        return Bin(float(low), float(high), 0, None, None)
    return Bin(float(low), float(high), len(score), float(score.mean()), float(right.mean()))


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)
