"""Stage `teacher`: train the large model, or adopt one trained elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kdyolo.config import Config
from kdyolo.errors import ConfigError
from kdyolo.stages.base import Stage, StageContext, StageResult
from kdyolo.storage import sha256_file, write_json


def _settings(config: Config) -> dict[str, Any]:
    teacher = config.teacher
    if teacher.checkpoint:
        return {"imgsz": teacher.imgsz, "map_classes": teacher.map_classes}
    recipe = teacher.model_dump(mode="json", exclude={"checkpoint", "map_classes", "weights"})
    return {"seed": config.seed, "precision": config.runtime.precision, "teacher": recipe}


def _inputs(config: Config) -> dict[str, str]:
    teacher = config.teacher
    given = {"checkpoint": teacher.checkpoint} if teacher.checkpoint else {"weights": teacher.weights}
    return {name: _fingerprint(path) for name, path in given.items() if path is not None}


def _fingerprint(path: Path) -> str:
    if not path.is_file():
        raise ConfigError(f"There is no file {path}.", "Check the path of the checkpoint.")
    return sha256_file(path)


def train_teacher(context: StageContext) -> StageResult:
    """Leave ``best.pt`` and, unless it was adopted, ``results.csv`` with one row an epoch.

    Raises:
        ConfigError: An adopted teacher's classes are not the data set's.
        EnvironmentFault: The official weights cannot be fetched.
        Interrupted: Stopped by the user; finished epochs are kept.
    """
    return _adopt(context) if context.config.teacher.checkpoint else _train(context)


def _train(context: StageContext) -> StageResult:
    from kdyolo.datasets.view import load_view, verify_view
    from kdyolo.engine import checkpoints
    from kdyolo.engine.job import TrainJob
    from kdyolo.engine.training import train_to_end

    config, folder = context.config, context.run.stage("teacher")
    view = load_view(context.run.stage("split"))
    verify_view(view, ("train", "val"))
    job = TrainJob(
        folder=folder,
        train=view.folder / "images" / "train",
        val=view.folder / "images" / "val",
        class_names=view.names,
        settings=config.teacher,
        start=checkpoints.starting_point(config.teacher, config.runtime.offline, "teacher"),
        seed=config.seed,
        runtime=config.runtime,
        title=f"teacher {config.teacher.model}",
        log=context.run.log,
    )
    training = train_to_end(job, context.progress)
    facts = {
        "model": config.teacher.model,
        "labels": "gt",
        "imgsz": config.teacher.imgsz,
        **training,
    }
    classes = _write_classes(folder, {i: i for i in range(len(view.names))})
    summary = f"{facts['model']}, {facts['epochs']} epochs, validation mAP50-95 {facts['val_mAP50_95']:.3f}"
    return StageResult([folder / "best.pt", folder / "results.csv", classes], facts, summary)


def _adopt(context: StageContext) -> StageResult:
    from kdyolo.datasets.view import load_view
    from kdyolo.engine import checkpoints

    settings, folder = context.config.teacher, context.run.stage("teacher")
    assert settings.checkpoint is not None
    model, saved = checkpoints.load(settings.checkpoint)
    theirs = [model.names[i] for i in range(len(model.names))]
    class_map = match_classes(theirs, load_view(context.run.stage("split")).names, settings.map_classes)
    folder.mkdir(parents=True, exist_ok=True)
    checkpoints.save_stripped(settings.checkpoint, folder / "best.pt")
    classes = _write_classes(folder, class_map)
    trained = saved.get("train_args") or {}
    if trained.get("imgsz") not in (None, settings.imgsz):
        context.progress.warn(
            f"This teacher was trained at {trained['imgsz']} px but will be used at {settings.imgsz} px "
            f"(--imgsz {trained['imgsz']} changes that)."
        )
    facts = {
        "model": checkpoints.describe_architecture(model),
        "adopted_from": str(settings.checkpoint),
        "adopted_sha256": sha256_file(settings.checkpoint),
        "imgsz": settings.imgsz,
        "epochs": trained.get("epochs"),
    }
    return StageResult([folder / "best.pt", classes], facts, f"adopted {settings.checkpoint.name} ({facts['model']})")


def _write_classes(folder: Path, class_map: Mapping[int, int]) -> Path:
    """Write which class id of the teacher is which of the data set; what depends on it is redone when it changes."""
    write_json(folder / "classes.json", {str(theirs): ours for theirs, ours in class_map.items()})
    return folder / "classes.json"


def match_classes(theirs: Sequence[str], ours: Sequence[str], given: Mapping[str, str] | None) -> dict[int, int]:
    """Teacher class id -> data set class id.

    Without `given` the two lists must be equal, order included: a teacher whose classes are merely in another order
    was trained on other data, and that is worth a person's look.

    Args:
        theirs: The teacher's class names in order.
        ours: The data set's class names in order.
        given: Teacher name -> data set name; teacher classes it leaves out are not used.

    Raises:
        ConfigError: They differ and no map is given, or the map is empty or names unknown classes.
    """
    if given is None:
        if list(theirs) != list(ours):
            example = ",".join(f"{name}={name if name in ours else '?'}" for name in theirs[:20])
            raise ConfigError(
                f"The teacher's classes ({', '.join(theirs[:20])}) are not the data set's ({', '.join(ours[:20])}), "
                "or not in that order.",
                f"Say which is which: --map-classes '{example}'",
            )
        return {i: i for i in range(len(ours))}
    if not given:
        raise ConfigError("The class map is empty.", "Map at least one class, or leave it out.")
    unknown = [name for name in given if name not in theirs] + [name for name in given.values() if name not in ours]
    if unknown:
        raise ConfigError(
            f"The class map names '{unknown[0]}', which neither side knows there.",
            f"Teacher: {', '.join(theirs[:20])}. Data set: {', '.join(ours[:20])}.",
        )
    return {theirs.index(a): list(ours).index(b) for a, b in given.items()}


STAGE = Stage(
    name="teacher",
    command="train-teacher",
    needs=("split",),
    settings=_settings,
    inputs=_inputs,
    versions=("ultralytics", "torch"),
    work=train_teacher,
)
