"""What can be known before a distillation: whether it can work, whether it is worth it, and what it will take."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kdyolo.config import MODELS, Config
from kdyolo.errors import ConfigError, DatasetError
from kdyolo.stages.base import ASSISTANT, StageContext
from kdyolo.stages.teaching import distillation, lessons_of
from kdyolo.stages.training import job_of, lay_out, listening
from kdyolo.storage import RunDir, StageRecord

MILLIONS = {"yolov5n": 2.5, "yolov5s": 9.1, "yolov5m": 25.1, "yolov5l": 53.2, "yolov5x": 97.2}
"""Parameters of each size, in millions."""
MAX_GAP = 15
"""Parameters of a teacher over those of its student from which an assistant between them is advised: yolov5s learned
more from m than from l in every source that measured it, and no production model goes from x to n in one step."""
LEAD = 0.005
"""mAP50-95 by which a teacher must be better than the student's control to have something to teach."""
_OWN = ("self", "mutual")
_BOXES = 2.0  # that a teacher finds for each label, down to the lowest score that is stored: bccd 2.0, cards 1.4
_BOX_BYTES, _CLASS_BYTES, _IMAGE_BYTES = 36, 2, 350  # of `soft_labels`: corners, spreads and score; names and hashes


def teacher_warnings(context: StageContext) -> list[str]:
    """Why this teacher may have little to teach this student, in sentences; the teacher's labels are there already."""
    return _warnings(context, _lead(context))


def _warnings(context: StageContext, lead: float | None) -> list[str]:
    config, run = context.config, context.run
    if config.distill.scheme in _OWN:
        return []
    warnings = []
    teacher, student = run.require("teacher").facts.get("model", "unnamed"), config.student.model
    sizes = _sizes(run)
    gap = max(sizes) / MILLIONS[student]
    if gap > MAX_GAP:
        between = [name for name in MODELS if 1 < MILLIONS[name] / MILLIONS[student] <= MAX_GAP]
        largest = max(between, key=lambda name: MILLIONS[name], default=None)
        advice = f"; an assistant between them may teach more: --assistant {largest}" if largest else ""
        whole = "The teacher" if len(sizes) == 1 else "The largest of the teachers"
        warnings.append(f"{whole} ({teacher}) has {gap:.0f} times the parameters of its student ({student}){advice}.")
    if config.distill.scheme != "labels" and config.student_labels == "pseudo":
        warnings.append(
            "The student learns the teacher's labels in place of the data set's own; its answers do not make up for "
            "that: --labels gt+pool keeps the truth where there is one."
        )
    if run.finished("baseline") is None and not _is_assistant(run):
        warnings.append(
            f"Nothing tells whether the teacher is better than a {student} that learned without it, for there is no "
            f"control yet: `kdyolo train-student --baseline --run {run.shown}` first; `kdyolo run` does both in order."
        )
    if lead is not None and lead <= LEAD:
        side = "above" if lead > 0 else "below"
        warnings.append(
            f"On validation the teacher is {abs(100 * lead):.1f} mAP50-95 points {side} the control, a {student} that "
            "learned without it: there is little to learn from it."
        )
    return warnings


def _sizes(run: RunDir) -> list[float]:
    """Parameters (millions) of each of the teacher's models, counted: a checkpoint need not say what it is."""
    from kdyolo.engine import checkpoints
    from kdyolo.pseudo import team

    models = (checkpoints.load(path)[0] for path, _ in team.members(run.stage("teacher")))
    return [sum(parameter.numel() for parameter in model.parameters()) / 1e6 for model in models]


def _is_assistant(run: RunDir) -> bool:
    return run.root.name == ASSISTANT and RunDir(run.root.parent).config.is_file()


def _lead(context: StageContext) -> float | None:
    """Teacher minus control in mAP50-95 on validation, where both are known; a student of its own has no teacher."""
    if context.config.distill.scheme in _OWN:
        return None
    control = context.run.finished("baseline")
    teacher = context.run.require("pseudo").facts.get("teacher_val", {}).get("mAP50_95")
    if control is None or teacher is None:
        return None
    score = _on_validation(context, control)
    return None if score is None else float(teacher) - score


def _on_validation(context: StageContext, control: StageRecord) -> float | None:
    """mAP50-95 of the control, measured as that of the teacher; ultralytics' own validation says a point less."""
    from kdyolo.datasets.view import load_view
    from kdyolo.engine.detector import Detector
    from kdyolo.evaluation.splits import score

    config, run = context.config, context.run
    view = load_view(run.stage("split"))
    detector = Detector(run.stage("baseline") / "best.pt", control.facts["imgsz"], config.runtime, view.names)
    images, title = view.splits["val"], "control on validation"
    return score(detector, images, view.names, context.progress, title, iou=config.pseudo.iou).mAP50_95


def preflight(context: StageContext) -> dict[str, Any]:
    """Take one real batch through student and teacher; nothing is left behind.

    Returns:
        ``scheme``, ``method``, ``checks`` (each ``check``, ``level`` ok or warning, ``told``) and ``forecast``: see
        `_forecast`.

    Raises:
        ConfigError: There is no distillation to look at: the scheme is ``labels``.
        DatasetError: The teacher has not labelled yet; for the cached scheme the hint says how much it will store.
        StageError: See `distill.preflight.look`.
        KdyoloError: What the student's training itself would stop at.
    """
    settings = context.config.distilling
    if settings.scheme == "labels":
        raise ConfigError(
            "The scheme 'labels' has no distillation loss to look at.",
            "Choose one: --scheme cached, online-teacher, self or mutual.",
        )
    _require_labels(context)
    with tempfile.TemporaryDirectory(prefix="kdyolo-preflight-") as temporary:
        found, grid = _look(context, Path(temporary))
    scheme = f"self ({settings.self_teacher})" if settings.scheme == "self" else settings.scheme
    return {
        "scheme": scheme,
        "method": "attention" if scheme == "self (deep)" else settings.method,
        "checks": [*_of_teacher(context, grid), *_of_batch(found)],
        "forecast": _forecast(context, found),
    }


