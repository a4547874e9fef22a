"""Write a data set in another format, and take reviewed annotations back: into a new folder, whole or not at all."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from kdyolo import storage
from kdyolo.config import AuditSettings, DataSettings
from kdyolo.datasets.auditing.checks import check_files
from kdyolo.datasets.formats.coco import write_coco
from kdyolo.datasets.formats.cvat import write_cvat
from kdyolo.datasets.formats.detect import READERS, kind_of, label_files, locate, read
from kdyolo.datasets.formats.label_studio import write_label_studio
from kdyolo.datasets.formats.voc import write_voc
from kdyolo.datasets.formats.writing import Row, place_images, rows_of
from kdyolo.datasets.formats.yolo import image_folder, write_yolo
from kdyolo.datasets.sample import Dataset, no_confidences, printable
from kdyolo.datasets.tree import scan
from kdyolo.errors import ConfigError, DatasetError, RunExistsError
from kdyolo.progress import Progress

TARGETS = ("yolo", "coco", "voc", "label-studio", "cvat")
REVIEWED = ("label-studio", "cvat", "coco")
_NAMED = 3


def convert(
    source: Path, to: str, out: Path, data: DataSettings, audit: AuditSettings, progress: Progress, force: bool = False
) -> dict[str, Any]:
    """Read a data set and write it in another format, its splits kept.

    Args:
        source: Its folder or data.yaml; never written to.
        to: One of `TARGETS`.
        out: The new folder.
        data: Format of the source, and whether paths may leave it.
        audit: What counts as a bad image or label, and how much of it is too much.
        progress: Whom to tell.
        force: Move an existing `out` aside.

    Returns:
        What was written: source, format, to, out, images, boxes, classes, splits, left_out, warnings.

    Raises:
        ConfigError: The source or the format cannot be told, or `out` lies in the source.
        DatasetError: The source cannot be read, or too much of it is bad.
        RunExistsError: `out` exists.
        UntrustedFileError: The source leads out of its folder.
        EnvironmentFault: `out` cannot be written.
    """
    root, _ = locate(source, data)
    with fresh_folder(out, force, [root], progress) as folder:
        dataset = read(source, data, audit)
        check_files(dataset, audit, progress)
        _require_enough(dataset, audit, source)
        facts = write(dataset, to, folder, name_of(out), progress)
    return {"source": str(source), "format": dataset.format, "to": to, "out": str(out), **facts}


def take_back(
    source: Path,
    images: Path,
    out: Path,
    data: DataSettings,
    audit: AuditSettings,
    progress: Progress,
    *,
    names: Sequence[str] | None = None,
    force: bool = False,
) -> dict[str, Any]:
    """Make a clean YOLO set of annotations that were reviewed in another program.

    Images that the annotations do not mention, or that nobody labelled there, are left out. Scores are not kept: what
    a person has accepted is a label.

    Args:
        source: The export of Label Studio (json) or CVAT (xml), or a COCO json; or a folder with some of one kind.
        images: The folder of the images.
        out: The new folder.
        data: Format of the export, and whether names may lead out of `images`.
        audit: What counts as a bad image or label, and how much of it is too much.
        progress: Whom to tell.
        names: Class names in the order of their ids; None takes those of the export.
        force: Move an existing `out` aside.

    Returns:
        As `convert`, and ``unreviewed``: images that only a model labelled.

    Raises:
        The same as `convert`.
    """
    kind, files = _reviewed(source, data)
    if not images.is_dir():
        raise ConfigError(f"There is no folder {images}.", "Give --images the folder of the images.")
    with fresh_folder(out, force, [images, source], progress) as folder:
        tree = scan(images, allow_outside=data.allow_outside)
        dataset = READERS[kind](files, tree, tuple(names) if names else None, data, audit)
        unlabelled = sum(sample.label is None and not sample.quarantine for sample in dataset.samples)
        dataset.samples = [sample for sample in dataset.samples if sample.label is not None or sample.quarantine]
        for sample in dataset.samples:
            sample.conf = no_confidences()
        check_files(dataset, audit, progress)
        _require_enough(dataset, audit, source)
        facts = write(dataset, "yolo", folder, name_of(out), progress)
    unreviewed = len({f.file for f in dataset.findings if f.code == "predictions_only"})
    if unreviewed:
        progress.warn(f"Nobody has reviewed the predictions of {unreviewed} of the images; they were taken as labels.")
    said = {"source": str(source), "format": kind, "to": "yolo", "out": str(out)}
    return {**said, **facts, "unlabelled": unlabelled, "unreviewed": unreviewed}


def _reviewed(source: Path, data: DataSettings) -> tuple[str, list[Path]]:
    """Format and files of an export."""
    if source.is_dir():
        found = label_files(scan(source, allow_outside=data.allow_outside), data.allow_outside)
    elif source.is_file():
        found = {kind_of(source): [source]} if data.format == "auto" else {data.format: [source]}
    else:
        raise ConfigError(f"There is no {source}.", "Give the json or xml that was exported.")
    wanted = REVIEWED if data.format == "auto" else (data.format,)
    found = {kind: files for kind, files in found.items() if kind in wanted and kind in READERS}
    if len(found) > 1:
        raise ConfigError(f"{source} holds {' and '.join(sorted(found))} annotations.", "Give the file you mean.")
    if not found:
        raise ConfigError(
            f"{source} holds no annotations of Label Studio (JSON), CVAT (CVAT for images 1.1) or COCO.",
            "Export them in one of these formats; for a whole data set there is `kdyolo data convert`.",
        )
    return next(iter(found.items()))


def write(
    dataset: Dataset, to: str, folder: Path, title: str, progress: Progress, model: str | None = None
) -> dict[str, Any]:
    """Write a checked data set into an empty folder and say what was written.

    Args:
        dataset: Its usable images are written.
        to: One of `TARGETS`.
        folder: Where.
        title: The name that folder will have.
        progress: Whom to tell.
        model: Whose labels these are, where they are predictions to be reviewed.

    Raises:
        DatasetError: An image changed since it was checked.
        EnvironmentFault: The disk is full.
    """
    rows, names = rows_of(dataset), dataset.names
    places = {"yolo": image_folder, "coco": image_folder, "voc": lambda row: "JPEGImages"}
    place_images(rows, folder, places.get(to, lambda row: "images"), progress)
    if to == "label-studio":
        write_label_studio(rows, names, folder, title, model)
    else:
        {"yolo": write_yolo, "coco": write_coco, "voc": write_voc, "cvat": write_cvat}[to](rows, names, folder)
    return _facts(dataset, rows)


def name_of(out: Path) -> str:
    """The name a new folder will have, also where it is given as ``.``."""
    return Path(os.path.realpath(out)).name


def _facts(dataset: Dataset, rows: Sequence[Row]) -> dict[str, Any]:
    left_out = Counter(sample.quarantine for sample in dataset.samples if sample.quarantine)
    return {
        "images": len(dataset.usable),
        "boxes": sum(len(sample.cls) for sample in dataset.usable),
        "classes": list(dataset.names),
        "splits": dict(Counter(row.split for row in rows if row.split)),
        "left_out": dict(sorted(left_out.items())),
        "warnings": dict(sorted(Counter(f.code for f in dataset.findings if f.severity == "warning").items())),
    }


def _require_enough(dataset: Dataset, audit: AuditSettings, source: Path) -> None:
    bad = [sample for sample in dataset.samples if sample.quarantine]
    if not dataset.usable:
        raise DatasetError(f"No image of {source} can be used.", _examples(bad, dataset))
    if len(bad) > audit.max_bad_fraction * len(dataset.samples):
        share = min(1.0, len(bad) / len(dataset.samples) + 0.01)
        raise DatasetError(
            f"{len(bad)} of {len(dataset.samples)} images of {source} cannot be used.",
            f"{_examples(bad, dataset)}Repair or remove them, or leave them out with "
            f"-S audit.max_bad_fraction={share:.2f}",
        )


def _examples(bad: Sequence[Any], dataset: Dataset) -> str:
    """The first few bad images and why."""
    errors = [finding for finding in dataset.findings if finding.severity == "error"][:_NAMED]
    told = [f"{printable(finding.file)}: {finding.message}" for finding in errors]
    return "".join(f"{line}\n" for line in told or [f"{printable(s.name)}: {s.quarantine}." for s in bad[:_NAMED]])


@contextlib.contextmanager
def fresh_folder(out: Path, force: bool, apart: Sequence[Path], progress: Progress) -> Iterator[Path]:
    """A new folder beside `out`, filled by the caller and renamed to `out` when all went well.

    Args:
        out: The folder to make.
        force: Move an existing one aside.
        apart: Folders and files that must not lie in it, nor it in them.
        progress: Told where the old folder went.

    Raises:
        ConfigError: `out` lies in one of `apart`, or the other way round.
        RunExistsError: `out` exists.
        EnvironmentFault: It cannot be written.
    """
    real = Path(os.path.realpath(out))
    for other in (Path(os.path.realpath(path)) for path in apart):
        if real.is_relative_to(other) or other.is_relative_to(real):
            raise ConfigError(f"{out} and {other} lie inside each other.", "Give --out another folder.")
    taken = real.exists() and not (real.is_dir() and not any(real.iterdir()))
    if taken and not force:
        raise RunExistsError(f"{out} exists.", "--force moves it aside; or give --out another name.")
    try:
        real.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=f".{real.name[:60]}-", dir=real.parent) as partial:
            (folder := Path(partial) / "new").mkdir()
            yield folder
            if taken:
                aside = storage.free_name(real)
                real.rename(aside)
                progress.note(f"The old folder is now {aside}.")
            folder.rename(real)
    except OSError as error:
        raise storage.storage_fault(error, out) from error
