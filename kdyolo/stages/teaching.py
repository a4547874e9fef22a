"""What a student is taught: its images with their labels, and what it hears of its teacher beside them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdyolo.errors import ConfigError
from kdyolo.stages.base import StageContext
from kdyolo.stages.training import Lesson, train_model
from kdyolo.storage import sha256_file

if TYPE_CHECKING:
    from kdyolo.config import Distilling
    from kdyolo.datasets.view import ViewImage
    from kdyolo.distill.carry import Hearsay
    from kdyolo.distill.plan import Distillation
    from kdyolo.distill.soft_labels import SoftLabels


def lessons_of(context: StageContext, labels: str) -> list[Lesson]:
    """Training images with the labels asked for: `pseudo`, `gt`, `gt+pool`, `gt+pseudo` or `pool`.

    Images the teacher could not read are left out of every variant, so that all arms see the same ones.
    """
    from kdyolo.datasets.view import load_view, verify_view

    run = context.run
    view = load_view(run.stage("split"))
    verify_view(view, ("train", "val", "pool"))
    run.require("pseudo")
    teacher_labels = run.stage("pseudo") / "labels"
    lessons = []
    for image in view.splits["train"] if labels != "pool" else ():
        theirs = teacher_labels / "train" / image.label.name
        if theirs.exists():
            text = _label_text(image, theirs, labels)
            lessons.append(Lesson(image.image, text, f"train/{image.image.name}", labels == "pseudo"))
    if labels == "gt":
        return lessons
    pool = [image.image for image in view.splits["pool"]]
    for path in [*pool, *sorted((run.stage("pseudo") / "images" / "pool").glob("*"))]:
        theirs = teacher_labels / "pool" / f"{path.stem}.txt"
        if theirs.exists():
            lessons.append(Lesson(path, theirs.read_text(encoding="utf-8"), f"pool/{path.name}", unlabelled=True))
    if not lessons:
        raise ConfigError(
            "The student is to learn from unlabelled images alone, and there are none.",
            "Give some with --pool DIR, or have them made with -S pseudo.synthetic=256.",
        )
    return lessons


def _label_text(image: ViewImage, theirs: Path, labels: str) -> str:
    from kdyolo.boxes import xywh_to_xyxy, xyxy_to_xywh
    from kdyolo.datasets.formats.labels import label_text, read_labels
    from kdyolo.pseudo.merge import add_to_truth

    if labels != "gt+pseudo":
        return (theirs if labels == "pseudo" else image.label).read_text(encoding="utf-8")
    (truth_cls, truth), (found_cls, found) = read_labels(image.label), read_labels(theirs)
    # Boxes are shares of one image, so their overlaps are those of the pixel boxes.
    cls, xyxy = add_to_truth(truth_cls, xywh_to_xyxy(truth), found_cls, xywh_to_xyxy(found))
    return label_text(cls, xyxy_to_xywh(xyxy))


def distillation(
    context: StageContext, lessons: Sequence[Lesson], files: Sequence[Path], seed: int, part: str
) -> Distillation | None:
    """What the student hears of its teacher, with the soft labels under the names of its own training images.

    None with the scheme ``labels``, which is to hear nothing, if these labels leave no class open.

    Whoever is asked at every step, the labels of unlabelled images are the teacher's, who may not know all classes.
    """
    from kdyolo.distill.plan import Distillation
    from kdyolo.pseudo import team

    settings, teacher = context.config.distilling, context.run.stage("teacher")
    if settings.scheme == "cached":
        return Distillation(settings, hearsay=_hearsay(context, lessons, files))
    unheard = _unheard(context, lessons, files)
    match settings.scheme, settings.self_teacher:
        case "labels", _:
            return _labels_alone(settings, unheard)
        case "online-teacher", _:
            models = tuple(team.members(teacher))
            weights = team.read_weights(context.run.stage("pseudo")) if len(models) > 1 else None
            return Distillation(settings, teachers=models, weights=weights, hearsay=unheard)
        case "mutual", _:
            return Distillation(settings, "mutual", hearsay=unheard)
        case "self", "ema":
            return Distillation(settings, "ema", hearsay=unheard)
        case "self", "deep":
            return Distillation(settings, "deep", hearsay=unheard)
    return _born_again(context, files[0].parent, unheard, seed, part)


def _labels_alone(settings: Distilling, unheard: Mapping[str, Hearsay]) -> Distillation | None:
    """Nobody is heard; where labels are a teacher's, they say nothing of the classes it does not know."""
    from kdyolo.distill.plan import Distillation

    silent = settings.model_copy(update={"scheme": "labels", "method": "response", "weight": 0.0})
    return Distillation(silent, hearsay=unheard) if unheard else None


