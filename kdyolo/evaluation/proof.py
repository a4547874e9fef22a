"""From the detections of all arms to what can be claimed: how sure, of which kind, and what the student inherited."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kdyolo.boxes import Detections, Truth
from kdyolo.evaluation.accuracy import Accuracy
from kdyolo.evaluation.bootstrap import bootstrap, keyed_matches
from kdyolo.evaluation.calibration import calibrate
from kdyolo.evaluation.error_budget import error_budget
from kdyolo.evaluation.errors import ErrorSet, classify
from kdyolo.evaluation.inheritance import biases, inheritance
from kdyolo.evaluation.sizes import by_size
from kdyolo.evaluation.verdicts import judge, of_nothing

PAIRS = (("student", "control"), ("student", "longer"), ("student", "teacher"), ("control", "teacher"))
"""Arms that are set against each other, as far as they are there."""


def prove(
    truths: Mapping[str, Truth],
    found: Mapping[str, Sequence[Mapping[str, Detections]]],
    accuracy: Mapping[str, Accuracy],
    class_names: Sequence[str],
    min_effect: float,
) -> dict[str, Any]:
    """Everything beyond plain accuracy, as plain data.

    Args:
        truths: Image key -> its labels.
        found: ``teacher``, ``student``, ``control``, perhaps ``longer`` -> the detections of each training of it,
            seeds paired.
        accuracy: Of the first training of each.
        class_names: In class order.
        min_effect: Smallest difference worth having (mAP50-95 points), chosen before the run.

    Returns:
        ``uncertainty`` (see `Bootstrap.to_json`), ``verdict`` (see `Verdict.to_json`; None where nothing could be
        measured), ``inheritance`` (see `Inheritance.to_json`, and ``biases``), and ``arms``: arm -> ``errors``,
        ``error_budget``, ``calibration`` and ``sizes``.
    """
    matches = {arm: [keyed_matches(truths, one, class_names) for one in each] for arm, each in found.items()}
    drawn = bootstrap(matches, class_names)
    difference = drawn.difference("student", "control")
    verdict = None if difference is None else judge(difference, min_effect, drawn.images, drawn.seeds)
    if verdict and not any(drawn.estimates[arm]["mAP50_95"] for arm in ("student", "control")):
        verdict = of_nothing(drawn.seeds)
    errors = {arm: classify(truths, each[0], class_names, accuracy[arm].operating_point) for arm, each in found.items()}
    inherited = inheritance(errors["teacher"], errors["student"], errors["control"])
    biased = biases(accuracy["teacher"], accuracy["student"], accuracy["control"])
    return {
        "uncertainty": drawn.to_json([pair for pair in PAIRS if found.keys() >= set(pair)]),
        "verdict": None if verdict is None else verdict.to_json(),
        "inheritance": {**inherited.to_json(), "biases": [bias.to_json() for bias in biased]},
        "arms": {arm: _of_arm(truths, each[0], errors[arm]) for arm, each in found.items()},
    }


def _of_arm(truths: Mapping[str, Truth], found: Mapping[str, Detections], errors: ErrorSet) -> dict[str, Any]:
    budget, calibration = error_budget(truths, found), calibrate(truths, found)
    return {
        "errors": errors.to_json(),
        "error_budget": None if budget is None else budget.to_json(),
        "calibration": None if calibration is None else calibration.to_json(),
        "sizes": {name: size.to_json() for name, size in by_size(truths, found).items()},
    }
