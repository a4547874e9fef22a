"""The rule that turns validation curves into label thresholds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdyolo.pseudo.thresholds import HIGH, LOW, choose


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
