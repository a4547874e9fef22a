"""What is copied from a teacher: by hand, by identical models, and by naive loops."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scenes import found, random_detections, random_truths, shuffled, truth

from kdyolo.boxes import iou_matrix
from kdyolo.evaluation.accuracy import evaluate
from kdyolo.evaluation.errors import classify
from kdyolo.evaluation.inheritance import KINDS, Shared, biases, inheritance

NAMES = ["leaf", "spot", "mite"]
seeds = settings(max_examples=40, deadline=None)
A, B, C, D = (0, 0, 100, 100), (200, 0, 300, 100), (0, 200, 100, 300), (200, 200, 300, 300)
TRUTH = truth((0, *A), (0, *B), (0, *C))


def errors(detections, truths=TRUTH):
    return classify({"a": truths}, {"a": detections}, NAMES, 0.0)


def compare(teacher, student, control, truths=TRUTH):
    return inheritance(*(errors(found(*rows), truths) for rows in (teacher, student, control)))


def right(box):
    return (0, 0.9, *box)


def random_trio(seed):
    truths = random_truths(seed)
    return truths, [classify(truths, random_detections(truths, seed + i), NAMES, 0.3) for i in (1, 2, 3)]


def test_copied_fixed_and_added_by_hand():
    # The teacher misses A and B. The student misses A too, and C of its own; the control misses A only.
    result = compare([right(C)], [right(B)], [right(B), right(C)])
    assert result.shared["missed"] == Shared(
        teacher=2,
        student=2,
        control=1,
        copied=1,
        copied_beyond_control=0,
        fixed=1,
        added=1,
        control_copied=1,
        control_fixed=1,
        control_added=0,
    )
    assert result.shared["missed"].to_json()["copied_rate"] == 0.5
    assert result.shared["wrong_class"].to_json()["copied_rate"] is None


def test_beyond_the_control_is_what_the_control_does_not_do():
    result = compare([right(C)], [right(C)], [right(B), right(C)])
    assert (result.shared["missed"].copied, result.shared["missed"].copied_beyond_control) == (2, 1)
    assert result.gallery.inherited == (("a", 1),)


def test_a_wrong_class_is_the_same_error_only_if_the_class_is():
    rest = [right(B), right(C)]
    spot, mite = (1, 0.9, *A), (2, 0.9, *A)
    assert compare([spot, *rest], [spot, *rest], [mite, *rest]).shared["wrong_class"].copied_beyond_control == 1
    other = compare([spot, *rest], [mite, *rest], [spot, *rest]).shared["wrong_class"]
    assert (other.copied, other.fixed, other.added, other.control_copied) == (0, 0, 1, 1)


@pytest.mark.parametrize(("moved", "cls", "copied"), [(0, 0, 1), (33, 0, 1), (34, 0, 0), (0, 1, 0)])
def test_a_false_box_is_the_same_if_class_and_place_are(moved, cls, copied):
    rest = [right(A), right(B), right(C)]
    student = (cls, 0.5, 400 + moved, 0, 500 + moved, 100)
    shared = compare([*rest, (0, 0.9, 400, 0, 500, 100)], [*rest, student], rest).shared["false_box"]
    assert (shared.copied, shared.fixed, shared.added, shared.control_fixed) == (copied, 1 - copied, 1 - copied, 1)


def test_gallery_by_hand():
    # The student finds A, which the control misses, and loses B and adds a false box; the control has two false boxes.
    result = compare(
        [right(A)],
        [right(A), right(C), (1, 0.5, 500, 0, 560, 60)],
        [right(B), right(C), (1, 0.5, 0, 400, 60, 460), (2, 0.5, 500, 400, 560, 460)],
    )
    assert result.gallery.to_json() == {
        "fixed": [{"image": "a", "boxes": 3}],
        "broke": [{"image": "a", "boxes": 2}],
        "inherited": [{"image": "a", "boxes": 1}],
    }


def test_gallery_has_most_boxes_first_and_then_goes_by_name():
    truths = {"c": TRUTH, "b": truth((0, *A)), "a": truth((0, *A)), "d": truth((0, *A))}
    nothing = dict.fromkeys(truths, found())
    student = {key: found(*(right(box) for box in (A, B, C))) for key in "cba"} | {"d": found()}
    student["b"] = student["a"] = found(right(A))
    sets = [classify(truths, boxes, NAMES, 0.0) for boxes in (nothing, student, nothing)]
    assert inheritance(*sets).gallery.fixed == (("c", 3), ("a", 1), ("b", 1))
    assert inheritance(*sets).gallery.broke == inheritance(*sets).gallery.inherited == ()


def test_fidelity_looks_at_the_teacher_and_not_at_the_truth():
    wrong, near = (1, 0.9, *D), (1, 0.4, 200, 200, 300, 280)
    result = compare([right(A), wrong], [near], [right(A), right(B), right(C)])
    # One of the student's 1 box fits one of the teacher's 2, at IoU 0.8; none fits any truth.
    assert result.student.f1 == pytest.approx(2 / 3)
    assert result.student.iou == pytest.approx(0.8)
    assert result.student.f1_truth == 0.0
    assert result.control.to_json() == {"f1": 0.4, "iou": 1.0, "f1_truth": 1.0}
    assert compare([], [], [right(A)], truth()).student.to_json() == {"f1": None, "iou": None, "f1_truth": None}


@seeds
@given(st.integers(0, 10**6))
def test_a_copy_of_the_teacher_inherits_everything(seed):
    _, (teacher, _, control) = random_trio(seed)
    result = inheritance(teacher, teacher, control)
    for kind, shared in result.shared.items():
        counts = teacher.detection_counts if kind == "false_box" else teacher.truth_counts
        assert shared.copied == shared.teacher == shared.student == counts[kind]
        assert shared.fixed == shared.added == 0
        assert shared.copied_beyond_control == shared.teacher - shared.control_copied
    if result.student.f1 is not None:
        assert result.student.f1 == 1.0
        assert result.student.iou == pytest.approx(1.0)
    same = inheritance(teacher, control, control)
    assert same.gallery.fixed == same.gallery.broke == same.gallery.inherited == ()
    assert all(shared.copied_beyond_control == 0 for shared in same.shared.values())


@seeds
@given(st.integers(0, 10**6))
def test_counts_reconcile(seed):
    _, sets = random_trio(seed)
    result = inheritance(*sets)
    assert tuple(result.shared) == KINDS
    beyond = sum(shared.copied_beyond_control for shared in result.shared.values())
    assert sum(boxes for _, boxes in result.gallery.inherited) == beyond
    for kind, shared in result.shared.items():
        made = [(s.detection_counts if kind == "false_box" else s.truth_counts)[kind] for s in sets]
        assert [shared.teacher, shared.student, shared.control] == made
        assert shared.copied + shared.added == shared.student
        assert shared.control_copied + shared.control_added == shared.control
        assert shared.copied + shared.fixed <= shared.teacher
        assert shared.copied - shared.control_copied <= shared.copied_beyond_control <= shared.copied
        if kind == "false_box":
            assert shared.copied + shared.fixed == shared.teacher


@seeds
@given(st.integers(0, 10**6))
def test_errors_at_truth_boxes_equal_a_naive_loop(seed):
    _, (teacher, student, control) = random_trio(seed)
    result = inheritance(teacher, student, control)
    for kind in KINDS[:3]:
        copied = beyond = fixed = 0
        for key, t in teacher.images.items():
            s, c = student.images[key], control.images[key]
            for i in np.flatnonzero(t.truth_kind == kind):
                same = [m.truth_kind[i] == kind for m in (s, c)]
                if kind == "wrong_class":
                    same = [m.truth_kind[i] == kind and m.cls[m.pair[i]] == t.cls[t.pair[i]] for m in (s, c)]
                copied, beyond = copied + same[0], beyond + (same[0] and not same[1])
                fixed += s.truth_kind[i] == "found"
        shared = result.shared[kind]
        assert (shared.copied, shared.copied_beyond_control, shared.fixed) == (copied, beyond, fixed)


@seeds
@given(st.integers(0, 10**6))
def test_no_false_box_is_called_fixed_that_has_an_idle_partner(seed):
    _, (teacher, student, control) = random_trio(seed)
    shared = inheritance(teacher, student, control).shared["false_box"]
    possible = 0
    for key, t in teacher.images.items():
        s = student.images[key]
        mine, theirs = t.kind == "false_box", s.kind == "false_box"
        near = iou_matrix(t.xyxy[mine], s.xyxy[theirs]) >= 0.5
        possible += int((near & (t.cls[mine][:, None] == s.cls[theirs])).any(axis=1).sum())
    assert possible / 2 <= shared.copied <= possible


@seeds
@given(st.integers(0, 10**6))
def test_the_order_of_images_and_boxes_does_not_matter(seed):
    truths = random_truths(seed)
    models = [random_detections(truths, seed + i) for i in (1, 2, 3)]
    one = inheritance(*(classify(truths, d, NAMES, 0.3) for d in models))
    other = inheritance(*(classify(*shuffled(truths, d, seed + 9), NAMES, 0.3) for d in models))
    assert json.dumps(one.to_json()) == json.dumps(other.to_json())


def accuracies(**per_class):
    """Class name -> mAP50-95 of teacher, student and control."""
    return [
        SimpleNamespace(per_class={k: SimpleNamespace(mAP50_95=v[i]) for k, v in per_class.items()}) for i in range(3)
    ]


def test_bias_is_where_teacher_and_student_are_worse_than_the_control():
    found_biases = biases(
        *accuracies(
            leaf=(0.30, 0.35, 0.40),
            spot=(0.30, 0.45, 0.40),
            mite=(0.45, 0.35, 0.40),
            rust=(0.395, 0.30, 0.40),
            none=(None, None, None),
        )
    )
    assert [bias.name for bias in found_biases] == ["leaf"]
    assert found_biases[0].sentence == (
        "leaf: the teacher (0.300) is worse than the control (0.400), and so is the student (0.350); "
        "it may have learned the teacher's weakness."
    )
    assert json.loads(json.dumps(found_biases[0].to_json()))["class"] == "leaf"
    assert [b.name for b in biases(*accuracies(rust=(0.395, 0.30, 0.40)), margin=0.0)] == ["rust"]


def test_bias_reads_what_evaluate_gives():
    truths = {"a": TRUTH}
    good, bad = ({"a": found(*rows)} for rows in ([right(A), right(B), right(C)], [right(A)]))
    teacher, student, control = (evaluate(truths, boxes, NAMES) for boxes in (bad, bad, good))
    assert [bias.name for bias in biases(teacher, student, control)] == ["leaf"]
    assert biases(teacher, control, student) == []


def test_the_sets_must_be_of_the_same_truth():
    one, other = errors(found()), errors(found(), truth((0, *A), (0, *B), (0, *D)))
    with pytest.raises(ValueError, match="truth of image 'a' differs"):
        inheritance(one, one, other)
    with pytest.raises(ValueError, match="'a' is in one set only"):
        inheritance(one, classify({}, {}, NAMES, 0.0), one)
    empty = classify({}, {}, NAMES, 0.0)
    assert inheritance(empty, empty, empty).shared["missed"].teacher == 0
