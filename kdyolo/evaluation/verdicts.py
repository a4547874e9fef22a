"""What an interval of a difference says: a gain, a loss, no gain worth having, or not enough to tell."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

from kdyolo.evaluation.bootstrap import Interval

Name = Literal["gain", "loss", "no gain", "inconclusive"]

MOST = 100
"""A number of images more than this many times the present one is not worth naming."""
FEW_SEEDS = 5
"""Fewer trainings of each model show their spread only roughly."""


@dataclass(frozen=True)
class Verdict:
    """What can be said of one difference in mAP.

    Attributes:
        name: The verdict.
        sentence: The same in plain English, with its reasons and limits.
        needed_images: Test images at which it would be settled, together with `needed_seeds`; None if it is settled,
            or if no sensible number would do.
        needed_seeds: Trainings of each model for the same; None also where there was one training each.
    """

    name: Name
    sentence: str
    needed_images: int | None = None
    needed_seeds: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Everything as plain data, None for n/a."""
        return dict(vars(self))


def judge(interval: Interval, min_effect: float, images: int, seeds: int) -> Verdict:
    """Say what the interval of a difference in mAP shows.

    A gain: the interval lies above 0 and the estimate is at least `min_effect`. A loss: the mirror image. No gain: the
    interval lies below `min_effect`, so a gain worth having is excluded. Anything else is inconclusive.

    Args:
        interval: Of mAP of one model minus another, as shares in [-1, 1].
        min_effect: Smallest difference worth having, in mAP points (0.5 is 0.005), 0 or more.
        images: Number of test images.
        seeds: Trainings of each model.

    Raises:
        ValueError: An argument is out of range, or the interval is not finite or upside down.
    """
    estimate, low, high = interval.estimate, interval.low, interval.high
    if not all(map(math.isfinite, (estimate, low, high, min_effect))) or low > high:
        raise ValueError(f"no verdict on {interval} with a smallest effect of {min_effect}")
    if min_effect < 0 or images < 1 or seeds < 1:
        raise ValueError(f"smallest effect {min_effect}, {images} images or {seeds} seeds is out of range")
    effect = min_effect / 100
    name = _name(estimate, low, high, effect)
    growth = _growth(estimate, low, high, effect) if name == "inconclusive" else math.inf
    more_images = math.floor(images * growth) + 1 if growth <= MOST else None
    more_seeds = math.floor(seeds * growth) + 1 if growth <= MOST and seeds > 1 else None
    words = [_finding(name, min_effect), _range(interval), _covered(seeds)]
    if name == "inconclusive":
        words.insert(2, _more(more_images, more_seeds))
    return Verdict(name, " ".join(words), more_images, more_seeds)


def _name(estimate: float, low: float, high: float, effect: float) -> Name:
    if low > 0 and estimate >= effect:
        return "gain"
    if high < 0 and estimate <= -effect:
        return "loss"
    if high < effect or high <= 0:
        return "no gain"
    return "inconclusive"


def _growth(estimate: float, low: float, high: float, effect: float) -> float:
    """How many times the data must exceed the present to settle an inconclusive interval, the estimate staying put.

    The ends of the interval come nearer to the estimate with the square root of the data. That needs images and
    trainings to grow alike, for each has its own share in the width.
    """
    factors = [math.inf]
    if estimate >= effect and estimate > 0:
        factors.append((estimate - low) / estimate)
    # Of a worse model too: that it brings no gain shows before the loss does.
    if estimate < effect:
        factors.append((high - estimate) / (effect - estimate))
    return min(factors) ** 2


def _finding(name: Name, min_effect: float) -> str:
    if name == "gain":
        return "A gain: the difference is above zero beyond the chance of this sample."
    if name == "loss":
        return "A loss: the difference is below zero beyond the chance of this sample."
    if name == "no gain":
        return f"No gain: an improvement of {min_effect:g} mAP points or more is excluded."
    return f"Inconclusive: neither a gain nor the absence of a gain of {min_effect:g} mAP points is shown."


def _range(interval: Interval) -> str:
    estimate, low, high = (_points(share) for share in (interval.estimate, interval.low, interval.high))
    return f"The difference is {estimate} mAP points ({100 * interval.level:g} % interval {low} to {high})."


def _points(share: float) -> str:
    return f"{round(100 * share, 2) + 0.0:+.2f}"


def _more(images: int | None, seeds: int | None) -> str:
    if images is None:
        return (
            "The estimate lies so near the boundary that no sensible number of test images would settle it: take the "
            "two as equal, or choose another smallest difference worth having."
        )
    trainings = "" if seeds is None else f" and {seeds} trainings of each model"
    return f"About {images:,} test images{trainings} would settle it, if the difference stays as it is."


def _covered(seeds: int) -> str:
    if seeds == 1:
        return "One training each: only the choice of test images is covered, not the spread of trainings."
    covered = f"{seeds} trainings each: the choice of test images and the spread of trainings are both covered"
    return covered + (", the latter roughly, for they are few." if seeds < FEW_SEEDS else ".")
