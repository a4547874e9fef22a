"""Latency of models side by side: real images, one at a time, warm, the models taking turns in one process."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np

from kdyolo.engine.detector import Detector, Image, read_image

PARTS = ("preprocess", "inference", "nms")
TIMED_CONF = 0.25
"""Score threshold of the timed suppression, as in use; mAP's 0.001 would time boxes nobody asks for."""


def measure(
    detectors: Mapping[str, Detector],
    paths: Sequence[Path],
    timed: int,
    warmup: int,
    conf: float = TIMED_CONF,
    iou: float = 0.7,
    tick: Callable[[int], None] = lambda done: None,
) -> dict[str, dict[str, Any]]:
    """Time every model on the same images.

    For each image the models run one after the other, and the order rotates: whatever else the machine does, a slow
    moment or a rising temperature meets them all. Reading and decoding the file is not timed.

    Args:
        detectors: Name -> model.
        paths: Image files; repeated when there are fewer than `timed`.
        timed: Images timed for each model.
        warmup: Images run before the first one is timed.
        conf: Score threshold of the suppression.
        iou: Overlap threshold of the suppression.
        tick: Called with the number of images done.

    Returns:
        Name -> ``{"p50", "p95", "mean", "preprocess": {"p50", "p95"}, "inference": .., "nms": ..}`` in milliseconds.
    """
    images = [image for image in map(read_image, islice(cycle(paths), min(timed, len(paths)))) if image is not None]
    names = list(detectors)
    seconds: dict[str, list[list[float]]] = {name: [] for name in names}
    for number, image in enumerate(islice(cycle(images), warmup + timed)):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            parts = _time_one(detectors[name], image, conf, iou)
            if number >= warmup:
                seconds[name].append(parts)
        tick(number + 1)
    return {name: _summary(1000 * np.array(rows)) for name, rows in seconds.items()}


def _time_one(detector: Detector, image: Image, conf: float, iou: float) -> list[float]:
    def now() -> float:
        detector.synchronise()
        return time.perf_counter()

    start = now()
    batch = detector.preprocess([image])
    prepared = now()
    output = detector.infer(batch)
    inferred = now()
    detector.postprocess(output, batch, [image], conf, iou)
    return [prepared - start, inferred - prepared, now() - inferred]


def _summary(parts: np.ndarray[Any, np.dtype[np.float64]]) -> dict[str, Any]:
    """Percentiles of (N, 3) milliseconds: of each part, and of each image's sum."""
    total = parts.sum(axis=1)
    return {
        **_percentiles(total),
        "mean": round(float(total.mean()), 3),
        **{name: _percentiles(parts[:, i]) for i, name in enumerate(PARTS)},
    }


def _percentiles(values: np.ndarray[Any, np.dtype[np.float64]]) -> dict[str, float]:
    return {f"p{q}": round(float(np.percentile(values, q)), 3) for q in (50, 95)}
