import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdyolo.config import load_config
from kdyolo.errors import ConfigError
from kdyolo.gates import ARMS, METRICS, Gate

FOUND = {
    "teacher": {"mAP50_95": 0.6, "latency_ms": {"p95": 40.0}, "fps": 25.0},
    "student": {"mAP50_95": 0.55, "latency_ms": {"p95": 12.0}, "fps": 90.0},
    "control": {"mAP50_95": None, "fps": 90.0},
}


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("student.mAP50-95 >= 0.9 * teacher.mAP50-95", True),
        ("student.mAP50-95 >= 0.95 * teacher.mAP50-95", False),
        ("student.mAP50-95 >= teacher.mAP50-95 - 0.05", True),
        ("student.mAP50-95 >= teacher.mAP50-95 - 0.04", False),
        ("student.mAP50-95>=teacher.mAP50-95", False),
        ("student.p95_ms <= 20", True),
        ("student.p95_ms <= .5e1", False),
        ("2 * student.fps > 7 * teacher.fps", True),
        ("student.fps > control.fps", False),
        ("student.fps >= control.fps", True),
        ("student.fps < control.fps + 1", True),
    ],
)
def test_what_holds(text, holds):
    assert (Gate.parse(text).failure(FOUND) is None) is holds


def test_a_failure_says_what_was_found():
    told = Gate.parse("student.mAP50-95 >= 0.95 * teacher.mAP50-95").failure(FOUND)
    assert told == "student.mAP50-95 >= 0.95 * teacher.mAP50-95: 0.55 is not >= 0.57"


def test_what_was_not_measured_does_not_hold():
    for text in ("control.mAP50-95 >= 0", "student.mAP50-95 >= control.mAP50-95", "student.size_mb <= 9"):
        assert "not measured" in Gate.parse(text).failure(FOUND)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("student.mAP >= 0.5", "no figure 'mAP'; figures: mAP50-95"),
        ("pupil.mAP50 >= 0.5", "no arm 'pupil'; arms: teacher, student, control"),
        ("student.mAP50", "not of the form"),
        ("student.mAP50 == 1", "not of the form"),
        ("student.mAP50 >= __import__('os')", "not of the form"),
        ("", "not of the form"),
    ],
)
def test_what_cannot_be_read_is_told_before_anything_runs(text, told):
    with pytest.raises(ValueError, match=r"arm|figure|form") as caught:
        Gate.parse(text)
    assert told in str(caught.value)
    with pytest.raises(ConfigError):
        load_config(overrides={"compare.require": [text]})


@given(st.sampled_from(ARMS), st.sampled_from(sorted(METRICS)), st.floats(0, 1e6), st.floats(0, 1e6))
def test_a_number_is_compared_as_it_is(arm, metric, value, limit):
    path = METRICS[metric]
    of = value if len(path) == 1 else {path[1]: value}
    assert (Gate.parse(f"{arm}.{metric} <= {limit!r}").failure({arm: {path[0]: of}}) is None) is (value <= limit)
