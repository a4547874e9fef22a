"""What kind of mistake each box is: detections at the operating point against truth, image by image.

Foreground and background overlaps, and the kinds of detections, are those of TIDE (Bolya et al. 2020,
https://arxiv.org/abs/2008.08115, section 2.2). Boxes are paired one to one, so the counts reconcile.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdyolo.boxes import Boxes, Detections, Truth, iou_matrix

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

FOUND_IOU = 0.5
"""A detection that overlaps a truth box this much is on it."""
NEAR_IOU = 0.1
"""A detection that overlaps no truth box this much is on the background."""

TRUTH_KINDS = ("found", "loose", "wrong_class", "missed")
DETECTION_KINDS = ("correct", "loose", "wrong_class", "both", "duplicate", "false_box")


@dataclass(frozen=True)
class ImageErrors:
    """One image. Boxes lie in an order of their own (`in_order`), whatever order they came in.

    Attributes:
        truth_xyxy: (M, 4) true corners in pixels.
        truth_cls: (M,) true classes.
        truth_kind: (M,) one of `TRUTH_KINDS` each. found: a detection of its class at IoU >= 0.5; wrong_class: one of
            another class at IoU >= 0.5; loose: one of its class at 0.1 <= IoU < 0.5; missed: none of these.
        pair: (M,) index of the detection that `truth_kind` speaks of, -1 for a missed box. No detection serves twice.
        xyxy: (N, 4) detected corners in pixels, scores descending.
        score: (N,) confidences in [0, 1].
        cls: (N,) detected classes.
        kind: (N,) one of `DETECTION_KINDS` each. duplicate: on a truth box of its class that a better one found;
            both: on or near truth boxes of other classes only, at IoU < 0.5; false_box: IoU < 0.1 with all truth.
    """

    truth_xyxy: Floats
    truth_cls: Ints
    truth_kind: NDArray[np.str_]
    pair: Ints
    xyxy: Floats
    score: Floats
    cls: Ints
    kind: NDArray[np.str_]

    @property
    def given_cls(self) -> Ints:
        """(M,) class of the detection paired with each truth box, -1 for a missed one."""
        given = np.full(len(self.pair), -1, dtype=np.int64)
        given[self.pair >= 0] = self.cls[self.pair[self.pair >= 0]]
        return given

    def to_json(self) -> dict[str, Any]:
        """Every box as plain data; coordinates rounded to 0.1 pixel."""
        truth = zip(self.truth_cls, self.truth_xyxy, self.truth_kind, self.pair, strict=True)
        found = zip(self.cls, self.xyxy, self.kind, self.score, strict=True)
        return {
            "truth": [{"cls": int(c), "xyxy": _plain(b), "kind": str(k), "pair": int(p)} for c, b, k, p in truth],
            "detections": [
                {"cls": int(c), "xyxy": _plain(b), "kind": str(k), "score": round(float(s), 4)} for c, b, k, s in found
            ],
        }


@dataclass(frozen=True)
class ErrorSet:
    """One model on one split at its operating point.

    Attributes:
        confidence: Detections below it are left out.
        class_names: Name of each class index.
        images: Image key -> its boxes, keys ascending.
    """

    confidence: float
    class_names: tuple[str, ...]
    images: dict[str, ImageErrors]

    @property
    def truth_counts(self) -> dict[str, int]:
        """Kind -> number of truth boxes; every truth box is in exactly one."""
        return _counts(TRUTH_KINDS, [image.truth_kind for image in self.images.values()])

    @property
    def detection_counts(self) -> dict[str, int]:
        """Kind -> number of detections; every detection is in exactly one."""
        return _counts(DETECTION_KINDS, [image.kind for image in self.images.values()])

    @property
    def f1(self) -> float | None:
        """F1 in [0, 1] at IoU 0.5 over all classes together, 2 TP / (truth + detections); None without any box."""
        boxes = sum(len(image.pair) + len(image.cls) for image in self.images.values())
        return 2 * self.truth_counts["found"] / boxes if boxes else None

    @property
    def confusion(self) -> Ints:
        """(nc + 1, nc + 1) boxes: true class in rows, detected class in columns, background last.

        A truth box that was found or took the wrong class counts once, with its detection; all other truth boxes
        count in the column of the background and all other detections in its row. So a row sums to the truth boxes of
        its class and a column to the detections of its class.
        """
        background = len(self.class_names)
        table = np.zeros((background + 1, background + 1), dtype=np.int64)
        for image in self.images.values():
            on_it = np.isin(image.truth_kind, ("found", "wrong_class"))
            alone = np.ones(len(image.cls), dtype=bool)
            alone[image.pair[on_it]] = False
            np.add.at(table, (image.truth_cls, np.where(on_it, image.given_cls, background)), 1)
            np.add.at(table[background], image.cls[alone], 1)
        return table

    def to_json(self) -> dict[str, Any]:
        """Counts, also by class, and the confusion matrix as plain data; for the boxes see `ImageErrors.to_json`."""
        images = self.images.values()
        per_class = []
        for c, name in enumerate(self.class_names):
            truth = _counts(TRUTH_KINDS, [image.truth_kind[image.truth_cls == c] for image in images])
            found = _counts(DETECTION_KINDS, [image.kind[image.cls == c] for image in images])
            per_class.append({"class": name, "truth": truth, "detections": found})
        return {
            "confidence": self.confidence,
            "images": len(self.images),
            "f1": self.f1,
            "truth": self.truth_counts,
            "detections": self.detection_counts,
            "per_class": per_class,
            "confusion": {"classes": [*self.class_names, None], "rows_truth_columns_found": self.confusion.tolist()},
        }


def classify(
    truths: Mapping[str, Truth], detections: Mapping[str, Detections], class_names: Sequence[str], confidence: float
) -> ErrorSet:
    """Tell the kind of every truth box and of every detection with a score >= `confidence`.

    Args:
        truths: Image key -> its labels; images without objects belong in it.
        detections: The same keys -> what the model found, NMS done.
        class_names: Name of each class index.
        confidence: The operating point in [0, 1].

    Raises:
        ValueError: The two key sets differ.
    """
    check_keys(truths, detections)
    images = {key: classify_image(truths[key], detections[key], confidence) for key in sorted(truths)}
    return ErrorSet(confidence, tuple(class_names), images)


def classify_image(truth: Truth, found: Detections, confidence: float = 0.0) -> ImageErrors:
    """One image of `classify`.

    Detections choose by descending score, each the free truth box it overlaps most: first all that are right, then
    those with only the class wrong, last those with only the place wrong. A detection that has its truth box explains
    no other one.
    """
    truth_xyxy, truth_cls, _ = in_order(truth.xyxy, truth.cls, np.zeros(len(truth.cls)))
    above = np.asarray(found.score) >= confidence
    xyxy, cls, score = in_order(np.reshape(found.xyxy, (-1, 4))[above], found.cls[above], found.score[above])
    iou = iou_matrix(xyxy, truth_xyxy)
    same = cls[:, None] == truth_cls
    own, other = _best(iou, same), _best(iou, ~same)
    correct = assign(np.where(same, iou, -1), FOUND_IOU)
    mistaken = assign(_left(np.where(same, -1, iou), correct), FOUND_IOU)
    rest = _left(np.where(same & (own < FOUND_IOU)[:, None], iou, -1), np.maximum(correct, mistaken))
    loose = assign(rest, NEAR_IOU)
    conditions = (correct >= 0, mistaken >= 0, loose >= 0)
    kind = np.select(
        [*conditions, own >= FOUND_IOU, other >= FOUND_IOU, own >= NEAR_IOU, other >= NEAR_IOU],
        ["correct", "wrong_class", "loose", "duplicate", "wrong_class", "loose", "both"],
        "false_box",
    )
    truth_kind, pair = np.full(len(truth_cls), "missed", dtype="<U11"), np.full(len(truth_cls), -1)
    for name, taken in zip(("found", "wrong_class", "loose"), (correct, mistaken, loose), strict=True):
        truth_kind[taken[taken >= 0]] = name
        pair[taken[taken >= 0]] = np.flatnonzero(taken >= 0)
    return ImageErrors(truth_xyxy, truth_cls, truth_kind, pair, xyxy, score, cls, kind)


def assign(iou: Floats, threshold: float) -> Ints:
    """Greedy one-to-one choice, as COCO's: row by row the free column of largest overlap, the last one of equals.

    Args:
        iou: (N, M) overlaps of detections, best score first, with truth boxes; negative where they must not pair.
        threshold: Least overlap of a pair, above 0.

    Returns:
        (N,) index of the truth box each detection took, -1 for none.
    """
    taken = np.full(len(iou), -1, dtype=np.int64)
    left = iou.copy()
    for row in np.flatnonzero((iou >= threshold).any(axis=1)):
        column = left.shape[1] - 1 - int(np.argmax(left[row, ::-1]))
        if left[row, column] >= threshold:
            taken[row] = column
            left[:, column] = -1
    return taken


def in_order(xyxy: NDArray[Any], cls: NDArray[Any], score: NDArray[Any]) -> tuple[Floats, Ints, Floats]:
    """Corners, classes and scores by descending score, ties by class and place, whatever order they came in."""
    boxes: Boxes = np.asarray(xyxy, dtype=np.float64).reshape(-1, 4)
    order = np.lexsort((*boxes.T, cls, -np.asarray(score, dtype=np.float64)))
    return boxes[order], np.asarray(cls)[order].astype(np.int64), np.asarray(score, dtype=np.float64)[order]


def check_keys(truths: Mapping[str, Any], detections: Mapping[str, Any]) -> None:
    """Raise ValueError, naming an image, unless both are of the same images."""
    if unequal := sorted(truths.keys() ^ detections.keys()):
        raise ValueError(f"image {unequal[0]!r} is in one set only ({len(unequal)} such images)")


def _left(iou: Floats, taken: Ints) -> Floats:
    """`iou` (N, M) with the rows that took a column, and those columns, made unpairable."""
    left = iou.copy()
    left[taken >= 0] = -1
    left[:, taken[taken >= 0]] = -1
    return left


def _best(iou: Floats, where: NDArray[np.bool_]) -> Floats:
    """(N,) largest overlap of each row of (N, M) `where` allowed, 0 for none."""
    best: Floats = np.max(iou, axis=1, where=where, initial=0.0)
    return best


def _counts(kinds: Sequence[str], of_images: Sequence[NDArray[np.str_]]) -> dict[str, int]:
    return {kind: int(sum(np.count_nonzero(values == kind) for values in of_images)) for kind in kinds}


def _plain(xyxy: Floats) -> list[float]:
    return [round(float(value), 1) for value in xyxy]
