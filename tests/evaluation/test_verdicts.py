"""Verdicts: examples a reader can check, and what must hold of any interval."""

import json
import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from kdyolo.evaluation.bootstrap import Interval
from kdyolo.evaluation.verdicts import MOST, judge

SHARE = st.floats(-0.3, 0.3).map(lambda value: round(value, 5))
EFFECT = st.floats(0, 5).map(lambda value: round(value, 2))


def interval(estimate, low, high):
    return Interval(estimate, low, high, 0.95, 0.5)


@st.composite
def intervals(draw):
    """Ends in order; the estimate may lie outside, as it can with percentiles."""
    low, high = sorted((draw(SHARE), draw(SHARE)))
    return interval(draw(SHARE), low, high)


@st.composite
def intervals_around_estimate(draw):
    low, estimate, high = sorted((draw(SHARE), draw(SHARE), draw(SHARE)))
    return interval(estimate, low, high)


@pytest.mark.parametrize(
    ("ends", "name"),
    [
        ((0.02, 0.01, 0.03), "gain"),
        ((0.005, 0.001, 0.009), "gain"),
        ((0.004, 0.001, 0.009), "inconclusive"),
        ((0.004, 0.001, 0.0049), "no gain"),
        ((-0.02, -0.03, -0.01), "loss"),
        ((-0.004, -0.006, -0.002), "no gain"),
        ((0.0, 0.0, 0.0), "no gain"),
        ((0.0, -0.004, 0.004), "no gain"),
        ((0.0, -0.005, 0.005), "inconclusive"),
        ((0.02, -0.01, 0.05), "inconclusive"),
        ((-0.02, -0.05, 0.01), "inconclusive"),
    ],
)
def test_half_a_point(ends, name):
    verdict = judge(interval(*ends), 0.5, 250, 3)
    assert verdict.name == name
    assert verdict.sentence.lower().removeprefix("a ").startswith(name)
    assert (verdict.needed_images is None) == (name != "inconclusive")


def test_how_many_more():
    verdict = judge(interval(0.01, -0.01, 0.03), 0.5, 250, 3)
    assert (verdict.needed_images, verdict.needed_seeds) == (1001, 13)
    assert "About 1,001 test images and 13 trainings of each model would settle it" in verdict.sentence
    verdict = judge(interval(0.01, -0.01, 0.03), 0.5, 250, 1)
    assert (verdict.needed_images, verdict.needed_seeds) == (1001, None)
    assert "About 1,001 test images would settle it" in verdict.sentence


def test_the_nearer_of_two_ends_counts():
    """A worse model: that it is no better shows at 250 * (0.03 / 0.025) ** 2 images, that it is worse only later."""
    assert judge(interval(-0.02, -0.05, 0.01), 0.5, 250, 1).needed_images == 361


def test_without_a_smallest_effect_any_gain_is_worth_having():
    assert judge(interval(0.0, 0.0, 0.0), 0, 250, 1).name == "no gain"
    assert judge(interval(1e-4, 1e-5, 1e-3), 0, 250, 1).name == "gain"
    assert judge(interval(-1e-4, -1e-3, 1e-5), 0, 250, 1).name == "inconclusive"


@pytest.mark.parametrize("estimate", [0.0049, 0.0])
def test_no_number_of_images_is_named_beside_a_boundary(estimate):
    verdict = judge(interval(estimate, estimate - 0.03, estimate + 0.03), 0.5 if estimate else 0.0, 250, 3)
    assert (verdict.name, verdict.needed_images, verdict.needed_seeds) == ("inconclusive", None, None)
    assert "no sensible number of test images" in verdict.sentence


def test_the_sentence_tells_figures_and_limits():
    one, three, five = (judge(interval(0.0213, 0.0101, 0.03), 0.5, 250, seeds).sentence for seeds in (1, 3, 5))
    assert "+2.13 mAP points (95 % interval +1.01 to +3.00)" in one
    assert one.endswith("One training each: only the choice of test images is covered, not the spread of trainings.")
    assert three.endswith("the spread of trainings are both covered, the latter roughly, for they are few.")
    assert five.endswith("5 trainings each: the choice of test images and the spread of trainings are both covered.")
    assert "-0.00" not in judge(interval(-1e-9, -1e-6, 1e-6), 0.5, 250, 1).sentence


@given(intervals(), EFFECT, st.integers(1, 10_000), st.integers(1, 9))
def test_one_verdict_for_any_interval(found, effect, images, seeds):
    verdict = judge(found, effect, images, seeds)
    share = effect / 100
    gain = found.low > 0 and found.estimate >= share
    loss = found.high < 0 and found.estimate <= -share
    assert not (gain and loss)
    assert (verdict.name == "gain") == gain
    assert (verdict.name == "loss") == loss
    if verdict.name == "no gain":
        assert found.high <= share
    if verdict.name == "inconclusive":
        assert found.high >= share
    if verdict.needed_images is not None:
        assert images <= verdict.needed_images <= images * MOST + 1
        assert (verdict.needed_seeds is None) == (seeds == 1)
    json.dumps(verdict.to_json(), allow_nan=False)


@given(intervals_around_estimate(), EFFECT, st.floats(0, 0.2), st.floats(0, 0.2))
def test_a_wider_interval_settles_nothing(found, effect, below, above):
    wider = interval(found.estimate, found.low - below, found.high + above)
    before, after = judge(found, effect, 250, 1), judge(wider, effect, 250, 1)
    if before.name == "inconclusive":
        assert after.name == "inconclusive"
        assert after.needed_images is None or before.needed_images <= after.needed_images
    if after.name in ("gain", "loss"):
        assert before.name == after.name


@given(intervals(), EFFECT)
def test_gain_and_loss_are_mirror_images(found, effect):
    mirrored = interval(-found.estimate, -found.high, -found.low)
    names = judge(found, effect, 250, 1).name, judge(mirrored, effect, 250, 1).name
    assert (names[0] == "gain") == (names[1] == "loss")
    assert (names[0] == "loss") == (names[1] == "gain")


@given(intervals_around_estimate(), EFFECT, st.integers(10, 2000))
def test_the_needed_images_are_just_enough(found, effect, images):
    needed = judge(found, effect, images, 1).needed_images
    assume(needed is not None)

    def shrunk(to):
        factor = math.sqrt(images / to)
        low, high = (found.estimate + (end - found.estimate) * factor for end in (found.low, found.high))
        return judge(interval(found.estimate, low, high), effect, images, 1).name

    assert shrunk(needed * (1 + 1e-6)) != "inconclusive"
    assert shrunk((needed - 1) * (1 - 1e-6)) == "inconclusive"


@pytest.mark.parametrize(
    ("ends", "effect", "images", "seeds"),
    [
        ((0.0, 0.1, -0.1), 0.5, 250, 1),
        ((math.nan, -0.1, 0.1), 0.5, 250, 1),
        ((0.0, -math.inf, 0.1), 0.5, 250, 1),
        ((0.0, -0.1, 0.1), -0.5, 250, 1),
        ((0.0, -0.1, 0.1), math.nan, 250, 1),
        ((0.0, -0.1, 0.1), 0.5, 0, 1),
        ((0.0, -0.1, 0.1), 0.5, 250, 0),
    ],
)
def test_nonsense_is_refused(ends, effect, images, seeds):
    with pytest.raises(ValueError, match=r"verdict|out of range"):
        judge(interval(*ends), effect, images, seeds)