def _require_labels(context: StageContext) -> None:
    try:
        context.run.require("pseudo")
    except DatasetError as error:
        if context.config.distill.scheme == "cached" and context.run.finished("split"):
            error.hint += f" It will store about {_cache_mb(context):.2g} MB of predictions."
        raise


def _of_teacher(context: StageContext, grid: str) -> list[dict[str, str]]:
    scheme = context.config.distill.scheme
    if scheme in _OWN:
        return []
    checks = [_check("classes", _classes(context))]
    if scheme == "online-teacher":  # what is stored are boxes, which need no grid
        checks.append(_check("grid", f"{grid}, of teacher and student alike"))
    lead = _lead(context)
    warnings = _warnings(context, lead)
    if not warnings:
        told = "not measured against the control" if lead is None else f"{100 * lead:.1f} points above the control"
        checks.append(_check("teacher", f"{told} (mAP50-95 on validation)"))
    return checks + [_check("teacher", told, "warning") for told in warnings]


def _of_batch(found: Mapping[str, float]) -> list[dict[str, str]]:
    reached = f"reaches {100 * found['reached']:.0f} % of the student's weights"
    return [
        _check("loss", f"{found['kd_loss']:.4g} an image in the first batch, weight 1"),
        _check("gradient", f"{reached}, {found['gradient_ratio']:.2f} times as long as that of the labels"),
    ]


def _check(name: str, told: str, level: str = "ok") -> dict[str, str]:
    return {"check": name, "level": level, "told": told}


def _forecast(context: StageContext, found: Mapping[str, float]) -> dict[str, float]:
    """What the student will take.

    Returns:
        ``step_seconds`` and ``plain_step_seconds``, as measured; ``seconds`` of all trainings, those of further seeds
        and of generations before the last one included; ``memory_mb`` of one step; ``cache_mb``, which the stored
        predictions take, 0 where none are heard.
    """
    config, seconds = context.config, found["seconds"]
    if _born_again(config):  # the first generation has no teacher
        seconds = config.distill.generations * seconds + found["plain_seconds"]
    forecast = {name: found[name] for name in ("step_seconds", "plain_step_seconds", "memory_mb")}
    forecast["seconds"] = float(f"{(1 + len(config.more_seeds)) * seconds:.4g}")
    forecast["cache_mb"] = round(_cache_mb(context), 2) if config.distill.scheme == "cached" else 0.0
    return forecast


def _cache_mb(context: StageContext) -> float:
    """Size of the stored predictions (10^6 bytes): of the file, and before there is one a forecast.

    For that, the teacher is taken to find in every image, those of the pool included, twice as many boxes as a training
    image has labels. A box takes 36 bytes and 2 for each class, an image 350.
    """
    from kdyolo.datasets.images import find_images
    from kdyolo.datasets.view import load_view
    from kdyolo.distill.soft_labels import FILE

    config, run = context.config, context.run
    file = run.stage("pseudo") / FILE
    if run.record("pseudo") is not None and file.is_file():
        return file.stat().st_size / 1e6
    view = load_view(run.stage("split"))
    labels = [len(image.label.read_text(encoding="utf-8").splitlines()) for image in view.splits["train"]]
    images = len(labels) + len(view.splits["pool"]) + config.pseudo.synthetic
    images += len(find_images(config.pseudo.images)) if config.pseudo.images else 0
    boxes = _BOXES * sum(labels) / len(labels)
    return images * (_IMAGE_BYTES + boxes * (_BOX_BYTES + _CLASS_BYTES * len(view.names))) / 1e6


def _born_again(config: Config) -> bool:
    return (config.distill.scheme, config.distill.self_teacher) == ("self", "born-again")


def _classes(context: StageContext) -> str:
    from kdyolo.datasets.view import load_view
    from kdyolo.pseudo import team

    names = load_view(context.run.stage("split")).names
    known = team.known(context.run.stage("teacher"), len(names))
    unknown = [name for name, is_known in zip(names, known, strict=True) if not is_known]
    told = f"{len(names) - len(unknown)} of {len(names)} matched by name"
    return f"{told}; unknown to the teacher: {', '.join(unknown)}" if unknown else told


def _look(context: StageContext, folder: Path) -> tuple[dict[str, float], str]:
    """What the first batch showed, and the student's grid in words."""
    from kdyolo.distill.plan import Distillation
    from kdyolo.engine import checkpoints
    from kdyolo.engine.training import trial

    config = context.config
    lessons = lessons_of(context, config.student_labels)
    images, _ = lay_out(folder / "data", lessons)
    job = job_of(context, config.student, folder / "data" / "images" / "train", folder, "preflight")
    job = dataclasses.replace(job, log=folder / "log.txt")
    if _born_again(config):
        # The generation before is not there yet; one that has learnt nothing costs as much.
        checkpoints.save_untrained(config.student.model, job.class_names, config.seed + 1, folder / "before.pt")
        told = Distillation(config.distilling, teachers=((folder / "before.pt", {}),))
    else:
        heard = distillation(context, lessons, images, config.seed, "")
        assert heard is not None  # the scheme is not `labels`
        told = heard
    from kdyolo.distill.preflight import look

    with trial(job, context.progress, listening(told)) as trainer:
        head = trainer.model.model[-1]
        grid = f"cells of {', '.join(f'{stride:g}' for stride in head.stride.tolist())} px, {head.reg_max} bins a side"
        return look(trainer).to_json(), grid
