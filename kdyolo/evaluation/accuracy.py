"""Precision, recall and average precision of one model on one split, by the COCO protocol.

Average precision comes from pycocotools (Lin et al. 2014, "Microsoft COCO", https://arxiv.org/abs/1405.0312):
detections matched in score order, at IoU 0.50:0.05:0.95, precision interpolated at 101 recall points. Precision and
recall are single figures, so they need a confidence: one that was chosen elsewhere, or, as in ultralytics
(`ultralytics.utils.metrics.ap_per_class`), the one where F1 at IoU 0.5, averaged over classes, is best.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdyolo.boxes import Detections, Truth
from kdyolo.evaluation.matching import Floats, Matches, match

CONFIDENCES: Floats = np.arange(1001) / 1000
"""Confidences (1001,) in [0, 1] at which F1, precision and recall are measured."""

USUAL_CONF = 0.25
"""Operating point of a model that has no best one, because it finds nothing."""

_IOU_50, _IOU_75 = 0, 5
_FIGURES = ("precision", "recall", "mAP50", "mAP75", "mAP50_95")


@dataclass(frozen=True)
class ClassAccuracy:
    """One class, or the mean over classes. Shares in [0, 1], None where there is no truth box to find.

    Attributes:
        boxes: Number of truth boxes.
        found: How many of them have a detection at `Accuracy.confidence`, IoU 0.5.
        false_alarms: Detections at `Accuracy.confidence` that found none, or one that was found already. Counts are
            None where no class has a truth box.
        precision: At `Accuracy.confidence`, IoU 0.5; 0 where the class has truth and no detection that confident.
        recall: At `Accuracy.confidence`, IoU 0.5.
        mAP50: Average precision at IoU 0.5.
        mAP75: Average precision at IoU 0.75.
        mAP50_95: Average precision, mean over IoU 0.50:0.05:0.95.
        best_threshold: The confidence of best F1 at IoU 0.5; None also where no detection matches any truth.
        pr_curve: (101,) precision at recall 0, 0.01 .. 1, IoU 0.5.
        f1_curve: (1001,) F1 at IoU 0.5 when detections below `CONFIDENCES` are left out.
        p_curve: (1001,) precision at IoU 0.5 of the same; 0 where nothing is left.
        r_curve: (1001,) recall at IoU 0.5 of the same.
    """

    boxes: int
    found: int | None = None
    false_alarms: int | None = None
    precision: float | None = None
    recall: float | None = None
    mAP50: float | None = None  # noqa: N815 - the field's name for it
    mAP75: float | None = None  # noqa: N815
    mAP50_95: float | None = None  # noqa: N815
    best_threshold: float | None = None
    pr_curve: Floats | None = None
    f1_curve: Floats | None = None
    p_curve: Floats | None = None
    r_curve: Floats | None = None

    def to_json(self) -> dict[str, Any]:
        """The single figures as plain data, None for n/a."""
        return {name: getattr(self, name) for name in ("boxes", "found", "false_alarms", *_FIGURES, "best_threshold")}


@dataclass(frozen=True)
class Accuracy:
    """One model on one split.

    Attributes:
        images: Number of images, those without truth or detections included.
        confidence: The operating point, given or where mean F1 is best; precision, recall and counts, also per class,
            are measured there.
        mean: Means over the classes that have a truth box.
        per_class: Class name -> its figures, in the order of the class list; all None for a class without truth.
    """

    images: int
    confidence: float | None
    mean: ClassAccuracy
    per_class: dict[str, ClassAccuracy]

    @property
    def operating_point(self) -> float:
        """`confidence`, or `USUAL_CONF` without one."""
        return USUAL_CONF if self.confidence is None else self.confidence

    @property
    def choice(self) -> float | None:
        """The confidence to use on other images, a multiple of 0.001: of those with the best mean F1 the middle one.

        `confidence`, the strictest of them, is the score of one of these images' own hits: elsewhere, hits as good
        would fall below it. None without any hit.
        """
        f1 = self.mean.f1_curve
        if f1 is None or not f1.max():
            return None
        last = _last_argmax(f1)
        worse = np.flatnonzero(f1[:last] < f1.max())
        return float(CONFIDENCES[(last + (worse[-1] + 1 if len(worse) else 0)) // 2])

    @property
    def precision(self) -> float | None:
        """Mean precision at `confidence`."""
        return self.mean.precision

    @property
    def recall(self) -> float | None:
        """Mean recall at `confidence`."""
        return self.mean.recall

    @property
    def mAP50(self) -> float | None:  # noqa: N802
        """Mean average precision at IoU 0.5."""
        return self.mean.mAP50

    @property
    def mAP75(self) -> float | None:  # noqa: N802
        """Mean average precision at IoU 0.75."""
        return self.mean.mAP75

    @property
    def mAP50_95(self) -> float | None:  # noqa: N802
        """Mean average precision over IoU 0.50:0.05:0.95."""
        return self.mean.mAP50_95

    @property
    def best_threshold(self) -> dict[str, float | None]:
        """Class name -> confidence of best F1."""
        return {name: figures.best_threshold for name, figures in self.per_class.items()}

    @property
    def boxes(self) -> dict[str, int]:
        """Class name -> number of truth boxes."""
        return {name: figures.boxes for name, figures in self.per_class.items()}

    def to_json(self) -> dict[str, Any]:
        """Everything as plain data, None for n/a; curves rounded to 6 decimals, the mean of a curve named ``all``.

        Precision and recall at a confidence are given as means only.
        """
        figures = self.mean.to_json()
        del figures["best_threshold"]
        curves = {**self.per_class, "all": self.mean}
        return {
            "images": self.images,
            **figures,
            "confidence": self.confidence,
            "per_class": [{"class": name, **figures.to_json()} for name, figures in self.per_class.items()],
            "curves": {
                "recall": [round(i / 100, 2) for i in range(101)],
                "precision": {name: _plain(figures.pr_curve) for name, figures in curves.items()},
                "confidence": CONFIDENCES.tolist(),
                "f1": {name: _plain(figures.f1_curve) for name, figures in curves.items()},
                "precision_at_confidence": {"all": _plain(self.mean.p_curve)},
                "recall_at_confidence": {"all": _plain(self.mean.r_curve)},
            },
        }


def evaluate(
    truths: Mapping[str, Truth],
    detections: Mapping[str, Detections],
    class_names: Sequence[str],
    max_det: int = 300,
    confidence: float | None = None,
) -> Accuracy:
    """Measure a model's detections against the truth.

    Args:
        truths: Image key -> its labels; images without objects belong in it.
        detections: The same keys -> what the model found, down to a low confidence (0.001), NMS done.
        class_names: Name of each class index, no name twice.
        max_det: Most confident detections counted per image and class.
        confidence: Operating point in [0, 1], a multiple of 0.001, chosen on other images. None: where mean F1 is best
            on these, which flatters precision and recall.

    Raises:
        ValueError: The two key sets differ, arrays do not fit together, a class index is unknown, a number is not
            finite or a truth box has no area; names the image.
    """
    if len(set(class_names)) != len(class_names):
        raise ValueError("class names must differ")
    _check(truths, detections, len(class_names))
    labels = np.concatenate([np.zeros(0, int), *(np.asarray(t.cls).astype(int) for t in truths.values())])
    counts = [int(n) for n in np.bincount(labels, minlength=len(class_names))]
    per_class = {name: ClassAccuracy(n) for name, n in zip(class_names, counts, strict=True)}
    present = [c for c, n in enumerate(counts) if n]
    if not present:
        return Accuracy(len(truths), confidence, ClassAccuracy(0), per_class)
    keys = sorted(truths)
    matches = match(
        [(truths[k].xyxy, truths[k].cls, np.zeros(len(truths[k].cls))) for k in keys],
        [(detections[k].xyxy, detections[k].cls, detections[k].score) for k in keys],
        present,
        max_det,
    )
    curves = [_precision_recall_f1(m, counts[c], CONFIDENCES) for m, c in zip(matches, present, strict=True)]
    mean_f1 = np.mean([f1 for _, _, f1 in curves], axis=0)
    best = _last_argmax(mean_f1) if confidence is None else int(np.abs(CONFIDENCES - confidence).argmin())
    confident = [np.asarray(d.cls).astype(int)[d.score >= CONFIDENCES[best]] for d in detections.values()]
    shown = np.bincount(np.concatenate(confident), minlength=len(class_names))
    for name, boxes, wrong in zip(class_names, counts, shown.tolist(), strict=True):
        if not boxes:
            per_class[name] = ClassAccuracy(0, found=0, false_alarms=wrong)
    for m, c, curve in zip(matches, present, curves, strict=True):
        per_class[class_names[c]] = _figures(m, counts[c], curve, best)
    if confidence is None and mean_f1[best] > 0:
        confidence = float(CONFIDENCES[best])
    return Accuracy(len(truths), confidence, _mean(list(per_class.values()), confidence), per_class)


def _figures(matches: Matches, boxes: int, curves: tuple[Floats, Floats, Floats], best: int) -> ClassAccuracy:
    precision, recall, f1 = curves
    confident = matches.hit[np.searchsorted(matches.score, CONFIDENCES[best], side="left") :]
    return ClassAccuracy(
        boxes=boxes,
        found=int(confident.sum()),
        false_alarms=int((~confident).sum()),
        precision=float(precision[best]),
        recall=float(recall[best]),
        mAP50=float(matches.precision[_IOU_50].mean()),
        mAP75=float(matches.precision[_IOU_75].mean()),
        mAP50_95=float(matches.precision.mean()),
        best_threshold=_best_threshold(matches, boxes),
        pr_curve=matches.precision[_IOU_50],
        f1_curve=f1,
        p_curve=precision,
        r_curve=recall,
    )


def _check(truths: Mapping[str, Truth], detections: Mapping[str, Detections], nc: int) -> None:
    if unequal := sorted(truths.keys() ^ detections.keys()):
        where = "no detections were given for" if unequal[0] in truths else "there is no truth for"
        raise ValueError(f"{where} image {unequal[0]!r} ({len(unequal)} such images)")
    for key, truth in truths.items():
        _check_arrays(key, truth.xyxy, truth.cls, nc)
        box = np.asarray(truth.xyxy, dtype=np.float64).reshape(-1, 4)
        if np.any(box[:, 2:] <= box[:, :2]):
            raise ValueError(f"a truth box of image {key!r} has no area")
        found = detections[key]
        _check_arrays(key, found.xyxy, found.cls, nc)
        if np.shape(found.score) != np.shape(found.cls) or not np.isfinite(found.score).all():
            raise ValueError(f"the scores of image {key!r} do not fit its boxes or are not finite")


def _check_arrays(key: str, xyxy: NDArray[Any], cls: NDArray[Any], nc: int) -> None:
    if np.ndim(cls) != 1 or (np.shape(xyxy) != (len(cls), 4) and np.size(xyxy) + len(cls) > 0):
        raise ValueError(f"boxes and classes of image {key!r} do not fit together")
    if not np.isfinite(xyxy).all():
        raise ValueError(f"a box of image {key!r} is not finite")
    if np.any((np.asarray(cls) < 0) | (np.asarray(cls) >= nc) | (np.asarray(cls) % 1 != 0)):
        raise ValueError(f"a class of image {key!r} is not one of 0 .. {nc - 1}")


def _precision_recall_f1(matches: Matches, boxes: int, thresholds: Floats) -> tuple[Floats, Floats, Floats]:
    """Precision, recall and F1, each (T,), of the detections with a score at or above each threshold (T,)."""
    first = np.searchsorted(matches.score, thresholds, side="left")
    kept = (len(matches.score) - first).astype(np.float64)
    hits = np.concatenate([np.cumsum(matches.hit[::-1])[::-1], [0]])[first].astype(np.float64)
    precision = np.divide(hits, kept, out=np.zeros_like(hits), where=kept > 0)
    return precision, hits / boxes, 2 * hits / (kept + boxes)


def _last_argmax(values: Floats) -> int:
    """Index of the last of the largest: on a plateau, the strictest threshold that loses nothing."""
    return len(values) - 1 - int(np.argmax(values[::-1]))


def _best_threshold(matches: Matches, boxes: int) -> float | None:
    if not matches.hit.any():
        return None
    thresholds = np.unique(matches.score)
    return float(thresholds[_last_argmax(_precision_recall_f1(matches, boxes, thresholds)[2])])


def _mean(classes: list[ClassAccuracy], confidence: float | None) -> ClassAccuracy:
    """Means over the classes with truth; counts over all."""

    def mean(name: str) -> Any:
        return np.mean([getattr(figures, name) for figures in classes if figures.boxes], axis=0)

    def total(name: str) -> int:
        return sum(getattr(figures, name) for figures in classes)

    return ClassAccuracy(
        boxes=total("boxes"),
        found=total("found"),
        false_alarms=total("false_alarms"),
        best_threshold=confidence,
        pr_curve=mean("pr_curve"),
        f1_curve=mean("f1_curve"),
        p_curve=mean("p_curve"),
        r_curve=mean("r_curve"),
        **{name: float(mean(name)) for name in _FIGURES},
    )


def _plain(curve: Floats | None) -> list[float] | None:
    return None if curve is None else [round(float(value), 6) for value in curve]
