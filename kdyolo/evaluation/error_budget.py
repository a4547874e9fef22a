"""The average precision that each kind of error costs (TIDE, Bolya et al. 2020, https://arxiv.org/abs/2008.08115).

Each cost is what mAP at IoU 0.5 would gain if an oracle repaired errors of that kind alone, so costs do not add up.
All detections count, not only those above an operating point.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kdyolo.boxes import Detections, Truth, iou_matrix
from kdyolo.evaluation.errors import FOUND_IOU, NEAR_IOU, Floats, Ints, assign, check_keys, in_order

ERROR_TYPES = ("classification", "localisation", "both", "duplicate", "background", "missed")

_RECALLS: Floats = np.linspace(0, 1, 101)
_NO_TARGET = -1


@dataclass(frozen=True)
class ErrorBudget:
    """One model on one split; all figures in [0, 1].

    Attributes:
        AP50: Mean over the classes with truth, at IoU 0.5.
        lost: Error type -> gain in mAP50 if the errors of this type alone were repaired, in the order of `ERROR_TYPES`.
        false_positives: Gain in mAP50 if no detection were wrong.
        false_negatives: Gain in mAP50 if no truth box were left out, at the precision the model has.
    """

    AP50: float
    lost: dict[str, float]
    false_positives: float
    false_negatives: float

    def to_json(self) -> dict[str, Any]:
        """Everything as plain data, rounded to 6 decimals."""
        return {
            "AP50": round(self.AP50, 6),
            "lost": {name: round(value, 6) for name, value in self.lost.items()},
            "false_positives": round(self.false_positives, 6),
            "false_negatives": round(self.false_negatives, 6),
        }


class _Scene(NamedTuple):
    """All images in one row: D detections, each with what it is, and G truth boxes.

    Attributes:
        score: (D,) confidences.
        cls: (D,) classes.
        hit: (D,) whether it found a truth box.
        kind: (D,) error type, "" for a hit.
        target: (D,) truth box that a classification or localisation error is about, -1 for the other detections.
        truth_cls: (G,) classes.
        used: (G,) whether a detection found it.
    """

    score: Floats
    cls: Ints
    hit: NDArray[np.bool_]
    kind: NDArray[np.str_]
    target: Ints
    truth_cls: Ints
    used: NDArray[np.bool_]


def error_budget(
    truths: Mapping[str, Truth], detections: Mapping[str, Detections], max_det: int = 300
) -> ErrorBudget | None:
    """What each kind of error costs, by the definitions (section 2.2) and the oracles (section 2.3) of the paper.

    A detection that found nothing is, by its overlap with truth boxes of its own class and of other classes, the first
    of: localisation (own 0.1 .. 0.5), classification (other >= 0.5), duplicate (own >= 0.5), both (other >= 0.1),
    background. Missed is a truth box that no detection found and no classification or localisation error points at.

    The oracles: classification and localisation errors become hits, of each truth box the most confident one of the
    type, and the others of the type are left out; both, duplicate and background errors are left out; missed boxes are
    taken off the truth.
    Where that leaves a class without truth, its average precision is taken as 1: nothing of it is missing any more.

    Args:
        truths: Image key -> its labels; images without objects belong in it.
        detections: The same keys -> what the model found, down to a low confidence (0.001), NMS done.
        max_det: Most confident detections counted per image and class.

    Returns:
        The budget; None where no image has a truth box.

    Raises:
        ValueError: The two key sets differ.
    """
    check_keys(truths, detections)
    if not any(len(truth.cls) for truth in truths.values()):
        return None
    scene = _scene([_image(truths[key], detections[key], max_det) for key in sorted(truths)])
    classes, counts = np.unique(scene.truth_cls, return_counts=True)
    boxes = {int(c): int(n) for c, n in zip(classes, counts, strict=True)}
    ap = _mean_ap(scene, boxes)
    lost = {name: _mean_ap(*_repaired(scene, boxes, name)) - ap for name in ERROR_TYPES}
    no_false = _mean_ap(_only(scene, scene.hit), boxes) - ap
    found = {c: int(np.count_nonzero(scene.used[scene.truth_cls == c])) for c in boxes}
    return ErrorBudget(ap, lost, no_false, _mean_ap(scene, found) - ap)


def average_precision(hit: NDArray[np.bool_], boxes: int) -> float:
    """Area under the precision-recall curve: COCO's mean at recall 0, 0.01 .. 1 of the best precision from there on.

    Args:
        hit: (D,) whether each detection, most confident first, found a truth box.
        boxes: Number of truth boxes, at least 1.
    """
    hits = np.cumsum(hit, dtype=np.float64)
    precision = hits / np.arange(1, len(hits) + 1)
    best_from_here = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0.0)
    return float(best_from_here[np.searchsorted(hits / boxes, _RECALLS, side="left")].mean())


def most_confident(cls: Ints, max_det: int) -> NDArray[np.bool_]:
    """(N,) which boxes are among the first `max_det` of their class, for `cls` (N,) in score order."""
    kept = np.zeros(len(cls), dtype=bool)
    for c in np.unique(cls):
        kept[np.flatnonzero(cls == c)[:max_det]] = True
    return kept


def _image(truth: Truth, found: Detections, max_det: int) -> _Scene:
    truth_xyxy, truth_cls, _ = in_order(truth.xyxy, truth.cls, np.zeros(len(truth.cls)))
    xyxy, cls, score = in_order(found.xyxy, found.cls, found.score)
    kept = most_confident(cls, max_det)
    xyxy, cls, score = xyxy[kept], cls[kept], score[kept]
    iou = iou_matrix(xyxy, truth_xyxy)
    same = cls[:, None] == truth_cls
    taken = assign(np.where(same, iou, -1), FOUND_IOU)
    kind, target = _kinds(np.where(same, iou, 0), np.where(same, 0, iou), taken >= 0)
    used = np.isin(np.arange(len(truth_cls)), taken)
    return _Scene(score, cls, taken >= 0, kind, target, truth_cls, used)


def _kinds(own: Floats, other: Floats, hit: NDArray[np.bool_]) -> tuple[NDArray[np.str_], Ints]:
    """`_Scene.kind` and `_Scene.target` from overlaps (N, M) with truth of the same class and of other classes."""
    if own.shape[1] == 0:
        return np.full(len(own), "background", dtype="<U14"), np.full(len(own), _NO_TARGET, dtype=np.int64)
    best_own, best_other = own.max(axis=1), other.max(axis=1)
    misplaced = ~hit & (best_own >= NEAR_IOU) & (best_own < FOUND_IOU)
    misnamed = ~hit & ~misplaced & (best_other >= FOUND_IOU)
    kind = np.select(
        [hit, misplaced, misnamed, best_own >= FOUND_IOU, best_other >= NEAR_IOU],
        ["", "localisation", "classification", "duplicate", "both"],
        "background",
    )
    target = np.select([misplaced, misnamed], [own.argmax(axis=1), other.argmax(axis=1)], _NO_TARGET)
    return kind, target


def _scene(images: list[_Scene]) -> _Scene:
    """Images one after the other; targets count through all truth boxes."""
    starts = np.cumsum([0, *(len(image.truth_cls) for image in images)])
    targets = [
        np.where(image.target == _NO_TARGET, _NO_TARGET, image.target + start)
        for image, start in zip(images, starts[:-1], strict=True)
    ]
    return _Scene(
        score=np.concatenate([image.score for image in images]),
        cls=np.concatenate([image.cls for image in images]),
        hit=np.concatenate([image.hit for image in images]),
        kind=np.concatenate([image.kind for image in images]),
        target=np.concatenate(targets),
        truth_cls=np.concatenate([image.truth_cls for image in images]),
        used=np.concatenate([image.used for image in images]),
    )


def _only(scene: _Scene, kept: NDArray[np.bool_]) -> _Scene:
    """The scene with the detections `kept` (D,)."""
    return scene._replace(
        score=scene.score[kept],
        cls=scene.cls[kept],
        hit=scene.hit[kept],
        kind=scene.kind[kept],
        target=scene.target[kept],
    )


def _repaired(scene: _Scene, boxes: dict[int, int], name: str) -> tuple[_Scene, dict[int, int]]:
    """The scene and the number of truth boxes of each class after the oracle of error type `name`."""
    if name == "missed":
        missing = ~scene.used
        missing[scene.target[scene.target != _NO_TARGET]] = False
        return scene, {c: n - int(np.count_nonzero(missing[scene.truth_cls == c])) for c, n in boxes.items()}
    wrong = scene.kind == name
    if name not in ("classification", "localisation"):
        return _only(scene, ~wrong), boxes
    able = np.flatnonzero(wrong)
    able = able[~scene.used[scene.target[able]]]
    able = able[np.argsort(-scene.score[able], kind="stable")]
    _, first = np.unique(scene.target[able], return_index=True)
    won = able[first]
    cls, hit = scene.cls.copy(), scene.hit.copy()
    cls[won], hit[won] = scene.truth_cls[scene.target[won]], True
    return _only(scene._replace(cls=cls, hit=hit), ~wrong | hit), boxes


def _mean_ap(scene: _Scene, boxes: dict[int, int]) -> float:
    order = np.argsort(-scene.score, kind="stable")
    cls, hit = scene.cls[order], scene.hit[order]
    return float(np.mean([average_precision(hit[cls == c], n) if n else 1.0 for c, n in boxes.items()]))