def _born_again(
    context: StageContext, images: Path, unheard: Mapping[str, Hearsay], seed: int, part: str
) -> Distillation:
    """Train the students that come before the last one, each the teacher of the next.

    Furlanello et al., "Born Again Neural Networks", ICML 2018, section 3: model, labels and schedule are the same in
    every generation; the first one has no teacher.
    """
    from kdyolo.distill.plan import Distillation

    config, settings, folder = context.config, context.config.distilling, context.run.stage("student")
    so_far: list[dict[str, Any]] = []
    teacher = _labels_alone(settings, unheard)
    for generation in range(settings.generations):
        place = f"{part}/generation-{generation}" if part else f"generation-{generation}"
        so_far.append(train_model(context, "student", config.student, images, teacher, place, seed))
        before = folder / place / "best.pt"
        teacher = Distillation(settings, teachers=((before, {}),), hearsay=unheard, generations=tuple(so_far))
    assert teacher is not None
    return teacher


def _hearsay(context: StageContext, lessons: Sequence[Lesson], files: Sequence[Path]) -> dict[str, Hearsay]:
    from kdyolo.distill.carry import Hearsay
    from kdyolo.pseudo import team
    from kdyolo.pseudo.thresholds import doubtful

    thresholds, soft = _thresholds(context), _soft_labels(context, {lesson.name: lesson.image for lesson in lessons})
    known = team.known(context.run.stage("teacher"), len(thresholds))
    hearsay = {}
    for lesson, file in zip(lessons, files, strict=True):
        said = soft[lesson.name]
        ignored = doubtful(said.score, said.cls, thresholds) & lesson.unlabelled
        hearsay[file.name] = Hearsay(~known & lesson.unlabelled, said, ignored)
    return hearsay


def _unheard(context: StageContext, lessons: Sequence[Lesson], files: Sequence[Path]) -> dict[str, Hearsay]:
    """Of unlabelled images the classes that the teacher does not know; nothing if it knows all."""
    from kdyolo.pseudo import team

    known = team.known(context.run.stage("teacher"), len(_thresholds(context)))
    if known.all():
        return {}
    from kdyolo.distill.carry import Hearsay

    paired = zip(lessons, files, strict=True)
    return {file.name: Hearsay(~known) for lesson, file in paired if lesson.unlabelled}


def _soft_labels(context: StageContext, images: Mapping[str, Path]) -> dict[str, SoftLabels]:
    from kdyolo.datasets.view import load_view
    from kdyolo.distill.soft_labels import FILE, Origin, read_soft_labels
    from kdyolo.pseudo import team

    config, run = context.config, context.run
    origin = Origin(
        team.fingerprint(run.stage("teacher")),
        config.pseudo.imgsz or config.teacher.imgsz,
        load_view(run.stage("split")).names,
    )
    return read_soft_labels(run.stage("pseudo") / FILE, origin, {n: sha256_file(p) for n, p in images.items()})


def _thresholds(context: StageContext) -> list[float]:
    """Score from which a box of each class is a label, in the order of the classes."""
    held = json.loads((context.run.stage("pseudo") / "thresholds.json").read_text(encoding="utf-8"))
    return [float(score) for score in held.values()]
