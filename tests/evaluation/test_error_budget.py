"""The cost of each kind of error: computed by hand, and with AP50 as pycocotools has it."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scenes import found, random_detections, random_truths, shuffled, truth

from kdyolo.boxes import Detections
from kdyolo.evaluation.accuracy import evaluate
from kdyolo.evaluation.error_budget import ERROR_TYPES, average_precision, error_budget

NAMES = ["leaf", "spot", "mite"]
seeds = settings(max_examples=40, deadline=None)
BOX, FAR = (0, 0, 100, 100), (300, 300, 400, 400)
HALF = 51 / 101
"""Average precision where one of two boxes is found, at precision 1: recall 0 .. 0.50 of 0 .. 1."""


def budget_of(truths, *boxes):
    return error_budget({"a": truth(*truths)}, {"a": found(*boxes)})


def only(**lost):
    return pytest.approx({**dict.fromkeys(ERROR_TYPES, 0.0), **lost})


def test_a_perfect_model_loses_nothing():
    budget = budget_of([(0, *BOX), (1, *FAR)], (0, 0.9, *BOX), (1, 0.2, *FAR))
    assert budget.AP50 == 1.0
    assert budget.lost == dict.fromkeys(ERROR_TYPES, 0.0)
    assert (budget.false_positives, budget.false_negatives) == (0.0, 0.0)


def test_classification():
    # The far leaf is called a spot: leaf has AP 51/101 and would have 1; spot, found at 0.8 below that, has 1/2.
    budget = budget_of(
        [(0, *BOX), (0, *FAR), (1, 0, 300, 90, 400)], (0, 0.9, *BOX), (1, 0.9, *FAR), (1, 0.8, 0, 300, 90, 400)
    )
    assert pytest.approx((HALF + 0.5) / 2) == budget.AP50
    assert budget.lost == only(classification=1 - budget.AP50)
    assert budget.false_positives == pytest.approx((HALF + 1) / 2 - budget.AP50)
    assert budget.false_negatives == pytest.approx((1 + 0.5) / 2 - budget.AP50)


def test_localisation():
    budget = budget_of([(0, *BOX), (0, *FAR)], (0, 0.9, *BOX), (0, 0.8, 300, 300, 400, 340))
    assert pytest.approx(HALF) == budget.AP50
    assert budget.lost == only(localisation=1 - HALF)


def test_both():
    budget = budget_of([(0, *BOX), (1, *FAR)], (1, 0.9, 0, 0, 100, 40), (0, 0.8, *BOX), (1, 0.8, *FAR))
    assert budget.lost == only(both=0.25)


def test_duplicate():
    # Hit, duplicate, hit: precision 1 up to recall 0.5, then 2/3.
    budget = budget_of([(0, *BOX), (0, *FAR)], (0, 0.9, *BOX), (0, 0.8, 0, 0, 100, 90), (0, 0.7, *FAR))
    assert budget.lost == only(duplicate=50 / 101 / 3)


def test_background():
    budget = budget_of([(0, *BOX)], (0, 0.9, 500, 0, 600, 100), (0, 0.8, *BOX))
    assert budget.lost == only(background=0.5)
    assert budget.false_positives == pytest.approx(0.5)
    assert budget.false_negatives == 0.0


def test_missed():
    budget = budget_of([(0, *BOX), (0, *FAR)], (0, 0.9, *BOX))
    assert budget.lost == only(missed=1 - HALF)
    assert budget.false_negatives == pytest.approx(1 - HALF)
    assert budget.false_positives == 0.0


def test_a_model_that_finds_nothing_misses_everything():
    budget = budget_of([(0, *BOX), (1, *FAR)])
    assert budget.AP50 == 0.0
    assert budget.lost == only(missed=1.0)


def test_two_errors_about_one_box_repair_it_once_and_the_less_confident_goes():
    # Repaired, the loose box at 0.8 is the hit and the one at 0.7 is gone; the false box at 0.9 stays.
    loose = [(0, 0.8, 0, 0, 100, 40), (0, 0.7, 0, 0, 100, 45)]
    budget = budget_of([(0, *BOX)], (0, 0.9, *FAR), *loose)
    assert budget.AP50 == 0.0
    assert budget.lost == only(localisation=0.5)


def test_an_error_about_a_box_that_is_found_is_left_out_when_repaired():
    budget = budget_of([(0, *BOX), (1, *FAR)], (0, 0.9, 0, 0, 100, 40), (0, 0.8, *BOX), (1, 0.9, *FAR))
    assert budget.lost == only(localisation=0.25)


def test_max_det_counts_the_most_confident_per_image_and_class():
    boxes = (0, 0.9, *FAR), (0, 0.8, *BOX), (1, 0.7, *FAR)
    truths = {"a": truth((0, *BOX), (1, *FAR))}
    assert error_budget(truths, {"a": found(*boxes)}, max_det=1).AP50 == 0.5
    assert error_budget(truths, {"a": found(*boxes)}, max_det=2).AP50 == 0.75


@seeds
@given(st.integers(0, 10**6))
def test_ap50_is_that_of_pycocotools_and_no_repair_harms(seed):
    truths = random_truths(seed)
    detections = random_detections(truths, seed + 1)
    budget = error_budget(truths, detections)
    expected = evaluate(truths, detections, NAMES).mAP50
    if expected is None:
        assert budget is None
        return
    assert pytest.approx(expected, abs=1e-9) == budget.AP50
    gains = [*budget.lost.values(), budget.false_positives, budget.false_negatives]
    assert all(-1e-12 <= gain <= 1 - budget.AP50 + 1e-12 for gain in gains)
    # No false detection is left but those that became hits.
    assert budget.false_positives >= max(budget.lost[name] for name in ("both", "duplicate", "background")) - 1e-12


@seeds
@given(st.integers(0, 10**6))
def test_the_order_of_images_and_boxes_does_not_matter(seed):
    truths = random_truths(seed)
    detections = random_detections(truths, seed + 1)
    assert error_budget(truths, detections) == error_budget(*shuffled(truths, detections, seed))


@seeds
@given(st.integers(0, 10**6))
def test_the_truth_itself_is_perfect(seed):
    truths = random_truths(seed)
    rng = np.random.default_rng(seed)
    detections = {k: Detections(t.xyxy, rng.uniform(0, 1, len(t.cls)), t.cls) for k, t in truths.items()}
    budget = error_budget(truths, detections)
    if budget is not None:
        assert set(budget.lost.values()) == {0.0}


@seeds
@given(st.lists(st.booleans(), max_size=30), st.integers(0, 5))
def test_average_precision_equals_a_naive_loop(hit, missed):
    boxes = sum(hit) + missed
    if not boxes:
        return
    points = [(sum(hit[:n]) / boxes, sum(hit[:n]) / n) for n in range(1, len(hit) + 1)]
    recalls = np.linspace(0, 1, 101)
    expected = [max((p for r, p in points if r >= least), default=0.0) for least in recalls]
    assert average_precision(np.array(hit, dtype=bool), boxes) == pytest.approx(np.mean(expected))


def test_to_json_and_nothing_to_find():
    budget = budget_of([(0, *BOX), (0, *FAR)], (0, 0.9, *BOX))
    data = json.loads(json.dumps(budget.to_json()))
    assert data["AP50"] == round(HALF, 6)
    assert list(data["lost"]) == list(ERROR_TYPES)
    assert budget_of([], (0, 0.9, *BOX)) is None
    with pytest.raises(ValueError, match="'a' is in one set only"):
        error_budget({"a": truth()}, {})
