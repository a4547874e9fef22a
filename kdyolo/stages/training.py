"""What the stages that train have in common: the images with their labels, and one job from the settings."""

from __future__ import annotations

import dataclasses
import functools
import os
import random
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdyolo.config import Config, TrainSettings
from kdyolo.errors import StageError
from kdyolo.stages.base import StageContext
from kdyolo.storage import sha256_by_name, write_text

if TYPE_CHECKING:
    from kdyolo.distill.plan import Distillation
    from kdyolo.engine.job import TrainJob


def check_training(config: Config, settings: TrainSettings) -> None:
    """Raise what would stop a training at its start: see `engine.environment`, `ranks` and `checkpoints`."""
    from kdyolo.engine import checkpoints, environment, ranks

    ranks.require_alone()
    environment.require_machine(config.runtime)
    environment.require_batch(config.runtime, settings.batch)
    checkpoints.require_start(settings, config.runtime.offline)


@dataclass(frozen=True)
class Lesson:
    """One training image of a student; the same image may come several times.

    Attributes:
        image: The file.
        labels: Its label text.
        name: What the table of pseudo-labels calls it; empty where that does not matter.
        unlabelled: Whether the label text is the teacher's alone.
    """

    image: Path
    labels: str
    name: str = ""
    unlabelled: bool = False


def repeat(lessons: Sequence[Lesson], length: int, seed: int) -> list[Lesson]:
    """Lessons repeated to `length`: whole rounds, then a seeded choice, so that no image is seen much more often."""
    rounds, rest = divmod(length, len(lessons))
    chosen = [*range(len(lessons))] * rounds + sorted(random.Random(seed).sample(range(len(lessons)), rest))  # noqa: S311
    return [lessons[i] for i in chosen]


Distil = Callable[[Sequence[Path], int, str], "Distillation | None"]
"""What a model hears of a teacher beside its labels, or None, given the files that its lessons became, the seed of the
training, and the folder of the stage's folder that it trains in, empty for the stage's own."""


def train_on(
    context: StageContext,
    stage: str,
    settings: TrainSettings,
    lessons: Sequence[Lesson],
    distil: Distil | None = None,
    more_seeds: Sequence[int] = (),
) -> tuple[dict[str, Any], list[Path]]:
    """`train_model` on lessons, with proof that exactly their labels were read.

    Args:
        context: Run, settings and whom to tell.
        stage: The stage.
        settings: Of the model.
        lessons: Images and labels.
        distil: What the model hears of a teacher beside.
        more_seeds: Train it again with each of them, in ``seed-<n>`` of the stage's folder.

    Returns:
        Facts for the record, those of further seeds under ``seeds``, and the stage's output files.

    Raises:
        StageError: The loader did not read exactly the labels it was given. Else as `train_model`.
    """
    folder = context.run.stage(stage)
    images, given = lay_out(folder / "data", lessons)
    trained: dict[str, dict[str, Any]] = {}
    for seed in (context.config.seed, *more_seeds):
        part = f"seed-{seed}" if trained else ""
        distillation = distil(images, seed, part) if distil else None
        train = folder / "data" / "images" / "train"
        trained[part] = train_model(context, stage, settings, train, distillation, part, seed)
        if trained[part]["labels_sha256"] != given:
            raise StageError(
                f"The training of {stage} did not read the label files it was given.",
                "An image or label in the run directory was changed meanwhile; run the command again with --force.",
            )
    facts = trained[""]
    if more_seeds:
        seeds = zip((context.config.seed, *more_seeds), trained.items(), strict=True)
        facts = {**facts, "seeds": [_of_seed(seed, part, one) for seed, (part, one) in seeds]}
    different = len({lesson.image for lesson in lessons})
    if different < len(lessons):
        facts["different_images"] = different  # the others of `images` are these once more
    label_files = sorted((folder / "data" / "labels" / "train").glob("*.txt"))
    models = [folder / part / name for part in trained for name in ("best.pt", "results.csv")]
    return facts, [*models, *label_files]


