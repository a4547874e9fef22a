"""A model on a split of the clean view: its detections and the truth, under the same keys."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kdyolo.boxes import Detections, Truth, denormalise, xywh_to_xyxy
from kdyolo.datasets.formats.labels import read_labels
from kdyolo.datasets.view import ViewImage
from kdyolo.engine.detector import Detector
from kdyolo.errors import DatasetError
from kdyolo.evaluation.accuracy import Accuracy, evaluate
from kdyolo.progress import Progress

MAP_CONF, MAP_IOU = 0.001, 0.7
"""Lowest score that counts for mAP, and overlap from which suppression takes two boxes for one; the usual ones."""


def truths(images: Sequence[ViewImage]) -> dict[str, Truth]:
    """File name -> labels of an image, in pixels."""
    result = {}
    for image in images:
        cls, xywhn = read_labels(image.label)
        xyxy = xywh_to_xyxy(denormalise(xywhn, image.width, image.height))
        result[image.image.name] = Truth(xyxy, cls, image.width, image.height)
    return result


def detect(
    detector: Detector,
    images: Sequence[ViewImage],
    conf: float,
    iou: float,
    progress: Progress,
    title: str,
    augment: bool = False,
) -> dict[str, Detections]:
    """File name -> detections of an image, as average precision counts them: one box may carry several classes.

    Raises:
        DatasetError: An image cannot be read; leaving it out would make two models incomparable.
    """
    progress.start(title, len(images))
    found = {}
    outcomes = detector.predict((image.image for image in images), conf, iou, augment, multi_label=True)
    for done, outcome in enumerate(outcomes, 1):
        if outcome.detections is None and outcome.reason == "unreadable":
            raise DatasetError(f"{outcome.path} cannot be read any more.", "Run `kdyolo split` again with --force.")
        # Output that is not finite finds nothing: the model is to blame, not the image.
        found[outcome.path.name] = outcome.detections or nothing()
        progress.update(done)
    progress.finish()
    return found


def score(
    detector: Detector,
    images: Sequence[ViewImage],
    class_names: Sequence[str],
    progress: Progress,
    title: str,
    conf: float = MAP_CONF,
    iou: float = MAP_IOU,
    augment: bool = False,
) -> Accuracy:
    """How good a model is on images of a view.

    Raises:
        DatasetError: See `detect`.
    """
    found = detect(detector, images, conf, iou, progress, title, augment)
    return evaluate(truths(images), found, class_names)


def nothing() -> Detections:
    """No boxes."""
    return Detections(np.zeros((0, 4)), np.zeros(0), np.zeros(0, dtype=np.int64))
