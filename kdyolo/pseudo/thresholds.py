"""From which score on a teacher's detection becomes a label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

FLOOR = 0.1
LOW, HIGH = 0.25, 0.9
MIN_BOXES = 20


def choose(
    best_f1: Mapping[str, float | None],
    boxes: Mapping[str, int],
    overall: float | None,
    low: float = LOW,
    high: float = HIGH,
    min_boxes: int = MIN_BOXES,
) -> dict[str, float]:
    """A score threshold for each class, from the teacher's validation curves.

    One fixed threshold starves the classes a teacher is unsure of and lets noise in for the others, so, as in the
    practice around Efficient Teacher (Xu et al. 2023, https://arxiv.org/abs/2302.07577), each class has its own, held
    between a low and a high bound. It is the score at which the class's F1 on the validation split is best. Of few
    boxes that score is mostly chance, so such classes take the one that is best over all classes.

    Args:
        best_f1: Class name -> the score of its best F1 at IoU 0.5 on validation, in [0, 1]; None: no curve.
        boxes: Class name -> number of labelled validation boxes; a name it lacks has none.
        overall: The score of best mean F1; None: the teacher found nothing.
        low: No threshold is below this, so that noise cannot become labels; also the fallback where `overall` is None.
        high: No threshold is above this, so that a class is never left without labels.
        min_boxes: Classes with fewer validation boxes take the overall score.

    Returns:
        Class name -> threshold in [low, high], in the order of `best_f1`.

    Raises:
        ValueError: Not ``0 <= low <= high <= 1``.
    """
    if not 0 <= low <= high <= 1:
        raise ValueError(f"thresholds must lie in 0 <= low <= high <= 1, not {low} and {high}")
    fallback = low if overall is None else overall
    thresholds = {}
    for name, score in best_f1.items():
        own = score is not None and boxes.get(name, 0) >= min_boxes
        thresholds[name] = min(max(score if own and score is not None else fallback, low), high)
    return thresholds


def doubtful(score: NDArray[np.float64], cls: NDArray[np.int64], thresholds: Sequence[float]) -> NDArray[np.bool_]:
    """Which boxes are too good to be background though no labels: from half their class's threshold, 0.1 at least.

    The dual thresholds of Efficient Teacher (Xu et al. 2023, https://arxiv.org/abs/2302.07577, section 3.3).

    Args:
        score: Confidences (N,) in [0, 1], the very ones that labels were judged by: one that is rounded may be on the
            other side of a threshold.
        cls: Class ids (N,).
        thresholds: From which score on a box is a label, of each class.

    Returns:
        (N,) booleans.
    """
    high = np.asarray(thresholds)[cls]
    found: NDArray[np.bool_] = (score >= np.maximum(high / 2, FLOOR)) & (score < high)
    return found
