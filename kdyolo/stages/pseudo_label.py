"""Stage `pseudo`: the teacher writes labels for the training images, and for images nobody has labelled."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdyolo.config import Config
from kdyolo.distill import soft_labels
from kdyolo.errors import ConfigError, DatasetError, StageError
from kdyolo.stages.base import Stage, StageContext, StageResult
from kdyolo.storage import RunDir, sha256_by_name, write_json

if TYPE_CHECKING:
    from kdyolo.datasets.view import View
    from kdyolo.distill.soft_labels import SoftLabels
    from kdyolo.engine.detector import Detector
    from kdyolo.evaluation.accuracy import Accuracy
    from kdyolo.pseudo.fusion import Floats
    from kdyolo.pseudo.table import PseudoLabels

LOWEST_SCORE = 0.1
"""Boxes below are not even in the table: the floor of the lower threshold in dual-threshold schemes."""
_MAX_NOT_FINITE = 0.01


@dataclass(frozen=True)
class Target:
    """An image to label: its file in a view, where its labels go, its name in the table, its hash and its size (px)."""

    image: Path
    label: Path
    name: str
    sha256: str
    width: int
    height: int


def _settings(config: Config) -> dict[str, Any]:
    return {
        "pseudo": config.pseudo.model_dump(mode="json", exclude={"images"}),
        "audit": config.audit.model_dump(mode="json", exclude={"cache"}),
        "teacher_imgsz": config.teacher.imgsz,
        "precision": config.runtime.precision,
        **({"seed": config.seed} if config.pseudo.synthetic else {}),
    }


def _inputs(config: Config) -> dict[str, str]:
    folder = config.pseudo.images
    if folder is None:
        return {}
    if not folder.is_dir():
        raise ConfigError(f"There is no folder {folder}.", "Give --images a folder of images without labels.")
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        info = path.stat()
        digest.update(os.fsencode(f"{path.relative_to(folder)}\0{info.st_size}\0{info.st_mtime_ns}\n"))
    return {"images": digest.hexdigest()}


def _check(run: RunDir, config: Config) -> None:
    from kdyolo.datasets.images import find_images
    from kdyolo.engine.environment import require_machine

    require_machine(config.runtime)
    folder, split = config.pseudo.images, run.finished("split")
    if folder is not None and not find_images(folder):
        raise DatasetError(f"{folder} holds no image.", "Give --pool a folder of unlabelled images, or leave it out.")
    if split is not None and isinstance(config.pseudo.conf, dict):
        _require_known(config.pseudo.conf, split.facts["classes"])


def _require_known(conf: Iterable[str], names: Sequence[str]) -> None:
    if unknown := [name for name in conf if name not in names]:
        raise ConfigError(f"--conf names the class '{unknown[0]}'.", f"Classes: {', '.join(names[:20])}.")


def pseudo_label(context: StageContext) -> StageResult:
    """Leave label files of five columns, ``predictions.csv`` with every box and score, and ``thresholds.json``.

    Unless test-time augmentation is on, ``soft_labels.npz`` says how sure the teacher is of each class and side.

    Only training images and the unlabelled folder are labelled; the validation split only tells how good the teacher
    is and which scores to trust; the test split is not opened.

    Raises:
        StageError: The teacher is useless on the validation split (`force` goes on), or finds nothing to label.
    """
    from kdyolo.datasets.view import load_view, verify_view
    from kdyolo.pseudo import team

    config, run, folder = context.config, context.run, context.run.stage("pseudo")
    for left in ("labels", "images", "predictions.csv", "thresholds.json", "weights.json", soft_labels.FILE):
        _remove(folder / left)
    view = load_view(run.stage("split"))
    verify_view(view, ("train", "val", "pool"))
    run.require("teacher")
    imgsz = config.pseudo.imgsz or config.teacher.imgsz
    detector, weights = _teacher(context, view, imgsz)
    accuracy = _score(detector, view, context)
    thresholds = _thresholds(accuracy, view.names, config.pseudo.conf)
    targets, pool_facts = _targets(view, context)
    labels, soft, lost = _label(detector, targets, [thresholds[name] for name in view.names], context)
    kept = sum(int(found.kept.sum()) for found in labels.values())
    if kept == 0:
        raise StageError(
            f"The teacher found 0 boxes with a score >= {min(thresholds.values()):.3g} in {len(labels)} images.",
            "Lower the threshold (--conf 0.1), or train the teacher longer.",
        )
    teacher_sha256 = team.fingerprint(run.stage("teacher"))
    written = _write(folder, targets, labels, view.names, thresholds, teacher_sha256)
    if soft:
        digests = {target.name: target.sha256 for target in targets}
        soft_labels.write_soft_labels(
            folder / soft_labels.FILE, soft, digests, soft_labels.Origin(teacher_sha256, imgsz, view.names)
        )
        written.append(folder / soft_labels.FILE)
    if weights is not None:
        written.append(team.write_weights(folder, weights))
    facts = {
        "teacher_sha256": teacher_sha256,
        "teacher_val": {k: v for k, v in accuracy.to_json().items() if k != "curves"},
        "thresholds": thresholds,
        "images": len(targets),
        "labelled": sum(bool(found.kept.any()) for found in labels.values()),
        "background": sum(not found.kept.any() for found in labels.values()),
        "quarantined": lost,
        "boxes": kept,
        "boxes_per_class": _count(labels.values(), view.names),
        "labels_sha256": sha256_by_name(p for p in written if p.suffix == ".txt"),
        **pool_facts,
    }
    return StageResult(written, facts, _summary(facts))


def _teacher(context: StageContext, view: View, imgsz: int) -> tuple[Detector, Floats | None]:
    """The teacher; if it is several models, what each is worth in each class: its AP50-95 on the validation split."""
    from kdyolo.engine.detector import Detector
    from kdyolo.evaluation.splits import score
    from kdyolo.pseudo import team
    from kdyolo.pseudo.fusion import class_weights

    runtime, folder = context.config.runtime, context.run.stage("teacher")
    models = list(team.members(folder))
    if len(models) == 1:
        return team.load(folder, imgsz, runtime, view.names, None), None
    images, iou, aps = view.splits["val"], context.config.pseudo.iou, []
    for number, (path, class_map) in enumerate(models, 1):
        detector = Detector(path, imgsz, runtime, view.names, class_map)
        title = f"teacher {number} of {len(models)} on validation"
        figures = score(detector, images, view.names, context.progress, title, iou=iou).per_class
        aps.append({view.names[ours]: figures[view.names[ours]].mAP50_95 for ours in set(class_map.values())})
    weights = class_weights(aps, view.names)
    return team.load(folder, imgsz, runtime, view.names, weights), weights


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _score(detector: Detector, view: View, context: StageContext) -> Accuracy:
    """Measure the teacher on the validation split, and stop if it has nothing to teach."""
    from kdyolo.evaluation.splits import score

    settings, title = context.config.pseudo, "teacher on validation"
    images = view.splits["val"]
    accuracy = score(detector, images, view.names, context.progress, title, iou=settings.iou, augment=settings.augment)
    limit, reached = settings.min_map50, accuracy.mAP50 or 0.0
    if reached < limit and not context.force:
        raise StageError(
            f"The teacher reaches mAP50 {reached:.3f} on the validation split, below {limit}: its labels would teach "
            "its mistakes.",
            "Train it longer or from pretrained weights; to label all the same: "
            f"`kdyolo pseudo-label --run {context.run.shown} --force`.",
        )
    if reached < limit:
        context.progress.warn(f"Going on with a teacher of mAP50 {reached:.3f} on the validation split (--force).")
    return accuracy


def _thresholds(
    accuracy: Accuracy, names: Sequence[str], given: float | Mapping[str, float] | None
) -> dict[str, float]:
    """Score from which a box of each class becomes a label: given, or of best F1 on the validation split."""
    from kdyolo.pseudo.thresholds import choose

    if isinstance(given, float | int):
        return {name: float(given) for name in names}
    chosen = choose(accuracy.best_threshold, accuracy.boxes, accuracy.confidence)
    _require_known(given or (), names)
    return {name: round((given or {}).get(name, chosen[name]), 6) for name in names}


def _targets(view: View, context: StageContext) -> tuple[list[Target], dict[str, Any]]:
    """The training images, those of them that gave up their labels (``pool`` in the view), and the unlabelled folder.

    Of that folder only clean, new images are taken; they are linked into this stage's own folder.
    """
    from kdyolo.datasets.pool import read_pool
    from kdyolo.datasets.view import place, view_stems

    folder = context.run.stage("pseudo")
    targets = [
        Target(
            i.image, folder / "labels" / split / i.label.name, f"{split}/{i.image.name}", i.sha256, i.width, i.height
        )
        for split in ("train", "pool")
        for i in view.splits[split]
    ]
    folder_of_pool = _synthesised(context) if context.config.pseudo.synthetic else context.config.pseudo.images
    if folder_of_pool is None:
        return targets, {}
    known = [image for images in view.splits.values() for image in images]
    pool = read_pool(folder_of_pool, known, context.config.audit, context.progress)
    stems = view_stems([sample.name for sample in pool.usable])
    taken = {target.label.stem for target in targets}
    (folder / "images" / "pool").mkdir(parents=True)
    for sample in pool.usable:
        stem = f"pool-{stems[sample.name]}"
        stem += f"-{sample.check.sha256[:8]}" if stem in taken else ""
        image = folder / "images" / "pool" / f"{stem}{sample.check.suffix}"
        place(sample, image)
        label = folder / "labels" / "pool" / f"{image.stem}.txt"
        check = sample.check
        targets.append(Target(image, label, f"pool/{image.name}", check.sha256, check.width, check.height))
    rejected = [sample.quarantine for sample in pool.samples if sample.quarantine]
    duplicates = sum(code.startswith("duplicate_of_") for code in rejected)
    return targets, {
        "pool": {
            "images": len(pool.samples),
            "used": len(pool.usable),
            "duplicates": duplicates,
            "quarantined": len(rejected) - duplicates,
        }
    }


def _synthesised(context: StageContext) -> Path:
    """Images made from the teacher alone, see `distill.synthesis`; of several teachers, from the first."""
    from kdyolo.distill.synthesis import Recipe, synthesise

    config, folder = context.config, context.run.stage("pseudo") / "synthetic"
    wanted = config.pseudo
    recipe = Recipe(wanted.synthetic, wanted.synthetic_imgsz, wanted.synthetic_steps, seed=config.seed)
    synthesise(context.run.stage("teacher") / "best.pt", recipe, config.runtime, folder, context.progress)
    return folder


def _label(
    detector: Detector, targets: Sequence[Target], thresholds: Sequence[float], context: StageContext
) -> tuple[dict[str, PseudoLabels], dict[str, SoftLabels], int]:
    """Table name -> labels and soft labels of each image that could be read, and how many could not."""
    from kdyolo.pseudo import team
    from kdyolo.pseudo.table import judge

    settings, progress = context.config.pseudo, context.progress
    progress.start("pseudo-labels", len(targets))
    lowest = min(LOWEST_SCORE, *thresholds)
    how = {"augment": settings.augment, "soft": not settings.augment}
    outcomes = detector.predict((t.image for t in targets), lowest, settings.iou, **how)
    known = team.known(context.run.stage("teacher"), len(thresholds))
    labels, soft, lost, not_finite = {}, {}, 0, 0
    for done, (target, outcome) in enumerate(zip(targets, outcomes, strict=True), 1):
        if outcome.detections is None:
            progress.warn(f"{target.name} could not be labelled: {outcome.reason}.")
            lost, not_finite = lost + 1, not_finite + (outcome.reason == "not_finite")
        else:
            labels[target.name] = judge(outcome.detections, thresholds, target.width, target.height)
            if not settings.augment:
                size = target.width, target.height
                soft[target.name] = soft_labels.soften(outcome.detections, *size, known)
        progress.update(done)
    progress.finish()
    if not_finite > _MAX_NOT_FINITE * len(targets):
        raise StageError(
            f"The teacher's output is not finite on {not_finite} of {len(targets)} images.",
            "The checkpoint is damaged, or too extreme for this precision: -S runtime.precision=fp32.",
        )
    return labels, soft, lost


def _write(
    folder: Path,
    targets: Sequence[Target],
    labels: Mapping[str, PseudoLabels],
    names: Sequence[str],
    thresholds: Mapping[str, float],
    teacher_sha256: str,
) -> list[Path]:
    from kdyolo.datasets.formats.labels import write_labels
    from kdyolo.pseudo.table import write_table

    files = []
    for target in targets:
        if (found := labels.get(target.name)) is not None:
            write_labels(target.label, found.cls[found.kept], found.xywhn[found.kept])
            files.append(target.label)
    write_table(folder / "predictions.csv", labels, names, teacher_sha256)
    write_json(folder / "thresholds.json", dict(thresholds))
    pool = sorted((folder / "images" / "pool").glob("*")) if (folder / "images").is_dir() else []
    return [*files, folder / "predictions.csv", folder / "thresholds.json", *pool]


def _count(labels: Any, names: Sequence[str]) -> dict[str, int]:
    counts = dict.fromkeys(names, 0)
    for found in labels:
        for c in found.cls[found.kept].tolist():
            counts[names[c]] += 1
    return counts


def _summary(facts: Mapping[str, Any]) -> str:
    pool = facts.get("pool")
    left_out = f" (pool: {pool['used']} of {pool['images']} images, {pool['duplicates']} were copies)" if pool else ""
    return (
        f"{facts['images']} images: {facts['labelled']} labelled with {facts['boxes']} boxes, "
        f"{facts['background']} background, {facts['quarantined']} quarantined{left_out}"
    )


STAGE = Stage(
    name="pseudo",
    command="pseudo-label",
    needs=("split", "teacher"),
    settings=_settings,
    inputs=_inputs,
    versions=("kdyolo", "ultralytics", "torch", "torchvision"),
    work=pseudo_label,
    sections=("pseudo", "runtime"),
    check=_check,
)
