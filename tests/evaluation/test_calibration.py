"""Calibration by hand, against a naive loop, and of scores that are drawn to be right."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scenes import found, random_detections, random_truths, shuffled, truth

from kdyolo.boxes import Detections, Truth
from kdyolo.evaluation.calibration import FLOOR, calibrate
from kdyolo.evaluation.errors import classify

seeds = settings(max_examples=40, deadline=None)


def test_by_hand():
    truths = {"a": truth((0, 0, 0, 10, 10), (0, 50, 50, 60, 60))}
    boxes = [(0, 0.9, 0, 0, 10, 10), (0, 0.85, 0, 0, 10, 9), (1, 0.25, 50, 50, 60, 60), (0, 0.04, 50, 50, 60, 60)]
    result = calibrate(truths, {"a": found(*boxes)})
    # 0.9 is right and 0.85 a duplicate: precision 0.5 at 0.875; 0.25 has the wrong class; 0.04 is below the floor.
    assert (result.floor, result.count) == (0.05, 3)
    assert result.error == pytest.approx(2 / 3 * 0.375 + 1 / 3 * 0.25)
    assert (result.confidence, result.precision) == pytest.approx((2 / 3, 1 / 3))
    assert {b.low: b.count for b in result.bins if b.count} == {0.2: 1, 0.8: 2}


def test_a_score_on_an_edge_belongs_below_it_and_none_is_lost():
    boxes = [(0, score, 0, 0, 10, 10) for score in (0.0, 0.1, 0.2, 0.3, 0.6, 0.7, 1.0)]
    result = calibrate({"a": truth()}, {"a": found(*boxes)}, floor=0.0)
    assert [b.count for b in result.bins] == [2, 1, 1, 0, 0, 1, 1, 0, 0, 1]


@seeds
@given(st.integers(0, 10**6), st.sampled_from([0.0, 0.05, 0.5]), st.integers(1, 20))
def test_bins_reconcile_and_the_error_equals_a_naive_loop(seed, floor, bins):
    truths = random_truths(seed)
    detections = random_detections(truths, seed + 1)
    result = calibrate(truths, detections, floor, bins)
    images = classify(truths, detections, ["a", "b", "c"], floor).images.values()
    rows = [(s, k == "correct") for image in images for s, k in zip(image.score, image.kind, strict=True)]
    if not rows:
        assert result is None
        return
    assert sum(b.count for b in result.bins) == result.count == len(rows)
    error = 0.0
    for b in range(bins):
        inside = [row for row in rows if b / bins < row[0] <= (b + 1) / bins]
        if inside:
            score, right = np.mean(inside, axis=0)
            error += len(inside) / len(rows) * abs(score - right)
    assert result.error == pytest.approx(error)
    assert calibrate(*shuffled(truths, detections, seed), floor, bins).error == pytest.approx(error)


@pytest.mark.parametrize(("power", "error"), [(1.0, 0.0), (2.0, 1 / 6)])
def test_simulated_scores(power, error):
    # A detection scored s is right with probability s^power; the integral of s - s^2 over [0, 1] is 1/6.
    rng = np.random.default_rng(5)
    score = rng.uniform(0, 1, 20_000).reshape(-1, 100)
    right = rng.random(score.shape) < score**power
    corner = 20.0 * np.arange(100)[:, None] + [0, 0]
    boxes = np.hstack([corner, corner + 10])
    truths = {str(i): Truth(boxes[r], np.zeros(r.sum(), int), 2000, 2000) for i, r in enumerate(right)}
    detections = {str(i): Detections(boxes, s, np.zeros(100, int)) for i, s in enumerate(score)}
    result = calibrate(truths, detections, floor=0.0)
    assert result.error == pytest.approx(error, abs=0.02)


def test_to_json_and_nothing_found():
    result = calibrate({"a": truth((0, 0, 0, 9, 9))}, {"a": found((0, 0.95, 0, 0, 9, 9))})
    data = json.loads(json.dumps(result.to_json()))
    assert (data["floor"], data["error"], len(data["bins"])) == (FLOOR, 0.05, 10)
    assert data["bins"][0] == {"low": 0.0, "high": 0.1, "count": 0, "confidence": None, "precision": None}
    assert calibrate({"a": truth((0, 0, 0, 9, 9))}, {"a": found((0, 0.01, 0, 0, 9, 9))}) is None
    assert calibrate({}, {}) is None
