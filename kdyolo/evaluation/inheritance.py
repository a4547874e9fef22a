"""What a student took over from its teacher, for better and for worse, beside a control that had no teacher."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdyolo.boxes import Detections, Truth, iou_matrix
from kdyolo.evaluation import sentences
from kdyolo.evaluation.accuracy import Accuracy
from kdyolo.evaluation.errors import FOUND_IOU, ErrorSet, ImageErrors, assign, classify_image

KINDS = ("missed", "wrong_class", "loose", "false_box")
BIAS_MARGIN = 0.01
"""How much lower (mAP50-95) a class must be than the control's to be called worse; less is the noise of training."""

Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Shared:
    """The errors of one kind. Those of the teacher are copied, changed into another kind of error, or fixed.

    Attributes:
        teacher: Errors of the teacher.
        student: Errors of the student.
        control: Errors of the control.
        copied: Errors of the teacher that the student makes too.
        copied_beyond_control: Those of them that the control does not make: what teaching may have passed on.
        fixed: Errors of the teacher where the student is right.
        added: Errors of the student that the teacher does not make.
        control_copied: Errors of the teacher that the control makes too, without a teacher: the base rate.
        control_fixed: Errors of the teacher where the control is right.
        control_added: Errors of the control that the teacher does not make.
    """

    teacher: int
    student: int
    control: int
    copied: int
    copied_beyond_control: int
    fixed: int
    added: int
    control_copied: int
    control_fixed: int
    control_added: int

    def to_json(self) -> dict[str, int | float | None]:
        """The counts, and which part of the teacher's errors student and control share, in [0, 1] or None."""
        rates = {"copied_rate": self.copied, "control_copied_rate": self.control_copied}
        return {**vars(self), **{k: round(n / self.teacher, 6) if self.teacher else None for k, n in rates.items()}}


@dataclass(frozen=True)
class Fidelity:
    """How alike one model is to the teacher, and how good it is. Figures in [0, 1]; None where there is no box.

    Attributes:
        f1: F1 at IoU 0.5 with the teacher's boxes as truth, all models at their operating points.
        iou: Mean IoU of the boxes matched so.
        f1_truth: F1 at IoU 0.5 with the truth.
    """

    f1: float | None
    iou: float | None
    f1_truth: float | None

    def to_json(self) -> dict[str, float | None]:
        """Everything as plain data, rounded to 6 decimals."""
        return {name: None if value is None else round(value, 6) for name, value in vars(self).items()}


@dataclass(frozen=True)
class Bias:
    """A class at which the teacher is worse than the control, and the student is too.

    Attributes:
        name: Name of the class.
        teacher: mAP50-95 of the teacher, in [0, 1].
        student: mAP50-95 of the student.
        control: mAP50-95 of the control.
    """

    name: str
    teacher: float
    student: float
    control: float

    @property
    def sentence(self) -> str:
        """The warning in words."""
        return sentences.bias(self.name, self.teacher, self.student, self.control)

    def to_json(self) -> dict[str, Any]:
        """Everything as plain data."""
        return {"class": self.name, **{k: v for k, v in vars(self).items() if k != "name"}, "sentence": self.sentence}


@dataclass(frozen=True)
class Gallery:
    """Images worth a look, as (key, number of boxes), most boxes first, then by key.

    Attributes:
        fixed: The student is right where the control is wrong.
        broke: The student is wrong where the control is right.
        inherited: Student and teacher share an error that the control does not make.
    """

    fixed: tuple[tuple[str, int], ...]
    broke: tuple[tuple[str, int], ...]
    inherited: tuple[tuple[str, int], ...]

    def to_json(self) -> dict[str, list[dict[str, Any]]]:
        """Everything as plain data."""
        return {k: [{"image": image, "boxes": n} for image, n in rows] for k, rows in vars(self).items()}


@dataclass(frozen=True)
class Inheritance:
    """Teacher, student and control on the same images.

    Attributes:
        shared: Kind of error -> counts, in the order of `KINDS`.
        student: Likeness of the student to the teacher.
        control: Likeness of the control to the teacher, the base rate.
        gallery: Images worth a look.
    """

    shared: dict[str, Shared]
    student: Fidelity
    control: Fidelity
    gallery: Gallery

    def to_json(self) -> dict[str, Any]:
        """Everything as plain data."""
        return {
            "errors": {kind: counts.to_json() for kind, counts in self.shared.items()},
            "fidelity": {"student": self.student.to_json(), "control": self.control.to_json()},
            "gallery": self.gallery.to_json(),
        }


def inheritance(teacher: ErrorSet, student: ErrorSet, control: ErrorSet) -> Inheritance:
    """Compare the errors of three models, each at its operating point.

    Two models share an error at a truth box if it is of the same kind there, and for a wrong class the same class.
    They share a false box if theirs are of the same class and overlap with IoU >= 0.5; each box is shared once.

    Raises:
        ValueError: The three sets are not of the same images with the same truth.
    """
    rows: dict[str, list[tuple[int, ...]]] = {kind: [] for kind in KINDS}
    boxes: dict[str, tuple[int, int, int]] = {}
    _check(teacher, student, control)
    for key, taught in teacher.images.items():
        trio = (taught, student.images[key], control.images[key])
        counted = [*(_of_truth(kind, *trio) for kind in KINDS[:3]), _of_false_boxes(*trio)]
        for kind, counts in zip(KINDS, counted, strict=True):
            rows[kind].append(counts)
        boxes[key] = _worth_a_look(*trio)
    totals = {kind: Shared(*(int(n) for n in np.sum(rows[kind], axis=0))) if rows[kind] else _NONE for kind in KINDS}
    ranked = (_ranked({key: n[i] for key, n in boxes.items()}) for i in range(3))
    return Inheritance(totals, _fidelity(teacher, student), _fidelity(teacher, control), Gallery(*ranked))


