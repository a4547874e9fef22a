"""Models times backends: speed, memory, size and accuracy of each, side by side."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kdyolo.config import RuntimeSettings
from kdyolo.datasets.view import View
from kdyolo.engine import environment, export
from kdyolo.engine.backends import MOST_SHAPES, Exported, OpenVino, open_detector
from kdyolo.engine.detector import Detector, Image
from kdyolo.errors import ConfigError, StageError
from kdyolo.evaluation import memory, splits
from kdyolo.evaluation.power import Meter
from kdyolo.evaluation.speed import TIMED_CONF, measure, read_images, sizes_met, sweep
from kdyolo.progress import Progress
from kdyolo.storage import sha256_file

REFERENCE = "torch-fp32"
"""The backend that gains in time and losses in accuracy are counted from."""
WARMUP = 10
ROUNDS = 8
"""Most rounds over the timed images, see `speed.measure`."""


@dataclass(frozen=True)
class Model:
    """One model of a benchmark.

    Attributes:
        name: For the tables.
        checkpoint: Its file.
        imgsz: Long side images are resized to (px).
        class_map: Its class id -> the data set's; None: the same ids.
        foreign: Whether its classes are not the data set's, so that its accuracy means nothing.
    """

    name: str
    checkpoint: Path
    imgsz: int
    class_map: Mapping[int, int] | None = None
    foreign: bool = False


@dataclass(frozen=True)
class Plan:
    """What to measure.

    Attributes:
        models: At least one.
        backends: Keys of `export.BACKENDS`.
        images: Image files to time; repeated when there are fewer than `timed`.
        calibration: Images int8 is calibrated on.
        view: Its test split is what accuracy is measured on; None: accuracy is not measured.
        batches: Images a batch, for the throughput.
        timed: Images timed one at a time.
        runtime: Device and threads.
        patient: Leave out a backend whose export fails instead of stopping.
    """

    models: Sequence[Model]
    backends: Sequence[str]
    images: Sequence[Path]
    calibration: Sequence[Path]
    view: View | None
    batches: Sequence[int]
    timed: int
    runtime: RuntimeSettings
    patient: bool


Key = tuple[str, str]  # names of model and backend


def benchmark(plan: Plan, progress: Progress) -> dict[str, Any]:
    """Measure everything; all models and backends take turns image by image.

    Returns:
        ``rows``, one for each model and backend: ``latency_ms`` as from `speed.measure`, ``images_per_second`` by
        batch size, ``memory_mb``, ``energy_j`` an image, ``mAP50_95`` and its change from `REFERENCE`; and the
        conditions it was measured under.

    Raises:
        KdyoloError: A model cannot be read, a package is missing, an export fails, or no image can be read.
    """
    images = read_images(plan.images, plan.timed)
    if not images:
        raise ConfigError("None of the images can be read.", "Give --images a folder of images.")
    detectors, failed = _open(plan, progress)
    for detector in detectors.values():
        _choose_shapes(detector, images)
    scores = _accuracy(plan, detectors, progress)
    taken = _memory(plan, detectors, progress)
    meter = Meter()
    named = {" ".join(key): detector for key, detector in detectors.items()}
    progress.start("speed", WARMUP + ROUNDS * plan.timed)
    latency = measure(named, plan.images, plan.timed, WARMUP, tick=progress.update, meter=meter, rounds=ROUNDS)
    progress.start("throughput", len(plan.batches))
    rates = sweep(named, images, plan.batches, plan.timed, tick=progress.update)
    progress.finish()
    rows = []
    for (name, backend), detector in detectors.items():
        model = next(model for model in plan.models if model.name == name)
        times = dict(latency[f"{name} {backend}"])
        measured = {
            "energy_j": times.pop("energy_j", None),
            "warmup": times.pop("warmup"),
            "rounds": times.pop("rounds"),
            "latency_ms": times,
            "images_per_second": {str(size): rate for size, rate in rates[f"{name} {backend}"].items()},
            "memory_mb": taken[name, backend],
            "mAP50_95": scores.get((name, backend)),
        }
        rows.append({**_about(model, backend, detector, images), **measured})
    return {"rows": _compared(rows), "failed": failed, **_conditions(plan, images, detectors, meter)}


def _open(plan: Plan, progress: Progress) -> tuple[dict[Key, Detector], list[dict[str, str]]]:
    """Every model in every backend; exports are made, or found, here."""
    opened: dict[Key, Detector] = {}
    failed = []
    progress.start("load and export", len(plan.models) * len(plan.backends))
    for number, (model, backend) in enumerate(((m, b) for m in plan.models for b in plan.backends), 1):
        names = None if plan.view is None or model.foreign else plan.view.names
        class_map = None if names is None else model.class_map
        known = (model.checkpoint, model.imgsz, plan.runtime, names, class_map, plan.calibration)
        try:
            opened[model.name, backend] = open_detector(backend, *known)
        except StageError as error:
            if not plan.patient:
                raise
            failed.append({"model": model.name, "backend": backend, "reason": error.message})
        progress.update(number)
    progress.finish()
    if not opened:
        raise StageError(failed[0]["reason"], "Choose other --backends.")
    return opened, failed


def _choose_shapes(detector: Detector, images: Sequence[Image]) -> None:
    """Where images have more shapes than a backend keeps compiled models, squares it is."""
    if isinstance(detector, OpenVino):
        detector.square = len(sizes_met(detector, images)) > MOST_SHAPES


def _accuracy(plan: Plan, detectors: Mapping[Key, Detector], progress: Progress) -> dict[Key, float | None]:
    if plan.view is None:
        return {}
    images = plan.view.splits["test"]
    own = {model.name for model in plan.models if not model.foreign}
    scores = {}
    for (name, backend), detector in detectors.items():
        if name in own:
            score = splits.score(detector, images, plan.view.names, progress, f"{name} {backend} on test").mAP50_95
            scores[name, backend] = None if score is None else round(score, 6)
    return scores


def _memory(plan: Plan, detectors: Mapping[Key, Detector], progress: Progress) -> dict[Key, float | None]:
    progress.start("memory", len(detectors))
    taken = {}
    models = {model.name: model for model in plan.models}
    for number, (name, backend) in enumerate(detectors, 1):
        model = models[name]
        known = (model.checkpoint, model.imgsz, plan.runtime, plan.images, plan.calibration)
        taken[name, backend] = memory.peak_mb(backend, *known)
        progress.update(number)
    progress.finish()
    return taken


def _about(model: Model, backend: str, detector: Detector, images: Sequence[Image]) -> dict[str, Any]:
    exported = detector.export if isinstance(detector, Exported) else None
    sizes = sorted({(shape[3], shape[2]) for shape in sizes_met(detector, images)})
    return {
        "model": model.name,
        "backend": backend,
        "device": str(detector.device),
        "precision": detector.precision,
        "threads": detector.threads,
        "imgsz": model.imgsz,
        "inputs": [f"{width}x{height}" for width, height in sizes],
        "params": detector.params,
        "gflops": detector.gflops,
        "size_mb": exported.size_mb if exported else export.size_mb(model.checkpoint),
        "checkpoint": str(model.checkpoint),
        "sha256": sha256_file(model.checkpoint),
        "export": None if exported is None else {"path": str(exported.path), "reused": exported.reused},
    }


def _compared(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """With what each row gains in time and loses in accuracy against the reference of its model."""
    references = {row["model"]: row for row in rows if row["backend"] == REFERENCE}
    for row in rows:
        reference = references.get(row["model"])
        row["faster"] = row["mAP50_95_change"] = None
        if reference is not None:
            row["faster"] = round(reference["latency_ms"]["p50"] / row["latency_ms"]["p50"], 3)
            if None not in (row["mAP50_95"], reference["mAP50_95"]):
                row["mAP50_95_change"] = round(row["mAP50_95"] - reference["mAP50_95"], 6)
    return rows


def _conditions(plan: Plan, images: Sequence[Image], detectors: Mapping[Key, Detector], meter: Meter) -> dict[str, Any]:
    needed = {name for _, backend in detectors for name in export.versions(export.BACKENDS[backend]).items()}
    test = [] if plan.view is None else plan.view.splits["test"]
    return {
        "timed_images": plan.timed,
        "different_images": len(images),
        "batches": list(plan.batches),
        "timed_conf": TIMED_CONF,
        "timed_iou": splits.MAP_IOU,
        "accuracy": f"test split, {len(test)} images" if test else "not measured: no run was given",
        "calibration_images": len(export.sample(plan.calibration)),
        "energy": f"not measured: {meter.fault}" if meter.fault else "RAPL, whole processor packages",
        "processor": environment.processor_name(),
        "cores": environment.physical_cores(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "versions": dict(sorted(needed)),
    }
