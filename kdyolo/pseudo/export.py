"""A run's pseudo-labels as a data set, to be reviewed in another program or used without kdyolo."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np

from kdyolo.datasets.formats.convert import fresh_folder, name_of, write
from kdyolo.datasets.images import oriented_size
from kdyolo.datasets.sample import Dataset, ImageCheck, Sample
from kdyolo.datasets.view import View, load_view
from kdyolo.errors import DatasetError
from kdyolo.progress import Progress
from kdyolo.pseudo.table import read_table
from kdyolo.storage import RunDir, sha256_file

Which = Literal["train", "pool", "all"]


def export(
    run: RunDir, to: str, out: Path, which: Which, progress: Progress, *, all_scores: bool = False, force: bool = False
) -> dict[str, Any]:
    """Write the images a run's teacher labelled with its boxes and scores.

    Args:
        run: The run; its pseudo-labels must be finished.
        to: ``label-studio``, ``cvat``, ``coco`` or ``yolo``.
        out: The new folder.
        which: Training images, those without labels (the pool), or all.
        progress: Whom to tell.
        all_scores: Also the boxes whose score was too low to become a label.
        force: Move an existing `out` aside.

    Returns:
        What was written: run, to, out, images, boxes, classes, splits, teacher_sha256.

    Raises:
        ConfigError: `out` lies in the run.
        DatasetError: The pseudo-labels are not finished or were changed, or there is no such image.
        RunExistsError: `out` exists.
        EnvironmentFault: `out` cannot be written.
    """
    record = run.require("pseudo")
    teacher = str(record.facts.get("teacher_sha256", ""))
    with fresh_folder(out, force, [run.root], progress) as folder:
        dataset = labelled_images(run, which, all_scores)
        if not dataset.samples:
            raise DatasetError(f"{run.root} has no labelled image in {which}.", "Choose --split train, pool or all.")
        facts = write(dataset, to, folder, name_of(out), progress, model=f"kdyolo teacher {teacher[:12]}")
    shown = {key: facts[key] for key in ("images", "boxes", "classes", "splits")}
    return {"run": str(run.root), "to": to, "out": str(out), **shown, "teacher_sha256": teacher}


def labelled_images(run: RunDir, which: Which, all_scores: bool) -> Dataset:
    """The images a run's teacher labelled, with its boxes and their scores; all count as training images.

    Args:
        run: The run.
        which: Training images, the pool, or all.
        all_scores: Also boxes that did not become labels.
    """
    view = load_view(run.stage("split"))
    table = read_table(run.stage("pseudo") / "predictions.csv")
    if not all_scores:
        table = table[table["kept"]]
    boxes = dict(iter(table.groupby("image")))
    samples = []
    for name, image, digest, size in _images(run, view):
        if which not in ("all", name.partition("/")[0]) or size is None:
            continue
        width, height = size
        check = ImageCheck(suffix=image.suffix, width=width, height=height, size=image.stat().st_size, sha256=digest)
        label = run.stage("pseudo") / "labels" / Path(name).with_suffix(".txt")
        sample = Sample(image, name, ("train",), label, check=check)
        if name in boxes:
            found = boxes[name]
            sample.cls = found["class_id"].to_numpy(dtype=np.int64)
            sample.xywhn = found[["x", "y", "w", "h"]].to_numpy(dtype=np.float64)
            sample.conf = found["score"].to_numpy(dtype=np.float64)
        samples.append(sample)
    return Dataset(run.root, "yolo", view.names, samples)


def _images(run: RunDir, view: View) -> Iterator[tuple[str, Path, str, tuple[int, int] | None]]:
    """Name in the table, file, sha256 and size (px, None where it cannot be read) of every image with a label file."""
    labels = run.stage("pseudo") / "labels"
    for split in ("train", "pool"):
        for image in view.splits.get(split, ()):
            if (labels / split / image.label.name).is_file():
                yield f"{split}/{image.image.name}", image.image, image.sha256, (image.width, image.height)
    for path in sorted((run.stage("pseudo") / "images" / "pool").glob("*")):
        if (labels / "pool" / f"{path.stem}.txt").is_file():
            yield f"pool/{path.name}", path, sha256_file(path), oriented_size(path)