def biases(teacher: Accuracy, student: Accuracy, control: Accuracy, margin: float = BIAS_MARGIN) -> list[Bias]:
    """Classes at which teacher and student are both worse than the control by more than `margin` in mAP50-95.

    Returns:
        In the order of the class list; classes without truth are left out.
    """
    found = []
    for name in teacher.per_class:
        t, s, c = (accuracy.per_class[name].mAP50_95 for accuracy in (teacher, student, control))
        if t is not None and s is not None and c is not None and max(t, s) < c - margin:
            found.append(Bias(name, t, s, c))
    return found


_NONE = Shared(*[0] * 10)


def _check(*models: ErrorSet) -> None:
    first = models[0].images
    for other in (model.images for model in models[1:]):
        if unequal := sorted(first.keys() ^ other.keys()):
            raise ValueError(f"image {unequal[0]!r} is in one set only ({len(unequal)} such images)")
        for key, image in first.items():
            same_cls = np.array_equal(image.truth_cls, other[key].truth_cls)
            if not same_cls or not np.array_equal(image.truth_xyxy, other[key].truth_xyxy):
                raise ValueError(f"the truth of image {key!r} differs between the models")


def _of_truth(kind: str, teacher: ImageErrors, student: ImageErrors, control: ImageErrors) -> tuple[int, ...]:
    """The figures of `Shared` for errors at truth boxes of one image."""
    wrong, *others = (image.truth_kind == kind for image in (teacher, student, control))
    copied = [wrong & _agree(teacher, image) for image in (student, control)]
    fixed = [wrong & (image.truth_kind == "found") for image in (student, control)]
    return _figures([wrong, *others], copied, fixed)


def _of_false_boxes(teacher: ImageErrors, student: ImageErrors, control: ImageErrors) -> tuple[int, ...]:
    """The same for false boxes: what a model does not copy it does right."""
    wrong = [image.kind[image.kind == "false_box"] != "" for image in (teacher, student, control)]
    copied = [_shared_false(teacher, image) for image in (student, control)]
    return _figures(wrong, copied, [~flags for flags in copied])


def _figures(wrong: list[Flags], copied: list[Flags], fixed: list[Flags]) -> tuple[int, ...]:
    """From errors of teacher, student and control, and those of the teacher that the latter two copied and fixed."""
    teacher, student, control = (int(np.count_nonzero(flags)) for flags in wrong)
    by_student, by_control = (int(np.count_nonzero(flags)) for flags in copied)
    right, control_right = (int(np.count_nonzero(flags)) for flags in fixed)
    beyond = int(np.count_nonzero(copied[0] & ~copied[1]))
    student_counts = (by_student, beyond, right, student - by_student)
    return (teacher, student, control, *student_counts, by_control, control_right, control - by_control)


def _agree(a: ImageErrors, b: ImageErrors) -> Flags:
    """(M,) truth boxes that two models treat alike: same kind and, for a wrong class, the same class."""
    same_class = (a.truth_kind != "wrong_class") | (a.given_cls == b.given_cls)
    alike: Flags = (a.truth_kind == b.truth_kind) & same_class
    return alike


def _shared_false(a: ImageErrors, b: ImageErrors) -> Flags:
    """Which false boxes of `a`, in score order, have a partner of their own among those of `b`."""
    mine, theirs = a.kind == "false_box", b.kind == "false_box"
    same = a.cls[mine][:, None] == b.cls[theirs]
    return assign(np.where(same, iou_matrix(a.xyxy[mine], b.xyxy[theirs]), -1), FOUND_IOU) >= 0


def _worth_a_look(teacher: ImageErrors, student: ImageErrors, control: ImageErrors) -> tuple[int, int, int]:
    """Boxes of one image that the student fixed, broke (both against the control) and inherited."""

    def only(a: ImageErrors, b: ImageErrors) -> int:
        at_truth = np.count_nonzero((a.truth_kind != "found") & (b.truth_kind == "found"))
        return int(at_truth + np.count_nonzero(~_shared_false(a, b)))

    wrong = teacher.truth_kind != "found"
    inherited = np.count_nonzero(wrong & _agree(teacher, student) & ~_agree(teacher, control))
    false = _shared_false(teacher, student) & ~_shared_false(teacher, control)
    return only(control, student), only(student, control), int(inherited + np.count_nonzero(false))


def _ranked(boxes: Mapping[str, int]) -> tuple[tuple[str, int], ...]:
    return tuple(sorted(((key, n) for key, n in boxes.items() if n), key=lambda row: (-row[1], row[0])))


def _fidelity(teacher: ErrorSet, model: ErrorSet) -> Fidelity:
    """Agreement of two models without truth, beside the model's own F1."""
    overlaps, boxes = [np.zeros(0)], 0
    for key, taught in teacher.images.items():
        own = model.images[key]
        as_found = Detections(own.xyxy, own.score, own.cls)
        pairs = classify_image(Truth(taught.xyxy, taught.cls, 0, 0), as_found)
        found = pairs.truth_kind == "found"
        iou = iou_matrix(pairs.truth_xyxy, pairs.xyxy)
        overlaps.append(iou[found, pairs.pair[found]])
        boxes += len(taught.cls) + len(own.cls)
    iou = np.concatenate(overlaps)
    return Fidelity(2 * len(iou) / boxes if boxes else None, float(iou.mean()) if len(iou) else None, model.f1)
