"""Latency of models side by side: real images, one at a time, warm, the models taking turns in one process."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdyolo.engine.detector import Detector, Image, read_image
from kdyolo.evaluation.power import Meter

PARTS = ("preprocess", "inference", "nms")
QUANTILES = (50, 90, 95, 99)
TIMED_CONF = 0.25
"""Score threshold of the timed suppression, as in use; mAP's 0.001 would time boxes nobody asks for."""
WINDOW = 5
"""Images whose median is compared with that of as many before, to tell whether a model is warm."""
TOLERANCE = 0.05
MOST_WARMUP = 3
"""The warm-up ends after so many times its least length, stable or not."""
FEWEST_BATCHES = 8
KEPT = 3
"""Rounds that are reported where there are several, the quietest."""

Tick = Callable[[int], None]
Floats = NDArray[np.float64]


def measure(
    detectors: Mapping[str, Detector],
    paths: Sequence[Path],
    timed: int,
    warmup: int,
    conf: float = TIMED_CONF,
    iou: float = 0.7,
    tick: Tick = lambda done: None,
    meter: Meter | None = None,
    rounds: int = 1,
) -> dict[str, dict[str, Any]]:
    """Time every model on the same images.

    For each image the models run one after the other, and the order rotates: whatever else the machine does, a slow
    moment or a rising temperature meets them all. Reading and decoding the file is not timed. Before that they are
    warmed up, see `warm_up`.

    Work of others only ever adds time, in phases of seconds to minutes. With several rounds all images are therefore
    run again until the `KEPT` quietest rounds are within `TOLERANCE` / 2 of each other, on average over the models, and
    those alone are reported.

    Args:
        detectors: Name -> model.
        paths: Image files; repeated when there are fewer than `timed`.
        timed: Images timed for each model.
        warmup: Images run before the first one is timed, at least; with 0 the models are taken to be warm.
        conf: Score threshold of the suppression.
        iou: Overlap threshold of the suppression.
        tick: Called with the number of images done, at most `warmup` + `rounds` * `timed`.
        meter: Energy counters.
        rounds: Most rounds over the images.

    Returns:
        Name -> ``{"p50", "p90", "p95", "p99", "mean", "preprocess": {"p50", ..}, "inference": .., "nms": ..}`` in
        milliseconds, ``"warmup": {"images", "stable"}``, ``"rounds"`` as from `quietest` with the number ``"timed"``,
        and ``"energy_j"`` an image where `meter` can tell.
    """
    images = read_images(paths, timed)
    warm = warm_up(detectors, images, warmup, conf, iou, tick) if warmup else {}
    taken: list[Floats] = []
    joules: list[Floats] = []
    kept, apart = [0], 0.0
    while len(taken) < rounds and (len(taken) < KEPT or apart > TOLERANCE / 2):
        seconds, spent = _round(detectors, images, timed, (conf, iou), _after(warmup + len(taken) * timed, tick), meter)
        taken.append(seconds)
        joules.append(spent)
        if rounds > 1:
            kept, apart = quietest(np.array([np.median(one.sum(axis=2), axis=0) for one in taken]))
    if len(taken) < rounds:
        tick(warmup + rounds * timed)
    common = {"rounds": {"timed": len(taken), "kept": len(kept), "apart": round(apart, 4)}} if rounds > 1 else {}
    result = {}
    for index, name in enumerate(detectors):
        parts = np.concatenate([taken[one][:, index] for one in kept])
        joule = float(np.mean([joules[one][index] for one in kept])) / timed
        energy = {"energy_j": round(joule, 4)} if joule else {}
        result[name] = {**_summary(1000 * parts), **warm.get(name, {}), **common, **energy}
    return result


def _after(done: int, tick: Tick) -> Tick:
    return lambda number: tick(done + number)


def _round(
    detectors: Mapping[str, Detector],
    images: Sequence[Image],
    timed: int,
    limits: tuple[float, float],
    tick: Tick,
    meter: Meter | None,
) -> tuple[Floats, Floats]:
    """All images once: seconds (timed, models, `PARTS`) and joules (models,)."""
    names = list(detectors)
    seconds, joules = np.zeros((timed, len(names), len(PARTS))), np.zeros(len(names))
    for number, image in enumerate(islice(cycle(images), timed)):
        for name in _turn(names, number):
            index, before = names.index(name), meter.read() if meter else []
            seconds[number, index] = _time_one(detectors[name], [image], *limits)
            joules[index] += meter.joules(before, meter.read()) if meter else 0.0
        tick(number + 1)
    return seconds, joules


def quietest(medians: Floats) -> tuple[list[int], float]:
    """The `KEPT` rounds in which the models took least time, every model counting alike.

    Args:
        medians: Time of an image, (rounds, models).

    Returns:
        Their numbers, quietest first, and how much longer the last of them took than the first, as a share.
    """
    slowness = np.log(medians / medians.min(axis=0)).mean(axis=1)
    kept = np.argsort(slowness, kind="stable")[:KEPT]
    return kept.tolist(), float(np.expm1(slowness[kept[-1]] - slowness[kept[0]]))


def read_images(paths: Sequence[Path], most: int) -> list[Image]:
    """The first `most` images that decode."""
    return list(islice((image for image in map(read_image, paths) if image is not None), most))


