"""What the report says in words."""

import pytest

from kdyolo.report import numbers
from kdyolo.report.facts import arrange
from kdyolo.report.load import Results, clean
from kdyolo.report.verdict import headline, how_measured, lessons, speed_up, verdict, warnings


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
    assert "`kdyolo compare --resume`" in verdict(made_up(synthetic))


def test_a_loss_is_said_plainly(synthetic):
    results = made_up(synthetic, student=0.5)
    assert any("worse than its control by 6.1" in sentence for sentence in warnings(results))


def test_a_difference_of_half_a_point_is_no_warning(synthetic):
    for student, silent in ((0.566, True), (0.556, True), (0.555, False)):
        assert (warnings(made_up(synthetic, student=student)) == []) is silent


def test_what_was_inherited_is_a_warning(synthetic):
    results = made_up(synthetic)
    results.inheritance = {"biases": [{"sentence": "In 'WBC' the teacher is worse."}]}
    results.uncertainty = {"rare_classes": ["WBC"]}
    assert "In 'WBC' the teacher is worse." in warnings(results)
    assert any("Too few boxes" in sentence and "WBC" in sentence for sentence in warnings(results))


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


def test_clean_removes_what_drives_terminals():
    assert clean({"\x1b[31mred": ["a\x00b", "\ud800", 1, None]}) == {" [31mred": ["a b", "?", 1, None]}