def _of_seed(seed: int, part: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    kept = (
        *("val_mAP50_95", "best_epoch", "optimizer_steps", "train_seconds", "initial_sha256"),
        "batches_without_teacher",  # there only if an answer was left out
    )
    return {"seed": seed, "folder": part, **{name: facts[name] for name in kept if name in facts}}


def lay_out(folder: Path, lessons: Sequence[Lesson]) -> tuple[list[Path], str]:
    """Link images and write labels as ultralytics looks for them.

    Returns:
        The image of each lesson, and the sha256 of the label files.
    """
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "images" / "train").mkdir(parents=True)
    images: list[Path] = []
    files, taken = [], set[str]()
    for lesson in lessons:
        # An image that comes again, or shares its name with one of the pool, must not overwrite the other: as links,
        # both may be the user's own files.
        stem, number = lesson.image.stem, 1
        while stem.casefold() in taken:
            number += 1
            stem = f"{lesson.image.stem}~{number}"
        taken.add(stem.casefold())
        image = folder / "images" / "train" / f"{stem}{lesson.image.suffix}"
        try:
            os.link(lesson.image, image)
        except OSError:
            shutil.copyfile(lesson.image, image)
        images.append(image)
        files.append(folder / "labels" / "train" / f"{image.stem}.txt")
        write_text(files[-1], lesson.labels)
    return images, sha256_by_name(files)


def train_model(
    context: StageContext,
    stage: str,
    settings: TrainSettings,
    images: Path,
    distillation: Distillation | None = None,
    part: str = "",
    seed: int | None = None,
) -> dict[str, Any]:
    """Train in the stage's folder, validated on the validation split; leaves ``best.pt`` and ``results.csv``.

    Args:
        context: Run, settings and whom to tell.
        stage: The stage.
        settings: Of the model.
        images: Training images; their labels lie as ultralytics looks for them.
        distillation: What the model hears of a teacher beside its labels.
        part: Train in this folder of the stage's folder instead: the model is not what the stage is to leave.
        seed: Of weights, shuffling and augmentation; None: that of the run.

    Returns:
        Facts for the record.

    Raises:
        EnvironmentFault: The official weights cannot be fetched.
        Interrupted: Stopped by the user; finished epochs are kept.
        StageError: See `engine.training.train`.
    """
    from kdyolo.engine.training import train_to_end

    title = f"{stage} {settings.model}{f' ({part})' if part else ''}"
    job = job_of(context, settings, images, context.run.stage(stage) / part, title)
    job = dataclasses.replace(job, seed=job.seed if seed is None else seed)
    make = None if distillation is None else listening(distillation)
    training = train_to_end(job, context.progress, make)
    return {"model": settings.model, "imgsz": settings.imgsz, **training}


def job_of(context: StageContext, settings: TrainSettings, images: Path, folder: Path, title: str) -> TrainJob:
    """A training on these images, validated on the validation split, in a folder. Errors as `train_model`."""
    from kdyolo.datasets.view import load_view
    from kdyolo.engine import checkpoints
    from kdyolo.engine.job import TrainJob

    config, view = context.config, load_view(context.run.stage("split"))
    return TrainJob(
        folder=folder,
        train=images,
        val=view.folder / "images" / "val",
        class_names=view.names,
        settings=settings,
        start=checkpoints.starting_point(settings, config.runtime.offline, settings.section),
        seed=config.seed,
        runtime=config.runtime,
        title=title,
        log=context.run.log,
    )


def listening(distillation: Distillation) -> Callable[..., Any]:
    """What makes a trainer for a model that hears a teacher, see `engine.training.train`."""
    return functools.partial(_listener, distillation)


def _listener(distillation: Distillation, **arguments: Any) -> Any:
    from kdyolo.distill.trainer import DistillTrainer

    return DistillTrainer(distillation, **arguments)
