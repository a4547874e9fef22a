"""What the report says in words."""

import pytest

from kdyolo.report import numbers
from kdyolo.report.cautions import warnings
from kdyolo.report.facts import arrange
from kdyolo.report.load import Results, clean
from kdyolo.report.verdict import headline, how_measured, lessons, speed_up, verdict


def made_up(synthetic, student=0.574, control=0.561, **changes):
    results = synthetic.results()
    results["arms"]["student"]["mAP50_95"] = student
    results["arms"]["control"]["mAP50_95"] = control
    results["arms"]["student"].update(changes)
    return Results.model_validate(results)


JUDGED = {"name": "gain", "sentence": "A gain: beyond chance.", "needed_images": None, "needed_seeds": None}


def test_the_verdict_opens_with_what_the_resampled_images_say(synthetic):
    results = made_up(synthetic)
    results.verdict = JUDGED
    assert verdict(results) == (
        "A gain: beyond chance. The distilled yolov5n reaches 57.4 mAP50-95 points against 56.1 of the same model "
        "trained without a teacher, on 72 test images."
    )


def test_a_comparison_without_one_says_how_to_get_it(synthetic):
    assert "57.4 mAP50-95 points against 56.1" in verdict(made_up(synthetic))
    assert "kdyolo compare --force" in verdict(made_up(synthetic))


def test_the_figures_beside_a_verdict_over_seeds_are_means_over_seeds(synthetic):
    results = made_up(synthetic)
    results.verdict = JUDGED
    results.uncertainty = {"seeds": 3, "arms": {"student": {"mAP50_95": 0.521}, "control": {"mAP50_95": 0.498}}}
    assert "52.1 mAP50-95 points against 49.8" in verdict(results)
    assert "the mean of 3 trainings each" in verdict(results)


@pytest.mark.parametrize("name", ["gain", "no gain", "inconclusive", "loss"])
def test_only_a_proven_loss_is_a_warning(synthetic, name):
    results = made_up(synthetic, student=0.55)
    results.verdict = {**JUDGED, "name": name}
    assert any("without the teacher gave the better model" in s for s in warnings(results)) is (name == "loss")


def pair(a, b, low, high, classes=()):
    interval = {"estimate": (low + high) / 2, "low": low, "high": high, "level": 0.95, "probability_positive": 0.5}
    per_class = [
        {"class": name, "boxes": 9, "difference": each and {**interval, "low": each}} for name, each in classes
    ]
    return {"a": a, "b": b, "difference": {"mAP50_95": interval}, "ratio": {}, "per_class": per_class}


def test_what_was_inherited_is_a_warning_and_chance_is_called_so(synthetic):
    results = made_up(synthetic)
    results.inheritance = {"biases": [{"class": name, "sentence": f"{name}: weak."} for name in ("WBC", "RBC", "x")]}
    classes = [("WBC", -0.01), ("RBC", 0.02), ("x", None)]
    results.uncertainty = {"rare_classes": ["WBC"], "pairs": [pair("control", "teacher", -0.1, -0.05, classes)]}
    found = warnings(results)
    assert "RBC: weak." in found
    assert "WBC: weak. With so few images that may be chance." in found
    assert "x: weak. With so few images that may be chance." in found
    assert any("Too few boxes" in sentence and "WBC" in sentence for sentence in found)


def test_a_lead_of_the_teacher_that_may_be_chance_is_a_warning(synthetic):
    results = made_up(synthetic)
    for high, told in ((-0.01, False), (0.01, True)):
        results.uncertainty = {"pairs": [pair("control", "teacher", -0.1, high)]}
        assert any("may be chance: there may have been little to learn" in s for s in warnings(results)) is told


def test_the_share_kept_comes_with_its_interval(synthetic):
    results = made_up(synthetic)
    assert "interval" not in headline(results)[0].note
    ratio = {"mAP50_95": {"low": 0.884, "high": 0.968}}
    results.uncertainty = {"pairs": [{**pair("student", "teacher", 0, 0), "ratio": ratio}]}
    assert headline(results)[0].note == (
        "57.4 of 62.0 mAP50-95 points; 95 % interval 88 to 97 %; without a teacher 90 %"
    )


def test_a_student_of_true_labels_beside_a_teacher_was_distilled(synthetic):
    results = made_up(synthetic, labels="gt", scheme="online-teacher", method="response")
    assert "The distilled yolov5n" in verdict(results)
    assert lessons(results.arms["student"]) == "ground truth; online-teacher (response)"
    assert lessons(results.arms["control"]) == "ground truth"


