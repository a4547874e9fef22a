"""Plots of the proof: drawn where it was measured, with its names, and nothing otherwise."""

import pytest

from kdyolo.report import proof_plots
from kdyolo.report.load import Results


@pytest.fixture
def results(synthetic):
    return Results.model_validate(synthetic.proof())


def test_intervals_name_the_figures_and_the_classes_with_their_boxes(results):
    svg = proof_plots.intervals(results)
    for name in ("mAP50-95", "mAP75", "leaf (37)", "spot (11)"):
        assert f">{name}</text>" in svg
    assert ">mite" not in svg  # no box, so no interval


def test_a_class_with_few_boxes_is_drawn_dotted(results):
    dotted = proof_plots.intervals(results).count("stroke-dasharray")
    results.uncertainty["rare_classes"] = []
    assert proof_plots.intervals(results).count("stroke-dasharray") == dotted - 1


def test_error_costs_stand_beside_their_bars(results):
    svg = proof_plots.error_bars(results.arms)
    for name, arm in results.arms.items():
        assert f">{name}</text>" in svg
        assert f">{100 * arm.error_budget['lost']['missed']:.1f}</text>" in svg


def test_reliability_tells_each_arms_error(results):
    svg = proof_plots.reliability(results.arms)
    for name, arm in results.arms.items():
        assert f"{name} (error {arm.calibration['error']:.3f})" in svg


def test_there_are_three_curves_against_confidence(results):
    plots = proof_plots.confidence_curves(results.arms)
    assert [name in plot for name, plot in zip(("Precision", "Recall", "F1"), plots, strict=True)] == [True] * 3


def test_models_that_find_nothing_can_be_drawn(results):
    for arm in results.arms.values():
        arm.error_budget["lost"] = dict.fromkeys(arm.error_budget["lost"], 0.0)
        arm.confidence = None
    assert "<svg" in proof_plots.error_bars(results.arms)
    assert len(proof_plots.confidence_curves(results.arms)) == 3


def test_an_older_comparison_has_no_plots(synthetic):
    old = Results.model_validate(synthetic.results())
    assert proof_plots.intervals(old) is None
    assert proof_plots.error_bars(old.arms) is None
    assert proof_plots.reliability(old.arms) is None
    assert proof_plots.confidence_curves(old.arms) == []
