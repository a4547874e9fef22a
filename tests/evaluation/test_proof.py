import json

import numpy as np
import pytest

from kdyolo.boxes import Detections, Truth
from kdyolo.evaluation.accuracy import evaluate
from kdyolo.evaluation.proof import PAIRS, prove

NAMES = ("cat", "dog")


def scene(seed, images=12):
    """Truths, and three models: one that sees all, one that misses a third, one that misses two thirds."""
    rng = np.random.default_rng(seed)
    truths, found = {}, {"teacher": {}, "student": {}, "control": {}}
    for number in range(images):
        corners = np.array([[60.0 * i, 10, 60.0 * i + 40, 50] for i in range(4)])
        cls = rng.integers(0, 2, 4)
        truths[f"{number}.jpg"] = Truth(corners, cls, 300, 100)
        for arm, share in (("teacher", 1.0), ("student", 0.66), ("control", 0.33)):
            seen = rng.uniform(size=4) < share
            score = rng.uniform(0.3, 1, seen.sum())
            boxes = corners[seen] + rng.normal(0, 1, (seen.sum(), 4))
            found[arm][f"{number}.jpg"] = Detections(boxes, score, cls[seen])
    return truths, found


def proof(seed, more=None):
    truths, found = scene(seed)
    accuracy = {arm: evaluate(truths, each, NAMES) for arm, each in found.items()}
    trainings = {arm: [each, *((more or {}).get(arm, []))] for arm, each in found.items()}
    return prove(truths, trainings, accuracy, NAMES, 0.5), accuracy


def test_everything_is_plain_and_agrees_with_the_accuracy():
    told, accuracy = proof(0)
    json.dumps(told, allow_nan=False)
    pairs = {(pair["a"], pair["b"]): pair for pair in told["uncertainty"]["pairs"]}
    assert tuple(pairs) == tuple(pair for pair in PAIRS if "longer" not in pair)
    for (a, b), pair in pairs.items():
        gap = accuracy[a].mAP50_95 - accuracy[b].mAP50_95
        interval = pair["difference"]["mAP50_95"]
        assert interval["estimate"] == pytest.approx(gap, abs=1e-9)
        assert interval["low"] <= interval["estimate"] <= interval["high"]
    assert told["verdict"]["name"] == "gain"
    for arm in accuracy:
        assert told["arms"][arm]["error_budget"]["AP50"] == pytest.approx(accuracy[arm].mAP50, abs=1e-5)
        assert sum(size["boxes"] for size in told["arms"][arm]["sizes"].values()) == 48
    missed = told["inheritance"]["errors"]["missed"]
    assert missed["teacher"] == 0
    assert missed["control"] > missed["student"] > 0


def test_the_same_model_twice_is_no_gain():
    truths, found = scene(1)
    found["control"] = found["student"]
    accuracy = {arm: evaluate(truths, each, NAMES) for arm, each in found.items()}
    told = prove(truths, {arm: [each] for arm, each in found.items()}, accuracy, NAMES, 0.5)
    assert told["verdict"]["name"] == "no gain"
    assert told["inheritance"]["biases"] == []


def test_models_that_find_nothing_prove_nothing():
    truths, found = scene(1)
    nothing = dict.fromkeys(truths, Detections(np.zeros((0, 4)), np.zeros(0), np.zeros(0, dtype=int)))
    found |= {"student": nothing, "control": nothing}
    accuracy = {arm: evaluate(truths, each, NAMES) for arm, each in found.items()}
    told = prove(truths, {arm: [each] for arm, each in found.items()}, accuracy, NAMES, 0.5)
    assert told["verdict"]["name"] == "inconclusive"
    assert "neither student nor control finds anything" in told["verdict"]["sentence"]


def test_trainings_of_other_seeds_count():
    _, other = scene(2)
    truths, _ = scene(0)
    told, _ = proof(0, {"student": [other["student"]], "control": [other["control"]]})
    assert told["uncertainty"]["seeds"] == 2
    assert len(truths) == told["uncertainty"]["images"]


def test_without_any_truth_there_is_no_verdict():
    truths = {"a.jpg": Truth(np.zeros((0, 4)), np.zeros(0, int), 100, 100)}
    nothing = {"a.jpg": Detections(np.zeros((0, 4)), np.zeros(0), np.zeros(0, int))}
    accuracy = {arm: evaluate(truths, nothing, NAMES) for arm in ("teacher", "student", "control")}
    told = prove(truths, {arm: [nothing] for arm in accuracy}, accuracy, NAMES, 0.5)
    assert told["verdict"] is None
    json.dumps(told, allow_nan=False)
