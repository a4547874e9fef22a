"""What an interval of a difference says: a gain, a loss, no gain worth having, or not enough to tell."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

from kdyolo.evaluation import sentences
from kdyolo.evaluation.bootstrap import Interval

Name = Literal["gain", "loss", "no gain", "inconclusive"]

MOST = 100
"""A number of images more than this many times the present one is not worth naming."""


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
    words = sentences.verdict(name, interval.to_json(), min_effect, seeds, (more_images, more_seeds))
    return Verdict(name, words, more_images, more_seeds)


def of_nothing(seeds: int) -> Verdict:
    """That neither of two models finds anything says nothing about what makes the one better than the other.

    Args:
        seeds: Trainings of each model.
    """
    return Verdict("inconclusive", sentences.nothing(seeds))


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
