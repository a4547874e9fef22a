"""Average precision by the size of the object, with COCO's sizes and COCO's rules for what is ignored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdyolo.boxes import Detections, Truth, area_xyxy, iou_matrix
from kdyolo.evaluation.error_budget import average_precision, most_confident
from kdyolo.evaluation.errors import Floats, Ints, assign, check_keys, in_order

SIZES: dict[str, tuple[float, float]] = {
    "small": (0.0, 32.0**2),
    "medium": (32.0**2, 96.0**2),
    "large": (96.0**2, np.inf),
}
"""Name -> least and largest area in square pixels, both included; as in COCO, an area of just 32^2 is in two sizes."""

_THRESHOLDS: Floats = np.linspace(0.5, 0.95, 10)


@dataclass(frozen=True)
class SizeAccuracy:
    """Objects of one size.

    Attributes:
        boxes: Number of truth boxes.
        mAP50_95: Average precision, mean over IoU 0.50:0.05:0.95 and over the classes with truth of this size, in
            [0, 1]; None where there is none.
    """

    boxes: int
    mAP50_95: float | None  # noqa: N815 - the field's name for it

    def to_json(self) -> dict[str, Any]:
        """Both as plain data."""
        return {"boxes": self.boxes, "mAP50_95": self.mAP50_95}


def by_size(
    truths: Mapping[str, Truth], detections: Mapping[str, Detections], max_det: int = 300
) -> dict[str, SizeAccuracy]:
    """Measure a model on small, medium and large objects apart (Lin et al. 2014, https://arxiv.org/abs/1405.0312).

    Truth of another size is neither found nor missed, and what finds it is not counted; nor is a detection of another
    size that finds nothing. The sizes are those of the image file, not of the network's input.

    Args:
        truths: Image key -> its labels; images without objects belong in it.
        detections: The same keys -> what the model found, down to a low confidence (0.001), NMS done.
        max_det: Most confident detections counted per image and class.

    Returns:
        Size -> figures, in the order of `SIZES`.

    Raises:
        ValueError: The two key sets differ.
    """
    check_keys(truths, detections)
    keys = sorted(truths)
    labels = [in_order(truths[k].xyxy, truths[k].cls, np.zeros(len(truths[k].cls)))[:2] for k in keys]
    found = [_limited(detections[k], max_det) for k in keys]
    classes = np.unique(np.concatenate([np.zeros(0, int), *(cls for _, cls in labels)]))
    precisions: dict[str, list[float]] = {name: [] for name in SIZES}
    boxes = dict.fromkeys(SIZES, 0)
    for c in classes:
        images = [_Image(b[d == c], s[d == c], t[y == c]) for (b, d, s), (t, y) in zip(found, labels, strict=True)]
        for name, area in SIZES.items():
            count = sum(int(np.count_nonzero(_within(image.truth_xyxy, area))) for image in images)
            boxes[name] += count
            if count:
                precisions[name].append(_precision(images, area, count))
    return {name: SizeAccuracy(boxes[name], float(np.mean(p)) if p else None) for name, p in precisions.items()}


class _Image:
    """One class in one image: detections in score order, truth, and their overlaps."""

    def __init__(self, xyxy: Floats, score: Floats, truth_xyxy: Floats) -> None:
        self.xyxy, self.score, self.truth_xyxy = xyxy, score, truth_xyxy
        self.iou = iou_matrix(xyxy, truth_xyxy)

    def matched(self, area: tuple[float, float], threshold: float) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Of each detection (N,): whether it found truth within `area`, and whether it counts at all."""
        inside = _within(self.truth_xyxy, area)
        hit = assign(np.where(inside, self.iou, -1), threshold) >= 0
        # Truth that is ignored is only for the detections that found none that counts.
        on_ignored = assign(np.where(~inside & ~hit[:, None], self.iou, -1), threshold) >= 0
        return hit, hit | (~on_ignored & _within(self.xyxy, area))


def _limited(found: Detections, max_det: int) -> tuple[Floats, Ints, Floats]:
    xyxy, cls, score = in_order(found.xyxy, found.cls, found.score)
    kept = most_confident(cls, max_det)
    return xyxy[kept], cls[kept], score[kept]


def _within(xyxy: Floats, area: tuple[float, float]) -> NDArray[np.bool_]:
    size = area_xyxy(xyxy)
    return (size >= area[0]) & (size <= area[1])


def _precision(images: list[_Image], area: tuple[float, float], boxes: int) -> float:
    """Average precision of one class on its `boxes` truth boxes within `area`, mean over the IoU thresholds."""
    order = np.argsort(-np.concatenate([image.score for image in images]), kind="stable")
    values = []
    for threshold in _THRESHOLDS:
        hits, counted = zip(*(image.matched(area, threshold) for image in images), strict=True)
        counts = np.concatenate(counted)[order]
        values.append(average_precision(np.concatenate(hits)[order][counts], boxes))
    return float(np.mean(values))
