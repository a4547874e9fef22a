"""Detections against truth, matched by pycocotools' COCOeval: silent, over all box sizes, independent of order."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

Floats = NDArray[np.float64]
Labels = tuple[NDArray[Any], NDArray[Any], NDArray[Any]]
"""Of one image: corners (N, 4) in pixels, class indices (N,), scores (N,)."""


class Matches(NamedTuple):
    """One class over all images.

    Attributes:
        score: (D,) scores of its detections, ascending.
        hit: (D,) whether each of them matches a truth box at IoU 0.5.
        precision: (10, 101) precision at IoU 0.50:0.05:0.95 and recall 0, 0.01 .. 1.
    """

    score: Floats
    hit: NDArray[np.bool_]
    precision: Floats


class ImageMatches(NamedTuple):
    """One class, image by image, so that precision can be computed again for any choice of the images.

    Attributes:
        score: (D,) scores of its detections, descending; equal scores in the order of the images.
        image: (D,) index of the image of each detection, below N.
        hit: (10, D) whether each matches a truth box at IoU 0.50:0.05:0.95.
        truths: (N,) truth boxes of each image.
    """

    score: Floats
    image: NDArray[np.int64]
    hit: NDArray[np.bool_]
    truths: NDArray[np.int64]


def match(
    truths: Sequence[Labels], detections: Sequence[Labels], classes: Sequence[int], max_det: int
) -> list[Matches]:
    """Match detections to truth in score order, image by image and class by class.

    Args:
        truths: Labels of each image; their scores are not used.
        detections: Detections of the same images, in the same order.
        classes: Ascending class indices to look at; each must have a truth box.
        max_det: Most confident detections counted per image and class.

    Returns:
        The matches of each of `classes`.
    """
    evaluator = _evaluated(truths, detections, classes, max_det)
    with contextlib.redirect_stdout(io.StringIO()):
        evaluator.accumulate()
    return [_of_class(evaluator, k, len(truths)) for k in range(len(classes))]


def image_matches(
    truths: Sequence[Labels], detections: Sequence[Labels], classes: Sequence[int], max_det: int
) -> list[ImageMatches]:
    """Match as `match` does, and keep which image each detection is of.

    Args:
        truths: Labels of each image; their scores are not used.
        detections: Detections of the same images, in the same order.
        classes: Ascending class indices to look at; a class without a truth box has no hits.
        max_det: Most confident detections counted per image and class.

    Returns:
        The matches of each of `classes`.
    """
    evaluator = _evaluated(truths, detections, classes, max_det)
    counts = [np.bincount(np.asarray(cls).astype(int), minlength=max(classes, default=0) + 1) for _, cls, _ in truths]
    return [_by_image(evaluator, k, [int(n[c]) for n in counts]) for k, c in enumerate(classes)]


def _evaluated(truths: Sequence[Labels], detections: Sequence[Labels], classes: Sequence[int], max_det: int) -> Any:
    evaluator = COCOeval(iouType="bbox")
    images = len(truths)
    with contextlib.redirect_stdout(io.StringIO()):
        evaluator.cocoGt = _coco(images, classes, _annotations(truths))
        evaluator.cocoDt = _coco(images, classes, _annotations(detections))
        evaluator.params.imgIds = list(range(1, images + 1))
        evaluator.params.catIds = list(classes)
        evaluator.params.maxDets = [max_det]
        evaluator.params.areaRng, evaluator.params.areaRngLbl = [[0.0, np.inf]], ["all"]
        evaluator.evaluate()
    return evaluator


def _coco(images: int, classes: Sequence[int], annotations: list[dict[str, Any]]) -> Any:
    coco = COCO()
    coco.dataset = {
        "images": [{"id": i} for i in range(1, images + 1)],
        "categories": [{"id": c} for c in classes],
        "annotations": annotations,
    }
    coco.createIndex()
    return coco


def _annotations(images: Sequence[Labels]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for image_id, (corners, cls, score) in enumerate(images, start=1):
        xyxy = np.asarray(corners, dtype=np.float64).reshape(-1, 4)
        # A fixed order, so that ties never depend on the order boxes came in.
        for i in np.lexsort((*xyxy.T, cls, -np.asarray(score, dtype=np.float64))):
            x1, y1, x2, y2 = xyxy[i].tolist()
            w, h = max(x2 - x1, 0.0), max(y2 - y1, 0.0)
            # COCOeval marks "unmatched" with id 0, so ids count from 1.
            rows.append(
                {"id": len(rows) + 1, "image_id": image_id, "category_id": int(cls[i]), "score": float(score[i])}
                | {"bbox": [x1, y1, w, h], "area": w * h, "iscrowd": 0}
            )
    return rows


def _of_class(evaluator: Any, k: int, images: int) -> Matches:
    entries = [e for e in evaluator.evalImgs[k * images : (k + 1) * images] if e is not None]
    score = np.concatenate([np.zeros(0), *(e["dtScores"] for e in entries)])
    hit = np.concatenate([np.zeros(0, bool), *(e["dtMatches"][0] > 0 for e in entries)])
    order = np.argsort(score, kind="stable")
    return Matches(score[order], hit[order], evaluator.eval["precision"][:, :, k, 0, 0])


def _by_image(evaluator: Any, k: int, truths: Sequence[int]) -> ImageMatches:
    images = len(truths)
    entries = [(i, e) for i, e in enumerate(evaluator.evalImgs[k * images : (k + 1) * images]) if e is not None]
    score = np.concatenate([np.zeros(0), *(e["dtScores"] for _, e in entries)])
    image = np.repeat([i for i, _ in entries], [len(e["dtScores"]) for _, e in entries]).astype(np.int64)
    hit = np.concatenate([np.zeros((10, 0), bool), *(e["dtMatches"] > 0 for _, e in entries)], axis=1)
    # The same stable sort as COCOeval.accumulate.
    order = np.argsort(-score, kind="stable")
    return ImageMatches(score[order], image[order], hit[:, order], np.array(truths, dtype=np.int64))
