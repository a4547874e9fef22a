"""Box formats, geometry and the two sets of boxes an image has: found and true. Numpy only.

Formats, always (N, 4) float arrays: ``xyxy`` corners in pixels; ``xywh`` centre and size in pixels;
``xyxyn`` / ``xywhn`` the same divided by image width and height, in [0, 1].
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Boxes = NDArray[np.float64]


def xyxy_to_xywh(xyxy: Boxes) -> Boxes:
    """Corners (N, 4) to centre and size (N, 4), in the unit of the input."""
    x1, y1, x2, y2 = np.asarray(xyxy, dtype=np.float64).reshape(-1, 4).T
    return np.stack([(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1], axis=1)


def xywh_to_xyxy(xywh: Boxes) -> Boxes:
    """Centre and size (N, 4) to corners (N, 4), in the unit of the input."""
    cx, cy, w, h = np.asarray(xywh, dtype=np.float64).reshape(-1, 4).T
    return np.stack([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2], axis=1)


def normalise(boxes: Boxes, width: int, height: int) -> Boxes:
    """Pixel boxes (N, 4) of either format divided by image size, so that the image spans [0, 1]."""
    return np.asarray(boxes, dtype=np.float64).reshape(-1, 4) / [width, height, width, height]


def denormalise(boxes: Boxes, width: int, height: int) -> Boxes:
    """Normalised boxes (N, 4) of either format back to pixels."""
    return np.asarray(boxes, dtype=np.float64).reshape(-1, 4) * [width, height, width, height]


def area_xyxy(xyxy: Boxes) -> NDArray[np.float64]:
    """Area (N,) of corner boxes (N, 4); 0 where a box is inverted."""
    x1, y1, x2, y2 = np.asarray(xyxy, dtype=np.float64).reshape(-1, 4).T
    return np.maximum(x2 - x1, 0) * np.maximum(y2 - y1, 0)


def iou_matrix(a_xyxy: Boxes, b_xyxy: Boxes) -> NDArray[np.float64]:
    """Intersection over union (N, M) in [0, 1] of corner boxes (N, 4) and (M, 4); 0 where both are empty."""
    a, b = np.asarray(a_xyxy, dtype=np.float64).reshape(-1, 4), np.asarray(b_xyxy, dtype=np.float64).reshape(-1, 4)
    top_left = np.maximum(a[:, None, :2], b[None, :, :2])
    bottom_right = np.minimum(a[:, None, 2:], b[None, :, 2:])
    intersection = np.prod(np.maximum(bottom_right - top_left, 0), axis=2)
    union = area_xyxy(a)[:, None] + area_xyxy(b)[None, :] - intersection
    iou: NDArray[np.float64] = np.divide(intersection, union, out=np.zeros_like(union), where=union > 0)
    return iou


@dataclass(frozen=True)
class Detections:
    """What a model found in one image.

    Attributes:
        xyxy: (N, 4) corners in pixels of the image as displayed, that is, after its EXIF orientation is applied.
        score: (N,) confidences in [0, 1].
        cls: (N,) class indices.
        probs: (N, nc) probability of each class, where it was asked for.
        spread: (N, 4) standard deviation of the left, top, right and bottom side in pixels, where it was asked for.
    """

    xyxy: NDArray[Any]
    score: NDArray[Any]
    cls: NDArray[Any]
    probs: NDArray[Any] | None = None
    spread: NDArray[Any] | None = None


@dataclass(frozen=True)
class Truth:
    """What is labelled in one image.

    Attributes:
        xyxy: (M, 4) corners in pixels of the image as displayed.
        cls: (M,) class indices.
        width: Image width (px).
        height: Image height (px).
    """

    xyxy: NDArray[Any]
    cls: NDArray[Any]
    width: int
    height: int
