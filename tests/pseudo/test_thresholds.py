"""The rule that turns validation curves into label thresholds, and what is said of the boxes below them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdyolo.boxes import Detections
from kdyolo.distill.soft_labels import Origin, read_soft_labels, soften, write_soft_labels
from kdyolo.pseudo.fusion import fuse
from kdyolo.pseudo.table import judge
from kdyolo.pseudo.thresholds import FLOOR, HIGH, LOW, choose, doubtful


def test_each_class_takes_its_own_best_score():
    assert choose({"a": 0.4, "b": 0.6}, {"a": 20, "b": 300}, 0.5) == {"a": 0.4, "b": 0.6}


@pytest.mark.parametrize(("score", "threshold"), [(0.01, 0.25), (0.25, 0.25), (0.9, 0.9), (0.99, 0.9)])
def test_scores_are_held_between_the_bounds(score, threshold):
    assert choose({"a": score}, {"a": 50}, None) == {"a": threshold}
    assert choose({"a": None}, {"a": 50}, score) == {"a": threshold}


def test_few_boxes_or_no_curve_take_the_overall_score():
    best = {"few": 0.8, "none": None, "unknown": 0.8, "enough": 0.8}
    boxes = {"few": 19, "none": 100, "enough": 20}
    assert choose(best, boxes, 0.45) == {"few": 0.45, "none": 0.45, "unknown": 0.45, "enough": 0.8}


def test_a_teacher_that_finds_nothing_leaves_the_lower_bound():
    assert choose({"a": None}, {"a": 100}, None) == {"a": LOW}


def test_a_score_of_zero_is_a_score():
    assert choose({"a": 0.0}, {"a": 100}, 0.7) == {"a": LOW}
    assert choose({"a": None}, {"a": 100}, 0.0) == {"a": LOW}


@pytest.mark.parametrize(("low", "high"), [(0.6, 0.5), (-0.1, 0.5), (0.5, 1.1), (float("nan"), 0.5)])
def test_impossible_bounds_are_refused(low, high):
    with pytest.raises(ValueError, match="low <= high"):
        choose({"a": 0.5}, {"a": 100}, 0.5, low, high)


scores = st.none() | st.floats(0, 1)


@given(st.dictionaries(st.text(max_size=3), st.tuples(scores, st.integers(0, 60))), scores)
def test_every_class_gets_a_threshold_within_the_bounds(classes, overall):
    best, boxes = {k: v[0] for k, v in classes.items()}, {k: v[1] for k, v in classes.items()}
    thresholds = choose(best, boxes, overall)
    assert list(thresholds) == list(classes)
    assert all(LOW <= value <= HIGH for value in thresholds.values())


SIDE = 10.0  # px


def detections(score, cls, nc, probs=None):
    """Boxes side by side, so that none is another's copy."""
    n = len(score)
    left = np.arange(n) * SIDE
    probs = np.zeros((n, nc)) if probs is None else probs
    xyxy = np.column_stack([left, np.zeros(n), left + SIDE, np.full(n, SIDE)])
    return Detections(xyxy, score, np.asarray(cls, dtype=np.int64), probs, np.ones((n, 4)))


def zones(found, thresholds, path):
    """Score, class, and whether it is a label and doubtful, of each box as it comes out of the store."""
    size = max(1, len(found.score)) * int(SIDE), int(SIDE)
    labels = judge(found, thresholds, *size)
    origin = Origin("f" * 64, 64, tuple(map(str, range(len(thresholds)))))
    soft = soften(found, *size, np.ones(len(thresholds), dtype=bool))
    write_soft_labels(path, {"a": soft}, {"a": "1"}, origin)
    back = read_soft_labels(path, origin, {"a": "1"})["a"]
    assert np.allclose(back.xywhn, labels.xywhn, atol=1e-5)  # the same boxes in the same order
    return back.score, back.cls, labels.kept, doubtful(back.score, back.cls, thresholds)


@st.composite
def judged(draw):
    """Thresholds, and boxes many of which are as near to those, and to the lower ones, as numbers can be."""
    thresholds = draw(st.lists(st.floats(0.01, 1).map(lambda value: round(value, 6)), min_size=1, max_size=3))
    edges = [edge for high in thresholds for edge in (high, max(high / 2, FLOOR))]
    near = [float(np.nextafter(edge, to, dtype=kind)) for edge in edges for to in (0, 1) for kind in ("f4", "f8")]
    score = draw(st.lists(st.floats(0, 1) | st.sampled_from([*edges, *near]), max_size=6))
    cls = draw(st.lists(st.integers(0, len(thresholds) - 1), min_size=len(score), max_size=len(score)))
    kind = draw(st.sampled_from([np.float32, np.float64]))
    seed = draw(st.integers(0, 9))
    probs = np.random.default_rng(seed).random((len(score), len(thresholds)))
    return detections(np.array(score, dtype=kind), cls, len(thresholds), probs), thresholds


@given(judged())
def test_a_box_is_a_label_or_doubtful_or_background(tmp_path_factory, case):
    found, thresholds = case
    score, cls, label, doubt = zones(found, thresholds, tmp_path_factory.mktemp("zones") / "soft.npz")
    high = np.array([thresholds[c] for c in cls])
    low = np.maximum(high / 2, FLOOR)
    assert np.array_equal(doubt, (low <= score) & (score < high))
    background = (score < low) & ~label
    assert (label.astype(int) + doubt + background == 1).all()


def test_what_one_of_two_teachers_sees_is_doubtful(tmp_path):
    """Who is silent counts 0 in the score: 0.8 is 0.4, too little for a label and too much for background."""
    one = detections(np.array([0.8]), [0], 2, np.array([[0.8, 0.05]]))
    silent = detections(np.zeros(0), [], 2)
    found = fuse([one, silent], np.full((2, 2), 0.5), np.ones((2, 2), dtype=bool))
    score, _, label, doubt = zones(found, [0.5, 0.5], tmp_path / "soft.npz")
    assert (score.tolist(), label.tolist(), doubt.tolist()) == ([0.4], [False], [True])


def test_the_class_is_the_one_labels_have(tmp_path):
    """Not that of the largest probability, which fusing may have made another."""
    found = detections(np.array([0.4]), [1], 2, np.array([[0.9, 0.4]]))
    _, cls, label, doubt = zones(found, [0.95, 0.6], tmp_path / "soft.npz")
    assert (cls.tolist(), label.tolist(), doubt.tolist()) == ([1], [False], [True])
    _, _, label, doubt = zones(found, [0.95, 0.9], tmp_path / "soft.npz")
    assert (label.tolist(), doubt.tolist()) == ([False], [False])


def test_one_rounded_up_is_still_below(tmp_path):
    """Half precision would make 0.49999 the threshold itself: neither a label nor doubtful."""
    _, _, label, doubt = zones(
        detections(np.array([0.49999]), [0], 1, np.array([[0.49999]])), [0.5], tmp_path / "s.npz"
    )
    assert (label.tolist(), doubt.tolist()) == ([False], [True])
