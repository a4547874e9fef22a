"""What can be known before a distillation: whether it can work, whether it is worth it, and what it will take."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path
from typing import Any

from kdyolo.config import MODELS
from kdyolo.errors import ConfigError
from kdyolo.stages.base import StageContext
from kdyolo.stages.teaching import distillation, lessons_of
from kdyolo.stages.training import job_of, lay_out, listening
from kdyolo.storage import StageRecord

MILLIONS = {"yolov5n": 2.5, "yolov5s": 9.1, "yolov5m": 25.1, "yolov5l": 53.2, "yolov5x": 97.2}
"""Parameters of each size, in millions."""
MAX_GAP = 15
"""Parameters of a teacher over those of its student from which an assistant between them is advised: yolov5s learned
more from m than from l in every source that measured it, and no production model goes from x to n in one step."""
LEAD = 0.005
"""mAP50-95 by which a teacher must be better than the student's control to have something to teach."""
_OWN = ("self", "mutual")


def teacher_warnings(context: StageContext) -> list[str]:
    """Why this teacher may have little to teach this student, in sentences; the teacher's labels are there already."""
    return _warnings(context, _lead(context))


def _warnings(context: StageContext, lead: float | None) -> list[str]:
    config, run = context.config, context.run
    if config.distill.scheme in _OWN:
        return []
    warnings = []
    teacher, student = run.require("teacher").facts.get("model", ""), config.student.model
    gap = MILLIONS.get(teacher, 0) / MILLIONS[student]
    if gap > MAX_GAP:
        between = [name for name in MODELS if 1 < MILLIONS[name] / MILLIONS[student] <= MAX_GAP]
        largest = max(between, key=lambda name: MILLIONS[name], default=None)
        advice = f"; an assistant between them may teach more: --assistant {largest}" if largest else ""
        warnings.append(
            f"The teacher ({teacher}) has {gap:.0f} times the parameters of its student ({student}){advice}."
        )
    if config.distill.scheme != "labels" and config.student_labels == "pseudo":
        warnings.append(
            "The student learns the teacher's labels in place of the data set's own; its answers do not make up for "
            "that: --labels gt+pool keeps the truth where there is one."
        )
    if lead is not None and lead <= LEAD:
        side = "above" if lead > 0 else "below"
        warnings.append(
            f"On validation the teacher is {abs(100 * lead):.1f} mAP50-95 points {side} the control, a {student} that "
            "learned without it: there is little to learn from it."
        )
    return warnings


def _lead(context: StageContext) -> float | None:
    """Teacher minus control in mAP50-95 on validation, where both are known; a student of its own has no teacher."""
    if context.config.distill.scheme in _OWN:
        return None
    control = context.run.record("baseline")
    teacher = context.run.require("pseudo").facts.get("teacher_val", {}).get("mAP50_95")
    if control is None or control.status != "done" or teacher is None:
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
        ``scheme``, ``method``, ``checks`` (each ``check``, ``level`` ok or warning, ``told``) and ``forecast`` (seconds
        a step and in all, memory and cache in MB).

    Raises:
        ConfigError: There is no distillation to look at: the scheme is ``labels``.
        StageError: See `distill.preflight.look`.
        KdyoloError: What the student's training itself would stop at.
    """
    settings = context.config.distill
    if settings.scheme == "labels":
        raise ConfigError(
            "The scheme 'labels' has no distillation loss to look at.",
            "Choose one: --scheme cached, online-teacher, self or mutual.",
        )
    context.run.require("pseudo")
    with tempfile.TemporaryDirectory(prefix="kdyolo-preflight-") as temporary:
        found = _look(context, Path(temporary))
    checks = [_check("classes", _classes(context))] if settings.scheme not in _OWN else []
    lead = _lead(context)
    warnings = _warnings(context, lead)
    checks += [_check("teacher", told, "warning") for told in warnings]
    if not warnings and settings.scheme not in _OWN:
        told = "not compared with a control yet" if lead is None else f"{100 * lead:.1f} points above the control"
        checks.append(_check("teacher", f"{told} (mAP50-95 on validation)"))
    checks.append(_check("loss", f"{found['kd_loss']:.4g} an image in the first batch, weight 1"))
    told = (
        f"reaches {100 * found['reached']:.0f} % of the student's weights, {found['gradient_ratio']:.2f} times as long"
    )
    checks.append(_check("gradient", f"{told} as that of the labels"))
    cache = context.run.stage("pseudo") / "soft_labels.npz"
    cached = settings.scheme == "cached" and cache.is_file()
    forecast = {name: found[name] for name in ("step_seconds", "plain_step_seconds", "seconds", "memory_mb")}
    forecast["cache_mb"] = round(cache.stat().st_size / 1e6, 2) if cached else 0.0
    scheme = f"self ({settings.self_teacher})" if settings.scheme == "self" else settings.scheme
    method = "attention" if scheme == "self (deep)" else settings.method
    return {"scheme": scheme, "method": method, "checks": checks, "forecast": forecast}


def _check(name: str, told: str, level: str = "ok") -> dict[str, str]:
    return {"check": name, "level": level, "told": told}


def _classes(context: StageContext) -> str:
    from kdyolo.datasets.view import load_view
    from kdyolo.pseudo import team

    names = load_view(context.run.stage("split")).names
    known = team.known(context.run.stage("teacher"), len(names))
    unknown = [name for name, is_known in zip(names, known, strict=True) if not is_known]
    told = f"{len(names) - len(unknown)} of {len(names)} matched by name"
    return f"{told}; unknown to the teacher: {', '.join(unknown)}" if unknown else told


def _look(context: StageContext, folder: Path) -> dict[str, float]:
    from kdyolo.distill.plan import Distillation
    from kdyolo.engine import checkpoints
    from kdyolo.engine.training import trial

    config = context.config
    lessons = lessons_of(context, config.student_labels)
    images, _ = lay_out(folder / "data", lessons)
    job = job_of(context, config.student, folder / "data" / "images" / "train", folder, "preflight")
    job = dataclasses.replace(job, log=folder / "log.txt")
    if (config.distill.scheme, config.distill.self_teacher) == ("self", "born-again"):
        # The generation before is not there yet; one that has learnt nothing costs as much.
        checkpoints.save_untrained(config.student.model, job.class_names, config.seed + 1, folder / "before.pt")
        told = Distillation(config.distill, teachers=((folder / "before.pt", {}),))
    else:
        told = distillation(context, lessons, images, config.seed, "")
    from kdyolo.distill.preflight import look

    with trial(job, context.progress, listening(told)) as trainer:
        found: dict[str, float] = look(trainer).to_json()
    return found
