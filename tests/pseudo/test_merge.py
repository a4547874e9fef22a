"""Truth is never touched by what a teacher adds (fault 57)."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdyolo.boxes import iou_matrix
from kdyolo.pseudo.merge import MAX_OVERLAP, add_to_truth

# Whose areas do not vanish: a box of 1e-180 overlaps nothing, not even itself.
edge = st.floats(0, 1).map(lambda value: round(value, 9))
# Coarse corners meet, touch and cover each other far more often than fine ones.
corner = st.integers(0, 6).map(lambda i: i / 6) | edge


@st.composite
def boxes(draw):
    rows = draw(st.lists(st.tuples(corner, corner, corner, corner, st.integers(0, 3)), max_size=8))
    xyxy = np.array([[min(a, b), min(c, d), max(a, b), max(c, d)] for a, c, b, d, _ in rows]).reshape(-1, 4)
    return np.array([row[4] for row in rows], dtype=np.int64), xyxy


@given(boxes(), boxes())
def test_every_truth_row_survives_and_no_added_box_covers_one(truth, found):
    cls, xyxy = add_to_truth(*truth, *found)
    count = len(truth[0])
    np.testing.assert_array_equal(cls[:count], truth[0])
    np.testing.assert_array_equal(xyxy[:count], truth[1])
    added = xyxy[count:]
    assert (iou_matrix(added, truth[1]) < MAX_OVERLAP).all()
    # Nothing else was dropped, and the order stayed.
    free = [i for i in range(len(found[0])) if not (iou_matrix(found[1][i : i + 1], truth[1]) >= MAX_OVERLAP).any()]
    np.testing.assert_array_equal(cls[count:], found[0][free])
    np.testing.assert_array_equal(added, found[1][free])


@given(boxes())
def test_a_teacher_that_repeats_the_truth_adds_nothing(truth):
    cls, xyxy = add_to_truth(*truth, *truth)
    flat = (truth[1][:, 2:] <= truth[1][:, :2]).any(axis=1)  # boxes without area overlap nothing, not even themselves
    assert len(cls) == len(truth[0]) + flat.sum()
    assert len(xyxy) == len(cls)


def test_the_class_does_not_matter():
    truth = np.array([0]), np.array([[0.0, 0.0, 0.4, 0.4]])
    cls, _ = add_to_truth(*truth, np.array([1]), np.array([[0.0, 0.0, 0.4, 0.41]]))
    assert cls.tolist() == [0]


@pytest.mark.parametrize(("shift", "kept"), [(1 / 3 - 1e-6, False), (1 / 3 + 1e-6, True)])
def test_the_limit(shift, kept):
    """Two unit squares shifted by a third overlap by IoU 0.5."""
    truth = np.array([0]), np.array([[0.0, 0.0, 1.0, 1.0]])
    cls, _ = add_to_truth(*truth, np.array([2]), np.array([[shift, 0.0, 1 + shift, 1.0]]))
    assert (len(cls) == 2) == kept


def test_without_truth_all_is_taken_and_without_finds_nothing_is_added():
    none = np.zeros(0, dtype=np.int64), np.zeros((0, 4))
    one = np.array([1]), np.array([[0.1, 0.1, 0.2, 0.2]])
    assert add_to_truth(*none, *one)[0].tolist() == [1]
    assert add_to_truth(*one, *none)[1].tolist() == one[1].tolist()
    cls, xyxy = add_to_truth(*none, *none)
    assert (cls.shape, xyxy.shape) == ((0,), (0, 4))
