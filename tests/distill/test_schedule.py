"""How loud the teacher is, and when."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdyolo.distill.schedule import Balance, Schedule


def test_the_course_of_a_weight():
    course = Schedule(weight=2.0, shape="cosine", epochs=40, warmup=2, tail=10)
    assert course.at(0) == 0
    assert course.at(1) == pytest.approx(1.0, rel=0.01)
    assert course.at(15) == pytest.approx(2 * (1 - 0.99 / 2), rel=1e-9)
    assert course.at(29.999) == pytest.approx(0.02, rel=0.01)
    assert course.at(30) == course.at(39.9) == 0
    flat = Schedule(weight=2.0, shape="constant", epochs=40, warmup=0, tail=0)
    assert flat.at(0) == flat.at(39.9) == 2


@given(
    st.floats(0, 10), st.sampled_from(["cosine", "constant"]), st.integers(1, 50), st.floats(0, 5), st.integers(0, 12),
    st.floats(0, 60),
)  # fmt: skip
def test_a_weight_never_leaves_its_bounds(weight, shape, epochs, warmup, tail, when):
    assert 0 <= Schedule(weight, shape, epochs, warmup, min(tail, epochs)).at(when) <= weight


def test_the_balance_solves_for_the_ratio_after_its_looks():
    balance = Balance(ratio=0.5, steps=10)
    for _ in range(9):
        balance.look(task=4.0, kd=0.5, cosine=0.3)
    assert balance.weight == 0
    balance.look(task=4.0, kd=0.5, cosine=0.3)
    assert balance.weight * 0.5 == pytest.approx(0.5 * 4.0)


def test_the_balance_answers_in_a_short_training_as_well():
    balance = Balance(ratio=0.5)
    balance.begin_within(18)
    for _ in range(4):
        assert balance.weight == 0
        balance.look(task=4.0, kd=0.5, cosine=0.3)
    assert balance.weight > 0
    for steps, looks in ((1, 1), (0, 1), (400, 100), (10_000, 100)):
        long = Balance(ratio=0.5)
        long.begin_within(steps)
        assert long.steps == looks


def test_the_balance_follows_and_backs_off_where_the_gradients_point_apart():
    balance = Balance(ratio=1.0, steps=5, memory=0.5)
    for _ in range(20):
        balance.look(1.0, 1.0, 0.0)
    before = balance.weight
    for _ in range(20):
        balance.look(1.0, 2.0, 0.0)
    assert balance.weight == pytest.approx(before / 2, rel=1e-3)
    for _ in range(20):
        balance.look(1.0, 2.0, -0.5)
    assert balance.weight == pytest.approx(before / 4, rel=1e-3)
    for _ in range(30):
        balance.look(1.0, 2.0, -1.0)
    assert balance.weight == pytest.approx(before / 8, rel=1e-3)


def test_looks_that_are_no_numbers_and_vanishing_gradients_do_no_harm():
    balance = Balance(ratio=1.0, steps=2)
    balance.look(math.nan, 1.0, 0.0)
    balance.look(1.0, math.inf, 0.0)
    assert balance.looks == 0
    for _ in range(5):
        balance.look(1.0, 1e-30, 0.0)
    assert balance.weight == balance.most


def test_a_restored_balance_goes_on_as_if_nothing_had_happened():
    first, second = Balance(0.5, steps=4), Balance(0.5, steps=4)
    for number in range(7):
        first.look(1.0 + number, 2.0, -0.1)
    second.restore(first.state())
    for balance in (first, second):
        balance.look(3.0, 1.0, 0.2)
    assert first.weight == second.weight > 0
