"""How sure a difference between two models is: paired bootstrap over test images and over trainings.

Images, and seeds where there are several, are drawn with replacement; every arm gets the same draw, so that what is
common to the arms cancels (Efron & Tibshirani 1993, "An Introduction to the Bootstrap", chapters 6 and 8). Intervals
are percentiles (chapter 13).

Of S seeds, S - 1 are drawn (McCarthy & Snowden 1985, "The Bootstrap and Finite Population Sampling"): with S draws the
variance between trainings would come out as (S - 1) / S of what it is, which is half of it for two seeds. Even so,
intervals from 2 to 4 seeds are too narrow where trainings differ several times as much as choices of images do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdyolo.boxes import Detections, Truth
from kdyolo.evaluation.matching import Floats, ImageMatches, image_matches
from kdyolo.evaluation.resampling import METRICS, average_precision, class_figures, mean_ap

RARE_BOXES = 20
"""A class with fewer truth boxes is listed in `Bootstrap.rare_classes`: its figures say little."""


@dataclass(frozen=True)
class Interval:
    """A figure and how far it may be off.

    Attributes:
        estimate: From all images and all seeds, each once.
        low: Lower end, the (1 - level) / 2 quantile of the resamples.
        high: Upper end, the (1 + level) / 2 quantile.
        level: Share of such intervals that are meant to hold the true value, in (0, 1).
        probability_positive: Share of resamples in which the first arm is above the second, ties counted half.
    """

    estimate: float
    low: float
    high: float
    level: float
    probability_positive: float

    def to_json(self) -> dict[str, float]:
        """Everything as plain data."""
        return dict(vars(self))


@dataclass(frozen=True)
class Bootstrap:
    """Figures of every arm on the images as they are, and on R resamples of them. All mAP in [0, 1].

    Attributes:
        images: Number of test images.
        seeds: Most trainings that any arm has.
        boxes: Class name -> number of truth boxes.
        level: Level of the intervals.
        estimates: Arm -> metric -> mean over classes and seeds; NaN if no class has a truth box.
        samples: Arm -> metric -> (R,) the same of each resample.
        class_estimates: Arm -> metric -> (C,) mean over seeds; NaN for a class without truth.
        class_samples: Arm -> metric -> (C, R) the same of each resample.
    """

    images: int
    seeds: int
    boxes: dict[str, int]
    level: float
    estimates: dict[str, dict[str, float]]
    samples: dict[str, dict[str, Floats]]
    class_estimates: dict[str, dict[str, Floats]]
    class_samples: dict[str, dict[str, Floats]]

    @property
    def rare_classes(self) -> list[str]:
        """Classes with fewer than `RARE_BOXES` truth boxes."""
        return [name for name, boxes in self.boxes.items() if boxes < RARE_BOXES]

    def difference(self, a: str, b: str, metric: str = "mAP50_95") -> Interval | None:
        """Arm `a` minus arm `b`; None if no class has a truth box."""
        first, second = self.samples[a][metric], self.samples[b][metric]
        return _interval(self.estimates[a][metric] - self.estimates[b][metric], first - second, 0.0, self.level)

    def class_differences(self, a: str, b: str, metric: str = "mAP50_95") -> dict[str, Interval | None]:
        """Class name -> arm `a` minus arm `b`, from the resamples that hold the class; None without a truth box."""
        estimates = self.class_estimates[a][metric] - self.class_estimates[b][metric]
        samples = self.class_samples[a][metric] - self.class_samples[b][metric]
        return {
            name: _interval(float(estimate), sample, 0.0, self.level)
            for name, estimate, sample in zip(self.boxes, estimates, samples, strict=True)
        }

    def ratio(self, a: str, b: str, metric: str = "mAP50_95") -> Interval | None:
        """Share of the mAP of arm `b` that arm `a` has; resamples where `b` has none are left out.

        None if `b` has no mAP, or no class has a truth box.
        """
        whole = self.samples[b][metric]
        if not self.estimates[b][metric] > 0:
            return None
        quotient = np.divide(self.samples[a][metric], whole, out=np.full_like(whole, np.nan), where=whole > 0)
        return _interval(self.estimates[a][metric] / self.estimates[b][metric], quotient, 1.0, self.level)

    def to_json(self, pairs: Sequence[tuple[str, str]]) -> dict[str, Any]:
        """Arms and the given pairs of arms as plain data, None for n/a; the resamples themselves are left out."""
        return {
            "images": self.images,
            "seeds": self.seeds,
            "resamples": len(next(iter(self.samples.values()))["mAP50_95"]),
            "level": self.level,
            "rare_classes": self.rare_classes,
            "arms": {
                arm: {metric: None if np.isnan(value) else value for metric, value in figures.items()}
                for arm, figures in self.estimates.items()
            },
            "pairs": [{"a": a, "b": b, **self._pair(a, b)} for a, b in pairs],
        }

    def _pair(self, a: str, b: str) -> dict[str, Any]:
        return {
            "difference": {metric: _plain(self.difference(a, b, metric)) for metric in METRICS},
            "ratio": {metric: _plain(self.ratio(a, b, metric)) for metric in METRICS},
            "per_class": [
                {"class": name, "boxes": self.boxes[name], "difference": _plain(interval)}
                for name, interval in self.class_differences(a, b).items()
            ],
        }


def keyed_matches(
    truths: Mapping[str, Truth], detections: Mapping[str, Detections], class_names: Sequence[str], max_det: int = 300
) -> list[ImageMatches]:
    """What `bootstrap` needs of one training; the images are put in the order of their keys.

    Args:
        truths: Image key -> its labels, as `kdyolo.evaluation.accuracy.evaluate` takes and checks them.
        detections: The same keys -> what the model found.
        class_names: Name of each class index.
        max_det: Most confident detections counted per image and class.

    Raises:
        ValueError: The two key sets differ.
    """
    if truths.keys() != detections.keys():
        raise ValueError("truth and detections are not of the same images")
    keys = sorted(truths)
    return image_matches(
        [(truths[k].xyxy, truths[k].cls, np.zeros(len(truths[k].cls))) for k in keys],
        [(detections[k].xyxy, detections[k].cls, detections[k].score) for k in keys],
        range(len(class_names)),
        max_det,
    )


def bootstrap(
    arms: Mapping[str, Sequence[Sequence[ImageMatches]]],
    class_names: Sequence[str],
    *,
    resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Bootstrap:
    """Measure every arm on the same resamples of the test images and of the trainings.

    Args:
        arms: Arm -> trainings by seed -> matches of each class, by `keyed_matches` on the same truth. An arm of one
            training stands beside every seed of the others. Training k of one arm is paired with training k of another.
        class_names: Name of each class.
        resamples: Number of draws R.
        seed: Of the random draw.
        level: Of the intervals, in (0, 1).

    Raises:
        ValueError: The arms differ in truth, in classes or in their number of trainings, or a number makes no sense.
    """
    truths, seeds = _checked(arms, class_names)
    if resamples < 1 or not 0 < level < 1:
        raise ValueError(f"resamples {resamples} or level {level} is out of range")
    images = truths.shape[1]
    rng = np.random.default_rng(seed)
    weights = np.ones((resamples + 1, images), dtype=np.int32)
    for row in weights[1:]:
        row[:] = np.bincount(rng.integers(images, size=images), minlength=images)
    drawn = rng.integers(seeds, size=(resamples, max(1, seeds - 1)))
    means, classes = {}, {}
    for arm, trainings in arms.items():
        by_class = [np.stack([average_precision(m, weights) for m in training]) for training in trainings]
        means[arm] = _average([mean_ap(ap) for ap in by_class], drawn)
        classes[arm] = _average([class_figures(ap) for ap in by_class], drawn)
    return Bootstrap(
        images=images,
        seeds=seeds,
        boxes={name: int(boxes) for name, boxes in zip(class_names, truths.sum(axis=1), strict=True)},
        level=level,
        estimates={arm: {name: float(v[0]) for name, v in figures.items()} for arm, figures in means.items()},
        samples={arm: {name: v[1:] for name, v in figures.items()} for arm, figures in means.items()},
        class_estimates={arm: {name: v[:, 0] for name, v in figures.items()} for arm, figures in classes.items()},
        class_samples={arm: {name: v[:, 1:] for name, v in figures.items()} for arm, figures in classes.items()},
    )


def _checked(
    arms: Mapping[str, Sequence[Sequence[ImageMatches]]], class_names: Sequence[str]
) -> tuple[NDArray[np.int64], int]:
    """Truth boxes (C, N) that all arms share, and the number of seeds."""
    trainings = [training for of_arm in arms.values() for training in of_arm]
    if not trainings or not class_names or any(len(training) != len(class_names) for training in trainings):
        raise ValueError("every arm needs a training, with the matches of each class")
    lengths = {len(of_arm) for of_arm in arms.values()}
    if not lengths <= {1, max(lengths)}:
        raise ValueError(f"arms have {sorted(lengths)} trainings; they must have equally many, or one")
    truths = np.stack([matches.truths for matches in trainings[0]])
    if truths.shape[1] == 0:
        raise ValueError("there are no images")
    if any(not np.array_equal(truths, [m.truths for m in training]) for training in trainings):
        raise ValueError("the arms were not measured on the same truth")
    return truths, max(lengths)


def _average(by_seed: Sequence[Mapping[str, Floats]], drawn: NDArray[np.int64]) -> dict[str, Floats]:
    """Mean over seeds of figures (..., 1 + R): of all seeds in the first column, of the drawn seeds in the others."""
    return {name: _over_seeds(np.stack([figures[name] for figures in by_seed]), drawn) for name in METRICS}


def _over_seeds(values: Floats, drawn: NDArray[np.int64]) -> Floats:
    # An arm of one training has that one for every seed.
    drawn = np.minimum(drawn, len(values) - 1)
    column = np.arange(1, values.shape[-1])[:, None]
    chosen = values[drawn, ..., column].mean(axis=1)
    return np.concatenate([values[..., :1].mean(axis=0), np.moveaxis(chosen, 0, -1)], axis=-1)


def _interval(estimate: float, samples: Floats, neutral: float, level: float) -> Interval | None:
    samples = samples[np.isfinite(samples)]
    if not np.isfinite(estimate) or not len(samples):
        return None
    low, high = np.quantile(samples, [(1 - level) / 2, (1 + level) / 2])
    above = np.mean(samples > neutral) + np.mean(samples == neutral) / 2
    return Interval(estimate, float(low), float(high), level, float(above))


def _plain(interval: Interval | None) -> dict[str, float] | None:
    return None if interval is None else interval.to_json()
