"""Ground truth and teacher boxes in one label file: truth stays, the teacher only adds what nobody labelled."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kdyolo.boxes import Boxes, iou_matrix

MAX_OVERLAP = 0.5


def add_to_truth(
    truth_cls: NDArray[np.int64],
    truth_xyxy: Boxes,
    found_cls: NDArray[np.int64],
    found_xyxy: Boxes,
    max_overlap: float = MAX_OVERLAP,
) -> tuple[NDArray[np.int64], Boxes]:
    """Truth first and unchanged, then the teacher's boxes that overlap none of it.

    Overlap counts whatever the class: where a person has drawn a box, the teacher's opinion of its class or edges does
    not enter.

    Args:
        truth_cls: Class ids (M,).
        truth_xyxy: Corners (M, 4), same unit as `found_xyxy`.
        found_cls: Class ids (N,) of the teacher's boxes above threshold.
        found_xyxy: Corners (N, 4).
        max_overlap: IoU in [0, 1] from which a teacher box is dropped.

    Returns:
        Class ids and corners of M to M + N boxes.
    """
    free = np.ones(len(found_cls), dtype=bool)
    if len(truth_cls):
        free = iou_matrix(found_xyxy, truth_xyxy).max(axis=1, initial=0.0) < max_overlap
    return np.concatenate([truth_cls, found_cls[free]]), np.concatenate([truth_xyxy, found_xyxy[free]])