def warm_up(
    detectors: Mapping[str, Detector],
    images: Sequence[Image],
    least: int,
    conf: float = TIMED_CONF,
    iou: float = 0.7,
    tick: Tick = lambda done: None,
) -> dict[str, dict[str, Any]]:
    """Run all models in turns until each is stable: what a first run loads, compiles and caches is not timed.

    Every input size is met once first. Stable is: the median of the last `WINDOW` images is within `TOLERANCE` of
    that of the `WINDOW` before.

    Args:
        detectors: Name -> model.
        images: Images to run; repeated.
        least: Fewest images; at `MOST_WARMUP` times as many (and no fewer than needed to judge) it ends anyhow.
        conf: As for `measure`.
        iou: As for `measure`.
        tick: Called with the number of images done, at most `least`.

    Returns:
        Name -> ``{"warmup": {"images", "stable"}}``.
    """
    for detector in detectors.values():
        _meet_sizes(detector, images)
    seconds: dict[str, list[float]] = {name: [] for name in detectors}
    most = MOST_WARMUP * max(least, 2 * WINDOW)
    number = 0
    for number, image in enumerate(islice(cycle(images), most), 1):
        for name in _turn(list(detectors), number):
            seconds[name].append(sum(_time_one(detectors[name], [image], conf, iou)))
        if number <= least:
            tick(number)
        if number >= least and all(map(is_stable, seconds.values())):
            break
    return {name: {"warmup": {"images": number, "stable": is_stable(taken)}} for name, taken in seconds.items()}


def is_stable(taken: Sequence[float]) -> bool:
    """Whether the median of the last `WINDOW` durations is within `TOLERANCE` of that of the `WINDOW` before."""
    if len(taken) < 2 * WINDOW:
        return False
    last, before = (float(np.median(part)) for part in (taken[-WINDOW:], taken[-2 * WINDOW : -WINDOW]))
    return abs(last - before) <= TOLERANCE * before


def sweep(
    detectors: Mapping[str, Detector],
    images: Sequence[Image],
    batches: Sequence[int],
    timed: int,
    conf: float = TIMED_CONF,
    iou: float = 0.7,
    tick: Tick = lambda done: None,
) -> dict[str, dict[int, dict[str, float]]]:
    """Throughput at several batch sizes, the models taking turns as in `measure`.

    A batch is made of images of one size, the most frequent one.

    Args:
        detectors: Name -> model.
        images: Images to run; repeated.
        batches: Images a batch.
        timed: Images timed for each model and batch size, and no fewer than `FEWEST_BATCHES` batches.
        conf: As for `measure`.
        iou: As for `measure`.
        tick: Called with the number of batch sizes done.

    Returns:
        Name -> batch size -> ``{"images_per_second", "batch_ms"}``, from the median batch.
    """
    alike = _of_one_size(images)
    result: dict[str, dict[int, dict[str, float]]] = {name: {} for name in detectors}
    for done, size in enumerate(batches, 1):
        stream, seconds = cycle(alike), {name: list[float]() for name in detectors}
        rounds = max(FEWEST_BATCHES, -(-timed // size))
        for number in range(-2, rounds):  # the first two are a warm-up at this size
            batch = list(islice(stream, size))
            for name in _turn(list(detectors), number):
                taken = sum(_time_one(detectors[name], batch, conf, iou))
                if number >= 0:
                    seconds[name].append(taken)
        for name, taken_s in seconds.items():
            median = float(np.median(taken_s))
            result[name][size] = {"images_per_second": round(size / median, 2), "batch_ms": round(1000 * median, 3)}
        tick(done)
    return result


def sizes_met(detector: Detector, images: Sequence[Image]) -> set[tuple[int, ...]]:
    """Shapes of the batches of one that a detector makes of images."""
    return {tuple(detector.preprocess([image]).shape) for image in images}


def _meet_sizes(detector: Detector, images: Sequence[Image]) -> None:
    met = set()
    for image in images:
        batch = detector.preprocess([image])
        if tuple(batch.shape) not in met:
            met.add(tuple(batch.shape))
            detector.infer(batch)


def _of_one_size(images: Sequence[Image]) -> list[Image]:
    counts = Counter(image.shape for image in images)
    shape = max(counts, key=lambda one: (counts[one], one))
    return [image for image in images if image.shape == shape]


def _turn(names: list[str], number: int) -> list[str]:
    """The names in an order that rotates from one number to the next."""
    first = number % len(names)
    return names[first:] + names[:first]


def _time_one(detector: Detector, images: list[Image], conf: float, iou: float) -> list[float]:
    def now() -> float:
        detector.synchronise()
        return time.perf_counter()

    start = now()
    batch = detector.preprocess(images)
    prepared = now()
    output = detector.infer(batch)
    inferred = now()
    detector.postprocess(output, batch, images, conf, iou)
    return [prepared - start, inferred - prepared, now() - inferred]


def _summary(parts: Floats) -> dict[str, Any]:
    """Percentiles of (N, 3) milliseconds: of each part, and of each image's sum."""
    total = parts.sum(axis=1)
    return {
        **_percentiles(total),
        "mean": round(float(total.mean()), 3),
        **{name: _percentiles(parts[:, i]) for i, name in enumerate(PARTS)},
    }


def _percentiles(values: Floats) -> dict[str, float]:
    return {f"p{q}": round(float(np.percentile(values, q)), 3) for q in QUANTILES}
