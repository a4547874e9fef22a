"""COCO average precision of many resamples of one set of images, from one matching of its detections.

An image drawn w times counts w times: its truth boxes and its detections have weight w. Precision is interpolated at
101 recall points, as pycocotools does (Lin et al. 2014, "Microsoft COCO", https://arxiv.org/abs/1405.0312).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdyolo.evaluation.matching import Floats, ImageMatches

METRICS = ("mAP50", "mAP75", "mAP50_95")
"""Names of the figures of `mean_ap`."""

_RECALL: Floats = np.linspace(0.0, 1.0, 101)
_CELLS = 4_000_000

Integers = NDArray[np.integer[Any]]


def average_precision(matches: ImageMatches, weights: Integers) -> Floats:
    """Average precision of one class in each resample.

    Detections of equal score keep the order they have in `matches`, whichever images are drawn.

    Args:
        matches: D detections of the class on N images.
        weights: (R, N) how often each resample holds each image, 0 or more.

    Returns:
        (R, 10) in [0, 1] at IoU 0.50:0.05:0.95; NaN in a resample without a truth box of the class.

    Raises:
        ValueError: `weights` is not a table of integers over the N images, or one is negative.
    """
    weights = np.asarray(weights)
    if weights.ndim != 2 or weights.shape[1] != len(matches.truths):
        raise ValueError(f"weights of shape {weights.shape} do not fit {len(matches.truths)} images")
    if not np.issubdtype(weights.dtype, np.integer) or (weights.size and weights.min() < 0):
        raise ValueError("weights must be integers of 0 or more")
    # Only hits enter the precision envelope, so nothing after the last of them counts.
    hits = np.flatnonzero(matches.hit.any(axis=0))
    image = matches.image[: hits[-1] + 1 if len(hits) else 0]
    rows = max(1, _CELLS // (len(image) + 6 * len(hits) + len(_RECALL)))
    parts = [
        _chunk(matches, image, hits, weights[start : start + rows].astype(np.int32))
        for start in range(0, len(weights), rows)
    ]
    return np.concatenate([np.zeros((0, len(matches.hit))), *parts])


def mean_ap(per_class: Sequence[Floats] | Floats) -> dict[str, Floats]:
    """Means over the classes that have a truth box in the resample.

    Args:
        per_class: For each class, average precision (R, 10) from `average_precision`.

    Returns:
        Each of `METRICS` -> (R,) in [0, 1], NaN in a resample without any truth box.
    """
    values = np.asarray(per_class, dtype=np.float64)
    known = ~np.isnan(values[:, :, 0])
    classes = known.sum(axis=0).astype(np.float64)
    total = {name: np.where(known, figures, 0.0).sum(axis=0) for name, figures in class_figures(values).items()}
    return {
        name: np.divide(sums, classes, out=np.full_like(sums, np.nan), where=classes > 0)
        for name, sums in total.items()
    }


def class_figures(average_precisions: Floats) -> dict[str, Floats]:
    """Each of `METRICS` of a class: (..., 10) average precision at IoU 0.50:0.05:0.95 -> (...)."""
    ap = average_precisions
    return {"mAP50": ap[..., 0], "mAP75": ap[..., 5], "mAP50_95": ap.mean(axis=-1)}


def _chunk(matches: ImageMatches, image: Integers, hits: Integers, weights: NDArray[np.int32]) -> Floats:
    boxes = weights @ matches.truths
    needed = _needed(boxes)
    weight = np.take(weights, image, axis=1)
    counted = np.cumsum(weight, axis=1, dtype=np.int32)[:, hits]
    weight = weight[:, hits]
    ap = np.zeros((len(weights), len(matches.hit)))
    for i, hit in enumerate(matches.hit[:, hits]):
        if hit.any():
            ap[:, i] = _interpolated(weight[:, hit], counted[:, hit], needed)
    ap[boxes == 0] = np.nan
    return ap


def _needed(boxes: Integers) -> NDArray[np.int64]:
    """Fewest hits (R, 101) whose recall, as a float64 quotient, reaches each recall point."""
    total = np.maximum(boxes, 1)[:, None].astype(np.int64)
    fewest = np.ceil(_RECALL * total).astype(np.int64)
    fewest -= (fewest > 0) & ((fewest - 1) / total >= _RECALL)
    return fewest + (fewest / total < _RECALL)


def _interpolated(weight: NDArray[np.int32], counted: NDArray[np.int32], needed: NDArray[np.int64]) -> Floats:
    """Mean over 101 recall points of the best precision at that recall or above; (R, H) hits -> (R,)."""
    resamples, hits = weight.shape
    found = np.cumsum(weight, axis=1, dtype=np.int64)
    envelope = np.zeros((resamples, hits + 1))
    np.divide(found, counted, out=envelope[:, :hits], where=counted > 0)
    envelope = np.maximum.accumulate(envelope[:, ::-1], axis=1)[:, ::-1]
    # Rows are set apart by more than any count found, so that one search serves them all.
    row = np.arange(resamples)[:, None]
    step = int(found[:, -1].max()) + 1
    first = np.searchsorted((found + row * step).ravel(), needed + row * step) - row * hits
    precision: Floats = np.take_along_axis(envelope, np.minimum(first, hits), axis=1)
    mean: Floats = precision.mean(axis=1)
    return mean
