"""What several teachers found in one image as one set of boxes, where they may know different classes.

Weighted boxes fusion (Solovyev et al., "Weighted boxes fusion", Image and Vision Computing 2021, section 3,
https://arxiv.org/abs/1910.13302): boxes of one object are averaged instead of all but one being suppressed. It differs
from the paper in two points. Weights are those of teacher and class, and whoever does not know a class has no say in
it; with equal weights and classes the score is the paper's, step 6. And a cluster holds at most one box of each
teacher: two boxes that a teacher's own non-maximum suppression left standing are two objects to it. So one teacher
alone comes out as it went in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kdyolo.boxes import Boxes, Detections, iou_matrix

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

IOU = 0.55


def class_weights(aps: Sequence[Mapping[str, float | None]], names: Sequence[str]) -> Floats:
    """How much each teacher counts in each class: its average precision as a part of all teachers'.

    Args:
        aps: Of each of T teachers: name of a class it knows -> its AP50-95 on validation, in [0, 1]; None: the split
            has no box of it, so the teacher counts like the mean of those that were measured.
        names: The nc classes.

    Returns:
        (T, nc) weights in [0, 1]. A class's sum is 1, or 0 if nobody knows it; where all are 0 or not measured, those
        that know it count the same.

    Raises:
        ValueError: An AP is outside [0, 1].
    """
    knows = known_classes(aps, names)
    values = np.array([[np.nan if (ap := of.get(name)) is None else ap for name in names] for of in aps], dtype=float)
    values = values.reshape(knows.shape)
    measured = np.isfinite(values)
    if np.isinf(values).any() or ((values < 0) | (values > 1)).any():
        raise ValueError("an average precision is outside [0, 1]")
    found = np.where(measured, values, 0.0)
    mean = found.sum(0) / np.maximum(measured.sum(0), 1)
    found = np.where(knows, np.where(measured, found, mean), 0.0)
    return _shares(np.where(found.sum(0) > 0, found, knows.astype(float)), knows)


def known_classes(knowers: Sequence[Mapping[str, object]], names: Sequence[str]) -> Bools:
    """(T, nc) booleans: whether teacher t has a class of that name.

    Args:
        knowers: Of each of T teachers a mapping whose keys are its classes.
        names: The nc classes.
    """
    return np.array([[name in of for name in names] for of in knowers], dtype=bool).reshape(len(knowers), len(names))


def fuse(found: Sequence[Detections], weights: Floats, knows: Bools, iou: float = IOU) -> Detections:
    """Boxes of T teachers on one image, one for each object that any of them saw.

    The boxes of each class are taken in the order of weight times score. Each joins the cluster whose fused box it
    overlaps most, if that is more than `iou` and the cluster has no box of its teacher yet; else it begins a new one.
    The result does not depend on the order of the teachers.

    Args:
        found: Each teacher's boxes, after non-maximum suppression, class indices among all nc.
        weights: (T, nc) weight of each teacher in each class, at least 0; only their ratios within a class count.
            Where it is 0, the teacher is not heard.
        knows: (T, nc) whether a teacher knows a class. Not to know it is another thing than to see none of it.
        iou: Overlap in [0, 1].

    Returns:
        One box per cluster, by falling score; with a = weight * score over its sum in the cluster:

        * ``xyxy``: mean of the corners, weighted by a (the paper's step 5).
        * ``score``: weighted mean over all teachers that know the class; who is silent here counts 0.
        * ``probs``: weighted mean over the teachers in the cluster that know the class; NaN if none of them does.
        * ``spread``: of the mixture of their boxes, so that it grows with each one's own doubt and with disagreement:
          variance = mean of the variances + variance of the corners, both weighted by a.

        ``probs`` and ``spread`` are there if all teachers give them.

    Raises:
        ValueError: The shapes contradict each other, a teacher found a class it does not know, weights are below 0 or
            not finite, or all who know a class have weight 0 in it.
    """
    if knows.shape != weights.shape or weights.ndim != 2 or len(found) != len(weights):
        raise ValueError(f"{len(found)} teachers do not fit weights {weights.shape} and classes {knows.shape}")
    shares = _shares(weights, knows)
    for number, one in enumerate(found):
        if not _fits(one, knows[number]):
            raise ValueError(f"the boxes of teacher {number} contradict each other or the classes it knows")
    order = sorted(range(len(found)), key=lambda t: shares[t].tobytes() + _fingerprint(found[t]))
    pool = _Pool.of([found[t] for t in order], shares[order])
    clusters = pool.clusters(iou)
    score = np.array([np.sum(pool.share[rows] * pool.score[rows]) for rows in clusters])
    ranked = np.argsort(-score, kind="stable")
    clusters = [clusters[i] for i in ranked]
    return Detections(
        xyxy=np.array([pool.pull(rows) @ pool.xyxy[rows] for rows in clusters]).reshape(-1, 4),
        score=score[ranked],
        cls=np.array([pool.cls[rows[0]] for rows in clusters], dtype=np.int64),
        probs=pool.fused_probs(clusters),
        spread=pool.fused_spread(clusters),
    )


@dataclass(frozen=True)
class _Pool:
    """All boxes that count, N of T teachers; `shares` (T, nc) sum to 1 in each class somebody knows.

    `share` (N,) is that of each box's teacher in its class.
    """

    shares: Floats
    share: Floats
    teacher: NDArray[np.int64]
    xyxy: Boxes
    score: Floats
    cls: NDArray[np.int64]
    probs: Floats | None
    spread: Floats | None

    @classmethod
    def of(cls, found: Sequence[Detections], shares: Floats) -> _Pool:
        """By falling weight times score, equal ones in the order given."""
        teacher = np.repeat(np.arange(len(found)), [len(one.score) for one in found])
        score = np.concatenate([np.zeros(0), *(one.score for one in found)])
        label = np.concatenate([np.zeros(0, dtype=np.int64), *(one.cls for one in found)]).astype(np.int64)
        share = shares[teacher, label]
        rows = np.argsort(-share * score, kind="stable")
        rows = rows[share[rows] > 0]
        xyxy = np.concatenate([np.zeros((0, 4)), *(one.xyxy for one in found)])
        probs = _joined([one.probs for one in found], shares.shape[1])
        spread = _joined([one.spread for one in found], 4)
        soft = (None if values is None else values[rows] for values in (probs, spread))
        return cls(shares, share[rows], teacher[rows], xyxy[rows], score[rows], label[rows], *soft)

    def pull(self, rows: list[int]) -> Floats:
        """Weight times score of some boxes as parts of their sum, 1 exactly for one box."""
        pull: Floats = self.share[rows] * self.score[rows]
        if pull.sum() <= 0:
            pull = self.share[rows]
        parts: Floats = pull / pull.sum()
        return parts

    def clusters(self, iou: float) -> list[list[int]]:
        """Rows of the boxes that belong together."""
        count = len(self.cls)
        clusters: list[list[int]] = []
        fused, label = np.zeros((count, 4)), np.full(count, -1)
        taken = np.zeros((count, len(self.shares)), dtype=bool)
        for row in range(count):
            free = np.flatnonzero((label == self.cls[row]) & ~taken[:, self.teacher[row]])
            overlap = iou_matrix(self.xyxy[row], fused[free])[0]
            if overlap.max(initial=0.0) > iou:
                chosen = int(free[overlap.argmax()])
            else:
                chosen = len(clusters)
                clusters.append([])
            clusters[chosen].append(row)
            label[chosen], taken[chosen, self.teacher[row]] = self.cls[row], True
            fused[chosen] = self.pull(clusters[chosen]) @ self.xyxy[clusters[chosen]]
        return clusters

    def fused_probs(self, clusters: list[list[int]]) -> Floats | None:
        """(clusters, nc) class probabilities, NaN where nobody in the cluster knows the class."""
        if self.probs is None:
            return None
        fused = np.full((len(clusters), self.shares.shape[1]), np.nan)
        for line, rows in zip(fused, clusters, strict=True):
            shares = self.shares[self.teacher[rows]]
            known = shares.sum(0) > 0
            parts = shares[:, known] / shares[:, known].sum(0)
            # A teacher's figure for a class it does not know may be anything, NaN as well.
            line[known] = np.where(parts > 0, parts * self.probs[rows][:, known], 0.0).sum(0)
        return fused

    def fused_spread(self, clusters: list[list[int]]) -> Floats | None:
        """(clusters, 4) standard deviations of the mixtures (px)."""
        if self.spread is None:
            return None
        fused = np.zeros((len(clusters), 4))
        for line, rows in zip(fused, clusters, strict=True):
            pull, xyxy = self.pull(rows), self.xyxy[rows]
            line[:] = np.sqrt(pull @ (self.spread[rows] ** 2 + (xyxy - pull @ xyxy) ** 2))
        return fused


def _shares(weights: Floats, knows: Bools) -> Floats:
    """Weights (T, nc) of those that know a class as parts of their sum, 1 exactly for one teacher alone."""
    if not np.isfinite(weights).all() or (weights < 0).any():
        raise ValueError("weights must be finite and at least 0")
    heard = np.where(knows, weights, 0.0)
    total = heard.sum(0)
    if (knows.any(0) & (total <= 0)).any():
        raise ValueError("all teachers that know a class have weight 0 in it")
    shares: Floats = np.divide(heard, total, out=np.zeros_like(heard), where=total > 0)
    return shares


def _fits(one: Detections, knows: Bools) -> bool:
    count = len(one.score)
    shapes = [(one.xyxy, (count, 4)), (one.cls, (count,)), (one.probs, (count, len(knows))), (one.spread, (count, 4))]
    if any(array is not None and array.shape != shape for array, shape in shapes):
        return False
    cls = np.asarray(one.cls, dtype=np.int64)
    return bool(((cls >= 0) & (cls < len(knows))).all() and knows[cls].all())


def _fingerprint(one: Detections) -> bytes:
    """Sorts teachers by what they say, so that their order cannot matter; nothing else is meant by it."""
    arrays = (one.xyxy, one.score, one.cls, one.probs, one.spread)
    return b"".join(np.asarray(array, dtype=np.float64).tobytes() for array in arrays if array is not None)


def _joined(arrays: Sequence[NDArray[np.float64] | None], width: int) -> Floats | None:
    given = [array for array in arrays if array is not None]
    return np.concatenate([np.zeros((0, width)), *given]) if len(given) == len(arrays) else None