def test_other_cases_are_named(synthetic):
    assert "no control was trained" in verdict(Results.model_validate(synthetic.results(arms=("teacher", "student"))))
    assert "no student" in verdict(Results.model_validate(synthetic.results(arms=("teacher",))))
    assert "cannot be compared" in verdict(made_up(synthetic, student=None))
    assert "Nothing was distilled" in verdict(made_up(synthetic, labels="gt"))
    assert "of a yolov5n trained without" in verdict(made_up(synthetic, model="yolov5s"))


def test_an_unfair_comparison_is_warned_about(synthetic):
    results = made_up(synthetic, optimizer_steps=780)
    results.same_start = False
    results.warnings = ["from the comparison"]
    found = warnings(results)
    assert found[0] == "from the comparison"
    assert any("same weights" in sentence for sentence in found)
    assert any("780 against 1,560 optimiser steps" in sentence for sentence in found)


def test_a_teacher_without_a_lead_is_warned_about(synthetic):
    assert any("little to learn" in sentence for sentence in warnings(made_up(synthetic, control=0.63)))


def test_a_fair_gain_has_no_warnings(synthetic):
    assert warnings(made_up(synthetic)) == []


def test_models_that_find_nothing_are_not_called_equal_without_a_word(synthetic):
    results = Results.model_validate(synthetic.results())
    for arm in results.arms.values():
        arm.mAP50_95 = 0.001
    assert any("No model finds anything" in sentence for sentence in warnings(results))


def test_a_handful_of_test_images_is_called_too_few(synthetic):
    results = Results.model_validate({**synthetic.results(), "images": 6})
    assert any("6 test images are too few" in sentence for sentence in warnings(results))


def test_speed_up_needs_both_times(synthetic):
    assert speed_up(made_up(synthetic)) == pytest.approx(84 / 11.5)
    assert speed_up(made_up(synthetic, latency_ms=None)) is None
    assert [figure.value for figure in headline(made_up(synthetic, latency_ms=None))][1] == "n/a"


def test_how_it_was_measured_never_invents():
    assert how_measured({}).count("n/a") == 10


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "n/a"), (0.44, "0.4 s"), (42.4, "42 s"), (59.6, "1 min 0 s"), (302, "5 min 2 s"), (6421.7, "1 h 47 min")],
)
def test_durations(seconds, text):
    assert numbers.duration(seconds) == text


def test_numbers_keep_na_apart_from_zero():
    assert numbers.fraction(None) == numbers.number(float("nan")) == numbers.percent(None) == "n/a"
    assert numbers.fraction(0) == "0.000"
    assert numbers.ratio(0.93) == "0.9×"
    assert numbers.ratio(36.9) == "37×"
    assert numbers.points(0.4123) == "41.2"
    assert numbers.plain(True) == "yes"
    assert numbers.plain([]) == "none"
    assert numbers.plain(123456.0) == "123,456"
    assert numbers.shorten("abcdef", 4) == "abc…"


def test_facts_of_any_shape_are_arranged():
    facts = arrange({"a_b": 1, "c": {"x": 2}, "d": {"train": {"p": 1, "q": 2, "r": 3}, "val": {"p": 4}}, "e": {}})
    assert facts.rows == [("a b", "1"), ("e", "none")]
    assert facts.grids[0].rows == [["x", "2"]]
    assert facts.grids[1].head == ["", "train", "val"]
    assert facts.grids[1].rows == [["p", "1", "4"], ["q", "2", ""], ["r", "3", ""]]


def test_facts_inside_facts_are_tables_of_their_own():
    splits = {"train": {"images": 3, "boxes_per_class": {"a": 1, "b": 2}}, "val": {"images": 1}}
    teacher = {"mAP50": 0.5, "per_class": [{"class": "a", "boxes": 4}, {"class": "b", "boxes": 5}], "kept": [{}]}
    grids = arrange({"splits": splits, "teacher_val": teacher}).grids
    assert [grid.title for grid in grids] == [
        *("splits", "splits, boxes per class"),
        *("teacher val", "teacher val, per class"),
    ]
    assert grids[0].rows == [["train", "3"], ["val", "1"]]
    assert grids[1].head == ["", "train"]
    assert grids[1].rows == [["a", "1"], ["b", "2"]]
    assert grids[2].rows == [["mAP50", "0.5"], ["kept", "none"]]
    assert grids[3].rows == [["a", "4"], ["b", "5"]]


def test_clean_removes_what_drives_terminals():
    assert clean({"\x1b[31mred": ["a\x00b", "\ud800", 1, None]}) == {" [31mred": ["a b", "?", 1, None]}
