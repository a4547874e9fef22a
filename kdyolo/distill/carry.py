"""Soft labels through ultralytics' loader: what moves, cuts or drops a label does the same to what the teacher said.

Its transforms keep boxes in ``instances`` and everything else about them in rows of ``cls``, which they pick and join
row by row. So each row gets more columns, the teacher's own boxes become rows too, and the last transform sorts them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from ultralytics.data.augment import Compose, Format, RandomFlip, RandomPerspective

from kdyolo.boxes import xywh_to_xyxy
from kdyolo.distill.soft_labels import SoftLabels, pair

TRUE, SOFT, IGNORED, UNKNOWN = 0.0, 1.0, 2.0, 3.0
_CLASS, _KIND, _PAIR, _PROBS = 0, 1, 2, 3  # columns; then nc probabilities and 4 spreads
_SIDES = 4


@dataclass(frozen=True)
class Hearsay:
    """What the loader shall know of one image beside its label file.

    Attributes:
        unknown: (nc,) classes that nobody looked for in this image: whatever is in it may be one of them.
        soft: The teacher's boxes; None where it is not heard through the loader.
        ignored: Which of them (N,) are too doubtful to be a label and too good to be background: no class loss there.
    """

    unknown: NDArray[np.bool_]
    soft: SoftLabels | None = None
    ignored: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, dtype=bool))


def attach(dataset: Any, hearsay: Mapping[str, Hearsay], nc: int) -> None:
    """Give a training data set of ultralytics the teacher's boxes.

    A label row is paired with the teacher's box about the same object (see `pair`); of the other boxes only the ignored
    ones are taken along. Batches then have more entries, a tuple of tensors each, one for an image:

    - ``teacher`` (n, nc + 8): for each label the teacher's class probabilities, the spread of its box's sides
      (left, top, right, bottom; shares of its width and height) and its corners (shares of the image); NaN where the
      teacher said nothing or its box has not come through, and as the probability of a class it does not know; only
      if it is heard through the loader at all;
    - ``ignored`` (k, 4): corners (shares of the image) of boxes that are neither label nor background;
    - ``unknown`` (k, 4 + nc): corners (shares of the image), and 1 for each class that nobody looked for there, else 0.

    Args:
        dataset: A `YOLODataset` for training; changed.
        hearsay: Image file name -> what the teacher said of it; others are left as they are.
        nc: Number of classes.
    """
    count = 0
    for file, label in zip(dataset.im_files, dataset.labels, strict=True):
        known = hearsay.get(file.replace("\\", "/").rpartition("/")[2])
        count = _extend(label, known, nc, count)
    heard = any(each.soft is not None for each in hearsay.values())
    dataset.build_transforms = _Carrying(dataset.build_transforms, heard)
    dataset.transforms = _carrying(dataset.transforms, heard)


def _extend(label: dict[str, Any], known: Hearsay | None, nc: int, count: int) -> int:
    """Widen the rows of one image's label, add the teacher's; pairs are numbered from `count` on."""
    width = _PROBS + nc + _SIDES
    rows = np.full((len(label["cls"]), width), np.nan, np.float32)
    rows[:, _CLASS], rows[:, _KIND], rows[:, _PAIR] = label["cls"].reshape(-1), TRUE, -1
    boxes = label["bboxes"]
    if known is not None:
        soft = known.soft or SoftLabels.nothing(nc)
        chosen = pair(xywh_to_xyxy(boxes), soft)
        found = np.flatnonzero(chosen >= 0)
        rows[found, _PAIR] = count + np.arange(len(found))
        count += len(found)
        left = np.flatnonzero(known.ignored & ~np.isin(np.arange(len(soft.xywhn)), chosen))
        taken, whole = np.concatenate([chosen[found], left]), int(known.unknown.any())
        theirs = np.full((len(taken) + whole, width), -1, np.float32)
        theirs[:, _KIND] = np.repeat([SOFT, IGNORED, UNKNOWN], [len(found), len(left), whole])
        theirs[: len(found), _PAIR] = rows[found, _PAIR]
        theirs[: len(found), _PROBS : _PROBS + nc] = soft.probs[chosen[found]]
        theirs[: len(taken), _PROBS + nc :] = soft.spread[taken]
        rows, boxes = np.concatenate([rows, theirs]), np.concatenate([boxes, soft.xywhn[taken]])
        if whole:
            rows[-1, _PROBS : _PROBS + nc] = known.unknown
            boxes = np.concatenate([boxes, [[0.5, 0.5, 1, 1]]])
    label["cls"], label["bboxes"] = rows, boxes.astype(np.float32)
    return count


class _Carrying:
    """`build_transforms` of a data set with carrying transforms; ultralytics calls it again to end mosaics."""

    def __init__(self, build: Callable[[Any], Compose], heard: bool) -> None:
        self.build, self.heard = build, heard

    def __call__(self, hyp: Any) -> Compose:
        return _carrying(self.build(hyp), self.heard)


def _carrying(transforms: Compose, heard: bool) -> Compose:
    for transform in transforms.transforms:
        if isinstance(transform, Compose):
            _carrying(transform, heard)
        elif type(transform) is RandomPerspective:
            transform.__class__ = CarryingPerspective
        elif type(transform) is RandomFlip:
            transform.__class__ = CarryingFlip
        elif type(transform) is Format:
            transform.__class__, transform.heard = SortingFormat, heard
    return transforms


class CarryingPerspective(RandomPerspective):  # type: ignore[misc]
    """An affine map that keeps the least strip of an image in which classes are unknown; of a label too little is none.

    Attributes:
        whole: Which rows at hand are such images.
    """

    whole: NDArray[np.bool_]

    def apply_instances(self, labels: dict[str, Any], params: dict[str, Any] | None = None) -> dict[str, Any]:
        """As the base class does."""
        self.whole = labels["cls"][:, _KIND] == UNKNOWN
        moved: dict[str, Any] = super().apply_instances(labels, params)
        return moved

    def box_candidates(self, box1: NDArray[Any], box2: NDArray[Any], **limits: Any) -> NDArray[np.bool_]:
        """As the base class says, and `whole` where anything is left; corners (4, N) in px before and after."""
        in_sight = (box2[2:] > box2[:2]).all(0)
        kept: NDArray[np.bool_] = super().box_candidates(box1, box2, **limits) | (self.whole & in_sight)
        return kept


class CarryingFlip(RandomFlip):  # type: ignore[misc]
    """A flip that also exchanges the spreads of the sides it exchanges."""

    def apply_instances(self, labels: dict[str, Any], params: dict[str, Any]) -> dict[str, Any]:
        """As the base class does; the rows' last four columns follow."""
        labels = super().apply_instances(labels, params)
        if params["flip"]:
            order = [2, 1, 0, 3] if self.direction == "horizontal" else [0, 3, 2, 1]
            rows = labels["cls"].copy()
            rows[:, -_SIDES:] = rows[:, -_SIDES:][:, order]
            labels["cls"] = rows
        return labels


