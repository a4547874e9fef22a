"""Stages `student`, `baseline` and `longer`: the small model on the teacher's labels, and its controls without it."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from kdyolo.config import Config, StudentSettings
from kdyolo.errors import ConfigError, StageError
from kdyolo.stages.base import Stage, StageContext, StageResult, fingerprint
from kdyolo.stages.preflight import teacher_warnings
from kdyolo.stages.teaching import distillation, lessons_of
from kdyolo.stages.training import Distil, Lesson, check_training, repeat, train_on
from kdyolo.storage import RunDir

if TYPE_CHECKING:
    from kdyolo.distill.registry import Recipe


def _inputs(config: Config) -> dict[str, str]:
    weights = config.student.weights
    return {} if weights is None else {"weights": fingerprint(weights, "student.weights")}


def _recipe(config: Config) -> dict[str, Any]:
    student = config.student.model_dump(mode="json", exclude={"weights", "labels"})
    seeds = {"more_seeds": list(config.more_seeds)} if config.more_seeds else {}
    return {"seed": config.seed, **seeds, "precision": config.runtime.precision, "student": student}


def _student_settings(config: Config) -> dict[str, Any]:
    distill = config.distilling.model_dump(mode="json") if config.distill.scheme != "labels" else {"scheme": "labels"}
    return {**_recipe(config), "labels": config.student_labels, "distill": distill}


def _baseline_settings(config: Config) -> dict[str, Any]:
    # Of the student's labels only one thing reaches the control: whether it must match an epoch that includes the pool.
    return {**_recipe(config), "pool": config.student_labels != "gt"}


def _longer_settings(config: Config) -> dict[str, Any]:
    return {**_student_settings(config), "synthetic": [config.pseudo.synthetic, config.pseudo.synthetic_steps]}


def _check(run: RunDir, config: Config) -> None:
    check_training(config, config.student)


def _check_student(run: RunDir, config: Config) -> None:
    from kdyolo.distill.registry import parse

    recipe = parse(config.distilling.method)
    _check_scheme(config, recipe)
    _check(run, config)
    if config.distill.scheme != "labels" and (config.distill.scheme, config.distill.self_teacher) != ("self", "deep"):
        _check_classes(run, config, recipe)
    if config.distill.scheme == "cached":
        _check_soft_labels(run)


def _check_scheme(config: Config, recipe: Recipe) -> None:
    scheme = config.distill.scheme
    if scheme == "mutual" and not config.student.from_scratch:
        raise ConfigError(
            "Both students of the mutual scheme would start from the same weights, so neither has much to tell the "
            "other.",
            "Add --from-scratch (-S student.from_scratch=true): then each starts from random weights of its own.",
        )
    if scheme == "cached" and not recipe.replayable:
        wrong = [info.name for info in recipe.infos if not info.replayable]
        raise ConfigError(
            f"The method '{wrong[0]}' needs the teacher at every step; the cached scheme has only its answers.",
            "Use -S distill.scheme=online-teacher, or a response method.",
        )
    if scheme == "online-teacher" and config.teacher.more and any(i.family != "response" for i in recipe.infos):
        wrong = [info.name for info in recipe.infos if info.family != "response"]
        raise ConfigError(
            f"The method '{wrong[0]}' compares neck maps, and those of several teachers have no mean.",
            "Use a response method, or a single teacher.",
        )
    if scheme == "cached" and config.pseudo.augment:
        raise ConfigError(
            "Test-time augmentation gives no soft labels, which the cached scheme needs.",
            "Take one back: -S pseudo.augment=false, or -S distill.scheme=labels.",
        )


def _check_soft_labels(run: RunDir) -> None:
    from kdyolo.distill.soft_labels import FILE, require_version

    file = run.stage("pseudo") / FILE
    if run.finished("pseudo") and file.is_file():
        require_version(file)


def _check_classes(run: RunDir, config: Config, recipe: Recipe) -> None:
    """Refuse a method that says nothing about so few classes, as far as is known which these are."""
    from kdyolo.distill.registry import require_sense
    from kdyolo.pseudo import team

    split = run.finished("split")
    if split is None or all(info.min_classes == 1 for info in recipe.infos):
        return
    known = len(split.facts["classes"])
    if config.distill.scheme in ("cached", "online-teacher") and run.finished("teacher"):
        known = int(team.known(run.stage("teacher"), known).sum())
    require_sense(recipe, known)


def train_student(context: StageContext) -> StageResult:
    """Train the student on the labels the settings name; the record proves which label files were read.

    Raises:
        StageError: The loader did not read exactly the labels it was given.
        Interrupted: Stopped by the user; finished epochs are kept.
    """
    labels, scheme = context.config.student_labels, context.config.distill.scheme
    lessons = lessons_of(context, labels)
    warnings = [] if labels == "gt" and scheme == "labels" else teacher_warnings(context)
    for warning in warnings:
        context.progress.warn(warning)
    distil = functools.partial(distillation, context, lessons)
    return _train(context, "student", lessons, labels, distil)


def train_baseline(context: StageContext) -> StageResult:
    """Train the control: the student's model, start, seed, images and number of steps, on ground truth alone.

    Where the student also learns from unlabelled images, the control sees its own images again as often as it takes
    to make its epochs equally long.
    """
    length = len(lessons_of(context, context.config.student_labels))
    return _train(context, "baseline", repeat(lessons_of(context, "gt"), length, context.config.seed), "gt")


def train_longer(context: StageContext) -> StageResult:
    """Train the control for as many epochs as have the computation of the student's training and its distillation.

    See `kdyolo.distill.compute`; what it took to train the teacher is not counted.
    """
    from kdyolo.distill.compute import relative_compute
    from kdyolo.engine import checkpoints
    from kdyolo.pseudo import team

    config, run = context.config, context.run
    pseudo = run.require("pseudo")
    lessons = len(lessons_of(context, config.student_labels))
    models = [run.stage("baseline") / "best.pt", *(path for path, _ in team.members(run.stage("teacher")))]
    student, *teachers = (checkpoints.gflops(checkpoints.load(path)[0]) for path in models)
    if student is None or None in teachers:
        raise StageError(
            "How much the student and its teacher compute cannot be counted.",
            "Take it back with --no-equal-compute: the other control stays.",
        )
    asked = sum(pseudo.facts[name] for name in ("labelled", "background"))
    factor = relative_compute(config, student, sum(t for t in teachers if t), lessons, asked)
    epochs = max(config.student.epochs, round(factor * config.student.epochs))
    context.progress.note(f"The distilled student computes {factor:.2f} times as much: {epochs} epochs.")
    settings = config.student.model_copy(update={"epochs": epochs})
    taught = repeat(lessons_of(context, "gt"), lessons, config.seed)
    result = _train(context, "longer", taught, "gt", settings=settings)
    return StageResult(result.outputs, {**result.facts, "relative_compute": round(factor, 3)}, result.summary)


def _train(
    context: StageContext,
    stage: str,
    lessons: Sequence[Lesson],
    labels: str,
    distil: Distil | None = None,
    settings: StudentSettings | None = None,
) -> StageResult:
    config = context.config
    facts, outputs = train_on(context, stage, settings or config.student, lessons, distil, config.more_seeds)
    score = f"validation mAP50-95 {facts['val_mAP50_95']:.3f}"
    summary = f"{facts['model']} on {labels} labels, {facts['epochs']} epochs, {score}"
    return StageResult(outputs, {"labels": labels, **facts}, summary)


STAGE = Stage(
    name="student",
    command="train-student",
    needs=("split", "pseudo"),
    settings=_student_settings,
    inputs=_inputs,
    versions=("ultralytics", "torch"),
    work=train_student,
    sections=("student", "distill", "runtime"),
    check=_check_student,
)

BASELINE = Stage(
    name="baseline",
    command="train-student --baseline",
    needs=("split", "pseudo"),
    settings=_baseline_settings,
    inputs=_inputs,
    versions=("ultralytics", "torch"),
    work=train_baseline,
    sections=("student", "runtime"),
    check=_check,
)

LONGER = Stage(
    name="longer",
    command="run --equal-compute --resume",
    needs=("split", "teacher", "pseudo", "baseline"),
    settings=_longer_settings,
    inputs=_inputs,
    versions=("ultralytics", "torch"),
    work=train_longer,
    sections=("student", "runtime"),
    check=_check,
)
