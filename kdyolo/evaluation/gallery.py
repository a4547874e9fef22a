"""Test images to be shown, with the boxes of the truth and of every arm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kdyolo.boxes import Detections, Truth
from kdyolo.datasets.view import View, ViewImage

SPREAD = "spread"
"""The group of images that were chosen without a look at any model."""
_MOST = 3


def gallery(
    view: View,
    split: str,
    truths: Mapping[str, Truth],
    found: Mapping[str, Mapping[str, Detections]],
    confidences: Mapping[str, float],
    ranked: Mapping[str, Sequence[Mapping[str, Any]]],
    count: int,
) -> list[dict[str, Any]]:
    """Images spread over the split, then the first of every ranked group; an image may be in several groups.

    Args:
        view: The clean view.
        split: Whose images.
        truths: File name -> labels.
        found: Arm -> file name -> detections.
        confidences: Arm -> its operating point; detections below it are left out.
        ranked: Group -> ``image`` (file name) and ``boxes``, as `evaluation.inheritance.Gallery.to_json` writes them.
        count: Number of images to spread, and at most, up to 3, of each group.

    Returns:
        Plain data: ``image`` (relative to the view), ``group``, ``boxes`` (number of boxes that are the reason, None
        for `SPREAD`), ``truth`` and ``arms``, corners in pixels.
    """
    images = {image.image.name: image for image in view.splits[split]}
    chosen: list[tuple[str, str, int | None]] = [(key, SPREAD, None) for key in _spread(images, truths, count)]
    for group, rows in ranked.items():
        chosen += [(row["image"], group, row["boxes"]) for row in rows[: min(count, _MOST)]]
    return [
        {
            "image": images[key].image.relative_to(view.folder).as_posix(),
            "group": group,
            "boxes": boxes,
            "truth": _truth(truths[key], view.names),
            "arms": {arm: _found(each[key], view.names, confidences[arm]) for arm, each in found.items()},
        }
        for key, group, boxes in chosen
    ]


def _spread(images: Mapping[str, ViewImage], truths: Mapping[str, Truth], count: int) -> list[str]:
    """Evenly spread over the images that have boxes, never picked by how well a model did on them."""
    labelled = [key for key in images if len(truths[key].cls)]
    if not labelled or not count:
        return []
    step = max(1, len(labelled) // count)
    return labelled[::step][:count]


def _truth(truth: Truth, names: Sequence[str]) -> list[dict[str, Any]]:
    return [
        {"class": names[c], "xyxy": [round(v, 2) for v in box]}
        for c, box in zip(truth.cls, truth.xyxy.tolist(), strict=True)
    ]


def _found(found: Detections, names: Sequence[str], confidence: float) -> list[dict[str, Any]]:
    return [
        {"class": names[c], "score": round(s, 4), "xyxy": [round(v, 2) for v in box]}
        for c, s, box in zip(found.cls, found.score.tolist(), found.xyxy.tolist(), strict=True)
        if s >= confidence
    ]