class SortingFormat(Format):  # type: ignore[misc]
    """The last transform: labels as ultralytics expects them, and what the teacher said of them beside.

    Attributes:
        heard: The teacher is heard through the loader, so batches get ``teacher``.
    """

    heard: bool

    def apply_instances(self, labels: dict[str, Any], params: dict[str, Any]) -> dict[str, Any]:
        """Sort the rows: see `attach` for what comes out."""
        rows, instances = params["cls"], params["instances"]
        kind = rows[:, _KIND]
        size = np.array([params["w"], params["h"]] * 2, np.float32)
        corners = (xywh_to_xyxy(instances.bboxes) / size).astype(np.float32)  # of xywh in pixels here
        true, soft = np.flatnonzero(kind == TRUE), np.flatnonzero(kind == SOFT)
        teacher = np.full((len(true), rows.shape[1] - _PROBS + 4), np.nan, np.float32)
        place = {pair: at for at, pair in zip(soft.tolist(), rows[soft, _PAIR].tolist(), strict=True)}
        for to, pair_number in enumerate(rows[true, _PAIR].tolist()):
            if (at := place.get(pair_number)) is not None:
                teacher[to] = np.concatenate([rows[at, _PROBS:], corners[at]])
        if self.heard:
            labels["teacher"] = torch.from_numpy(teacher)
        flags = rows[:, _PROBS:-_SIDES].astype(np.float32)
        labels["ignored"] = torch.from_numpy(corners[kind == IGNORED])
        labels["unknown"] = torch.from_numpy(np.concatenate([corners, flags], 1)[kind == UNKNOWN])
        mine = {**params, "cls": rows[true, :1], "instances": instances[true], "nl": len(true)}
        formatted: dict[str, Any] = super().apply_instances(labels, mine)
        return formatted
