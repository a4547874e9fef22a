"""Truth and detections by hand and at random, for tests of evaluation."""

from __future__ import annotations

import numpy as np

from kdyolo.boxes import Detections, Truth


def truth(*rows: tuple[float, ...]) -> Truth:
    """Rows of (class, x1, y1, x2, y2) in pixels."""
    table = np.array(rows, dtype=np.float64).reshape(-1, 5)
    return Truth(table[:, 1:], table[:, 0].astype(int), 640, 480)


def found(*rows: tuple[float, ...]) -> Detections:
    """Rows of (class, score, x1, y1, x2, y2) in pixels."""
    table = np.array(rows, dtype=np.float64).reshape(-1, 6)
    return Detections(table[:, 2:], table[:, 1], table[:, 0].astype(int))


def random_truths(seed: int, images: int = 6, classes: int = 3, crowd: int = 8) -> dict[str, Truth]:
    """Up to `crowd` boxes of 10 to 160 pixels in an image, packed closely enough that some overlap."""
    rng = np.random.default_rng(seed)
    truths = {}
    for i in range(images):
        n = int(rng.integers(0, crowd))
        corner = rng.uniform(0, 250, (n, 2))
        xyxy = np.hstack([corner, corner + np.exp(rng.uniform(np.log(10), np.log(160), (n, 2)))])
        truths[f"{i}.jpg"] = Truth(xyxy, rng.integers(0, classes, n), 640, 480)
    return truths


def random_detections(
    truths: dict[str, Truth], seed: int, classes: int = 3, jitter: float = 0.2
) -> dict[str, Detections]:
    """The true boxes shifted by a part of their size, some twice, some of another class, some left out; and noise."""
    rng = np.random.default_rng(seed)
    detections = {}
    for key, label in truths.items():
        again = rng.integers(0, 3, len(label.cls))
        xyxy, cls = label.xyxy.repeat(again, axis=0), label.cls.repeat(again)
        size = xyxy[:, 2:] - xyxy[:, :2]
        corner = xyxy[:, :2] + rng.normal(0, jitter, size.shape) * size
        xyxy = np.hstack([corner, corner + size * np.exp(rng.normal(0, jitter, size.shape))])
        wrong = rng.random(len(cls)) < 0.25
        cls = np.where(wrong, rng.integers(0, classes, len(cls)), cls)
        noise = int(rng.integers(0, 4))
        corner = rng.uniform(0, 400, (noise, 2))
        xyxy = np.vstack([xyxy, np.hstack([corner, corner + rng.uniform(8, 120, (noise, 2))])])
        cls = np.concatenate([cls, rng.integers(0, classes, noise)])
        detections[key] = Detections(xyxy, rng.uniform(0.01, 1, len(cls)), cls)
    return detections


def shuffled(
    truths: dict[str, Truth], detections: dict[str, Detections], seed: int = 0
) -> tuple[dict[str, Truth], dict[str, Detections]]:
    """The same images and boxes in another order."""
    rng = np.random.default_rng(seed)
    keys = [str(key) for key in rng.permutation(sorted(truths))]
    mixed_truths, mixed = {}, {}
    for key in keys:
        t, d = truths[key], detections[key]
        a, b = rng.permutation(len(t.cls)), rng.permutation(len(d.cls))
        mixed_truths[key] = Truth(t.xyxy[a], t.cls[a], t.width, t.height)
        mixed[key] = Detections(d.xyxy[b], d.score[b], d.cls[b])
    return mixed_truths, mixed
