"""Stage `teacher`: train the large model, or adopt one trained elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdyolo.config import Config, TeacherSettings
from kdyolo.errors import ConfigError, DatasetError
from kdyolo.stages.base import Stage, StageContext, StageResult, fingerprint
from kdyolo.stages.training import Lesson, check_training, repeat, train_model, train_on
from kdyolo.storage import RunDir, sha256_file, write_json, write_text

if TYPE_CHECKING:
    from kdyolo.datasets.view import View

TRAINED_ON = "trained_on.csv"


_OF_ADOPTED = {"checkpoint", "more", "map_classes", "trained_on", "allow_seen_test"}


def _settings(config: Config) -> dict[str, Any]:
    teacher = config.teacher
    if teacher.checkpoint:
        used = {"imgsz", "map_classes", "allow_seen_test"}
        return {
            **teacher.model_dump(mode="json", include=used),
            **({"team": len(teacher.more)} if teacher.more else {}),
        }
    recipe = teacher.model_dump(mode="json", exclude=_OF_ADOPTED | {"weights"})
    return {"seed": config.seed, "precision": config.runtime.precision, "teacher": recipe}


def _inputs(config: Config) -> dict[str, str]:
    teacher = config.teacher
    if teacher.checkpoint:
        given = {"checkpoint": teacher.checkpoint, "trained_on": _trained_on(teacher)}
        for number, path in enumerate(teacher.more, 2):
            given |= {f"more {number}": path, f"trained_on {number}": _beside(path)}
    else:
        given = {"weights": teacher.weights}
    return {name: fingerprint(path, f"teacher.{name}") for name, path in given.items() if path is not None}


def _trained_on(teacher: TeacherSettings) -> Path | None:
    """The list of images an adopted teacher was trained on: named, or beside its checkpoint."""
    if teacher.trained_on is not None or teacher.checkpoint is None:
        return teacher.trained_on
    return _beside(teacher.checkpoint)


def _beside(checkpoint: Path) -> Path | None:
    beside = checkpoint.with_name(TRAINED_ON)
    return beside if beside.is_file() else None


def _check(run: RunDir, config: Config) -> None:
    if not config.teacher.checkpoint:
        check_training(config, config.teacher)


def train_teacher(context: StageContext) -> StageResult:
    """Leave ``best.pt`` and, unless it was adopted, ``results.csv`` with one row an epoch.

    Raises:
        ConfigError: An adopted teacher's classes are not the data set's.
        DatasetError: An adopted teacher was trained on test images (`force` goes on).
        EnvironmentFault: The official weights cannot be fetched.
        Interrupted: Stopped by the user; finished epochs are kept.
    """
    return _adopt(context) if context.config.teacher.checkpoint else _train(context)


def _train(context: StageContext) -> StageResult:
    from kdyolo.datasets.trained_on import write_trained_on
    from kdyolo.datasets.view import load_view, verify_view

    folder, view = context.run.stage("teacher"), load_view(context.run.stage("split"))
    verify_view(view, ("train", "val"))
    settings, outputs = context.config.teacher, [folder / "best.pt", folder / "results.csv"]
    if view.splits["pool"]:
        # Few labelled images would make short epochs: seen again, they make as many steps as all images would.
        lessons = [Lesson(i.image, i.label.read_text(encoding="utf-8")) for i in view.splits["train"]]
        lessons = repeat(lessons, len(lessons) + len(view.splits["pool"]), context.config.seed)
        facts, outputs = train_on(context, "teacher", settings, lessons)
    else:
        facts = train_model(context, "teacher", settings, view.folder / "images" / "train")
    facts["labels"] = "gt"
    classes = _write_classes(folder, {i: i for i in range(len(view.names))})
    write_trained_on(folder / TRAINED_ON, view.splits["train"])
    summary = f"{facts['model']}, {facts['epochs']} epochs, validation mAP50-95 {facts['val_mAP50_95']:.3f}"
    return StageResult([*outputs, folder / TRAINED_ON, classes], facts, summary)


def _adopt(context: StageContext) -> StageResult:
    from kdyolo.datasets.view import load_view
    from kdyolo.engine import checkpoints

    settings, folder = context.config.teacher, context.run.stage("teacher")
    assert settings.checkpoint is not None
    view = load_view(context.run.stage("split"))
    listed = [_trained_on(settings), *map(_beside, settings.more)]
    adopted = [
        _adopt_one(context, view, path, list_, number)
        for number, (path, list_) in enumerate(zip([settings.checkpoint, *settings.more], listed, strict=True), 1)
    ]
    folder.mkdir(parents=True, exist_ok=True)
    outputs = []
    for number, one in enumerate(adopted, 1):
        suffix = "" if number == 1 else f"-{number}"
        checkpoints.save_stripped(one.checkpoint, folder / f"best{suffix}.pt")
        outputs += [folder / f"best{suffix}.pt", _write_classes(folder, one.class_map, suffix)]
    known = {number for one in adopted for number in one.class_map.values()}
    if unknown := [name for number, name in enumerate(view.names) if number not in known]:
        context.progress.warn(
            f"No teacher knows {', '.join(unknown)}: of these the student learns from the data set's own labels alone."
        )
    first = adopted[0]
    facts = {
        "model": " + ".join(one.model for one in adopted),
        "adopted_from": str(settings.checkpoint),
        "adopted_sha256": sha256_file(settings.checkpoint),
        "imgsz": settings.imgsz,
        "epochs": first.epochs,
        "saw": first.saw,
    }
    if settings.more:
        facts["team"] = [{"model": one.model, "adopted_from": str(one.checkpoint), "saw": one.saw} for one in adopted]
        facts["saw"] = _most_seen([one.saw for one in adopted])
    if listed[0] is not None:
        outputs.append(folder / TRAINED_ON)
        write_text(outputs[-1], listed[0].read_text(encoding="utf-8"))
    names = ", ".join(one.checkpoint.name for one in adopted)
    return StageResult(outputs, facts, f"adopted {names} ({facts['model']})")


@dataclass(frozen=True)
class _Adopted:
    checkpoint: Path
    model: str
    class_map: dict[int, int]
    epochs: int | None
    saw: dict[str, int] | None


def _adopt_one(context: StageContext, view: View, path: Path, listed: Path | None, number: int) -> _Adopted:
    from kdyolo.engine import checkpoints

    settings = context.config.teacher
    model, saved = checkpoints.load(path)
    theirs = [model.names[i] for i in range(len(model.names))]
    match = match_some if settings.more else match_classes
    class_map = match(theirs, view.names, settings.map_classes)
    trained = saved.get("train_args") or {}
    if trained.get("imgsz") not in (None, settings.imgsz):
        which = f"Teacher {number}" if settings.more else "This teacher"
        context.progress.warn(
            f"{which} was trained at {trained['imgsz']} px but will be used at {settings.imgsz} px "
            f"(--imgsz {trained['imgsz']} changes that)."
        )
    saw = _what_it_saw(context, view, listed)
    return _Adopted(path, checkpoints.describe_architecture(model), class_map, trained.get("epochs"), saw)


def _most_seen(seen: Sequence[dict[str, int] | None]) -> dict[str, int] | None:
    """The largest count of each split over several teachers; None if nothing is known of one of them."""
    known = [saw for saw in seen if saw is not None]
    return {key: max(saw[key] for saw in known) for key in known[0]} if len(known) == len(seen) else None


def _what_it_saw(context: StageContext, view: View, listed: Path | None) -> dict[str, int] | None:
    """How many images of each split an adopted teacher was trained on; None where nothing says so.

    Raises:
        DatasetError: It saw test images, and the user has not said that this is all right.
    """
    from kdyolo.datasets.trained_on import read_trained_on, seen_before

    settings = context.config.teacher
    if listed is None:
        context.progress.warn(
            f"Nothing says what this teacher was trained on (no {TRAINED_ON} beside it): if it was on test images, "
            "what is measured on them proves nothing."
        )
        return None
    seen = read_trained_on(listed)
    found = {split: seen_before(images, seen) for split, images in view.splits.items()}
    saw = {"images": len(seen), **{split: len(names) for split, names in found.items()}}
    for split in ("test", "val"):
        if not found[split]:
            continue
        ours, theirs = next(iter(found[split].items()))
        message = (
            f"The teacher was trained on {len(found[split])} of the {len(view.splits[split])} {split} images, copies "
            f"counted ({listed.name}; for example {ours} is its {theirs})."
        )
        if split == "test" and not (context.force or settings.allow_seen_test):
            raise DatasetError(
                f"{message} What is measured on them proves nothing.",
                "Split so that they are not in the test split, or go on all the same with "
                "-S teacher.allow_seen_test=true",
            )
        context.progress.warn(message)
    return saw


def _write_classes(folder: Path, class_map: Mapping[int, int], suffix: str = "") -> Path:
    """Write which class id of the teacher is which of the data set; what depends on it is redone when it changes."""
    write_json(folder / f"classes{suffix}.json", {str(theirs): ours for theirs, ours in class_map.items()})
    return folder / f"classes{suffix}.json"


def match_some(theirs: Sequence[str], ours: Sequence[str], given: Mapping[str, str] | None) -> dict[int, int]:
    """Teacher class id -> data set class id, by name: one of several teachers need not know all classes.

    Args:
        theirs: The teacher's class names in order.
        ours: The data set's class names in order.
        given: Teacher name -> data set name, for names that differ; other names stand for themselves.

    Raises:
        ConfigError: Not one class is known to both.
    """
    renamed = [(given or {}).get(name, name) for name in theirs]
    class_map = {number: list(ours).index(name) for number, name in enumerate(renamed) if name in ours}
    if not class_map:
        raise ConfigError(
            f"A teacher knows none of the data set's classes: {', '.join(theirs[:20])}.",
            f"Leave it out, or say which is which with --map-classes. Data set: {', '.join(ours[:20])}.",
        )
    return class_map


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
    sections=("teacher", "runtime"),
    check=_check,
)
