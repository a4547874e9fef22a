"""Boxes that images made from a teacher alone are to show."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kdyolo.boxes import Boxes, iou_matrix, xywh_to_xyxy

MARGIN = 1 / 16
"""Width of the frame that boxes leave free, so that they can be shifted, as a share of the side."""
_MOST_BOXES, _MAX_IOU, _TRIES = 3, 0.1, 20
_SMALLEST, _LARGEST = 0.15, 0.6  # sides of boxes as shares of the image


@dataclass(frozen=True)
class Targets:
    """Boxes to be seen in a batch: image index (N,), class (N,), and centre and size (N, 4) as shares of the image."""

    image: NDArray[np.int64]
    cls: NDArray[np.int64]
    xywhn: Boxes

    def moved(self, flip: bool, dx: float, dy: float) -> Boxes:
        """`xywhn` after an optional left-right flip and then a shift (shares of the side)."""
        moved = self.xywhn.copy()
        if flip:
            moved[:, 0] = 1 - moved[:, 0]
        moved[:, :2] += (dx, dy)
        return moved

    def part(self, own: range) -> Targets:
        """The targets of some images, which are counted from 0 again."""
        kept = (self.image >= own.start) & (self.image < own.stop)
        return Targets(self.image[kept] - own.start, self.cls[kept], self.xywhn[kept])


def sample_targets(images: int, nc: int, seed: int) -> Targets:
    """Boxes for so many images: 1 to 3 in each, which hardly overlap; class counts differ by at most one.

    Args:
        images: 1 or more.
        nc: Number of classes.
        seed: 0 or more.
    """
    rng = np.random.default_rng((seed, 0))
    each = [_sample_boxes(rng) for _ in range(images)]
    image = np.repeat(np.arange(images), [len(boxes) for boxes in each])
    cls = rng.permutation(np.arange(len(image)) % nc)
    return Targets(image, cls, np.concatenate(each))


def _sample_boxes(rng: np.random.Generator) -> Boxes:
    """One image's boxes; the side is drawn log-uniformly, so that small objects are not rare."""
    xywhn = np.zeros((0, 4))
    wanted = int(rng.integers(1, _MOST_BOXES + 1))
    for _ in range(_TRIES):
        size = np.exp(rng.uniform(math.log(_SMALLEST), math.log(_LARGEST), 2))
        centre = rng.uniform(MARGIN + size / 2, 1 - MARGIN - size / 2)
        box = np.concatenate([centre, size])[None]
        if iou_matrix(xywh_to_xyxy(box), xywh_to_xyxy(xywhn)).max(initial=0.0) <= _MAX_IOU:
            xywhn = np.concatenate([xywhn, box])
        if len(xywhn) == wanted:
            break
    return xywhn
