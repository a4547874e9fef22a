"""Read and write YOLO folders: a data.yaml, or bare folders of images with label files near them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kdyolo import storage
from kdyolo.config import AuditSettings, DataSettings
from kdyolo.datasets.auditing.audit import csv_text
from kdyolo.datasets.formats.data_yaml import MAX_CLASSES, UNASSIGNED, DataYaml, check_names, resolve_inside
from kdyolo.datasets.formats.labels import decode, parse_yolo, write_labels
from kdyolo.datasets.formats.writing import Row
from kdyolo.datasets.layout import MAX_TEXT_BYTES, collect, find_label, read_small, report_broken
from kdyolo.datasets.sample import SPLITS, Dataset, Sample, printable
from kdyolo.datasets.tree import IMAGE_SUFFIXES, Tree, is_safe_file, scan
from kdyolo.errors import ConfigError, DatasetError
from kdyolo.yamlio import dump_yaml

LABEL_FOLDERS = ("labels", "Labels")
_NAME_FILES = frozenset(("classes.txt", "obj.names", "classes.names", "_darknet.labels"))
_CVAT_PREFIX = "data/"
_LABEL_ROW = re.compile(rb"\s*[0-9]+(\s+[-+0-9.eE]+){4,}\s*")


def read_yolo(tree: Tree, described: DataYaml | None, data: DataSettings, audit: AuditSettings) -> Dataset:
    """Read a YOLO data set.

    Args:
        tree: Its folder, scanned.
        described: Its data.yaml, where it has one.
        data: Whether paths may leave the folder.
        audit: What a bad label line takes with it.

    Raises:
        ConfigError: Class names are wrong or given differently in two places.
        DatasetError: A list or folder cannot be read.
        UntrustedFileError: A list of images leads out of the folder.
    """
    dataset = Dataset(tree.root, "yolo", (), [], list(tree.findings))
    if described is not None:
        dataset.findings += described.findings
    if described is not None and described.splits:
        dataset.samples = _listed(tree, described, data.allow_outside, dataset)
    else:
        dataset.samples = collect(tree)
    report_broken(dataset)
    for sample in dataset.samples:
        sample.label = find_label(sample.image, tree.root, LABEL_FOLDERS, ".txt", data.allow_outside)
    given = described.names if described is not None else None
    names = given or _names_from_file(tree)
    dataset.names = names or tuple(f"class{i}" for i in range(MAX_CLASSES))
    for sample in dataset.samples:
        if not sample.quarantine and sample.label is not None:
            _parse(sample, dataset, audit)
    if names is None:
        _invent_names(dataset)
    _report_orphans(tree, dataset, data.allow_outside)
    return dataset


def _listed(tree: Tree, described: DataYaml, allow_outside: bool, dataset: Dataset) -> list[Sample]:
    """Samples of the folders and lists a data.yaml names, each once, with every split that names it."""
    samples: dict[str, Sample] = {}
    for split, places in described.splits.items():
        for place in places:
            found = (
                _in_list(place, tree, allow_outside, dataset)
                if place.is_file()
                else _in_folder(place, tree, allow_outside)
            )
            for sample in found:
                kept = samples.setdefault(sample.name, sample)
                if sample is kept:
                    sample.given = ()
                kept.given = (*kept.given, split) if split and split not in kept.given else kept.given
    if unlisted := len(set(tree.images) - set(samples)):
        dataset.add("not_listed", "note", described.file.name, f"{unlisted} images are in no split of it: left out.")
    return [samples[name] for name in sorted(samples)]


def _in_folder(place: Path, tree: Tree, allow_outside: bool) -> list[Sample]:
    part = scan(place, tree.root, allow_outside)
    return collect(part)


def _in_list(place: Path, tree: Tree, allow_outside: bool, dataset: Dataset) -> list[Sample]:
    samples = []
    mended = 0
    for number, line in enumerate(_lines(place), 1):
        if Path(line).suffix.lower() not in IMAGE_SUFFIXES:
            raise DatasetError(
                f"{place}, line {number}: {printable(line[:60])!r} is no image.", "A list holds one image path a line."
            )
        what = f"line {number} of {place}"
        bases = (tree.root, place.parent) if not line.startswith("./") else (place.parent, tree.root)
        paths = [resolve_inside(line, base, tree.root, what, allow_outside) for base in bases]
        if line.startswith(_CVAT_PREFIX):
            paths += [base / line.removeprefix(_CVAT_PREFIX) for base in bases if ".." not in line]
        path = next((path for path in paths if is_safe_file(path, tree.root, allow_outside)), None)
        mended += path in paths[2:] and path not in paths[:2]
        sample = Sample(path or paths[0], os.path.relpath(path or paths[0], tree.root).replace(os.sep, "/"))
        if path is None:
            sample.reject("missing_image")
        samples.append(sample)
    if mended:
        message = f"{mended} paths begin with {_CVAT_PREFIX!r}, as CVAT writes them; they are read without it."
        dataset.add("path_mended", "note", os.path.relpath(place, tree.root).replace(os.sep, "/"), message)
    return samples


def _lines(file: Path) -> Iterable[str]:
    content = read_small(file)
    text = decode(content) if len(content) <= MAX_TEXT_BYTES else None
    if text is None:
        raise DatasetError(f"{file} is not UTF-8 text of at most 8 MB.", "Check that it is the file you mean.")
    return [line.strip().replace("\\", "/") for line in text.splitlines() if line.strip()]


def _names_from_file(tree: Tree) -> tuple[str, ...] | None:
    """Class names, one a line, of a classes.txt or obj.names anywhere in the folder."""
    files = [tree.root / name for name in tree.others if Path(name).name.lower() in _NAME_FILES]
    lists = {check_names(list(_lines(file)), file) for file in files}
    if len(lists) > 1:
        raise ConfigError(
            f"{files[0]} and {files[1]} give different class names.", "Keep one, or write the names in a data.yaml."
        )
    names = lists.pop() if lists else ()
    if len(names) > MAX_CLASSES:
        raise ConfigError(f"{files[0]} has {len(names)} lines; at most {MAX_CLASSES} classes.", "Check the file.")
    return names or None


def _invent_names(dataset: Dataset) -> None:
    highest = max((int(sample.cls.max()) for sample in dataset.samples if len(sample.cls)), default=0)
    dataset.names = dataset.names[: highest + 1]
    dataset.add("no_names", "warning", "", "No class names are given; classes are called class0, class1, ...")


def _parse(sample: Sample, dataset: Dataset, audit: AuditSettings) -> None:
    assert sample.label is not None
    name = os.path.relpath(sample.label, dataset.root).replace(os.sep, "/")
    try:
        content = read_small(sample.label)
    except DatasetError as error:
        dataset.add("unreadable", "error", name, error.message)
        sample.reject("unreadable")
        return
    parsed = parse_yolo(content, printable(name), dataset.names, audit.bad_label)
    sample.cls, sample.xywhn, sample.conf = parsed.cls, parsed.xywhn, parsed.conf
    dataset.findings += parsed.findings
    if parsed.reason:
        sample.reject(parsed.reason)


def _report_orphans(tree: Tree, dataset: Dataset, allow_outside: bool) -> None:
    """Warn of label files no image uses. Other text files are told apart by folder, or by their first line."""
    used = {sample.label for sample in dataset.samples}
    unlisted = set(tree.images) - {sample.name for sample in dataset.samples}
    used |= {find_label(tree.root / name, tree.root, LABEL_FOLDERS, ".txt", allow_outside) for name in unlisted}
    for name in tree.others:
        path = tree.root / name
        if path.suffix.lower() != ".txt" or path.name.lower() in _NAME_FILES or path in used:
            continue
        if any(part in LABEL_FOLDERS for part in Path(name).parts[:-1]) or _looks_like_labels(path):
            dataset.add("orphan_label", "warning", name, "This label file belongs to no image.")


def _looks_like_labels(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return _LABEL_ROW.fullmatch(file.readline(400)) is not None
    except OSError:
        return False


def write_yolo(rows: Sequence[Row], names: Sequence[str], folder: Path) -> None:
    """Write ``labels/<split>/*.txt`` and ``data.yaml`` for images that lie in ``images/<split>``.

    Confidences go into ``confidences.csv``: training reads five columns only. Images nobody labelled get no file.

    Args:
        rows: The images.
        names: Class names.
        folder: Of the new set.
    """
    confidences: list[tuple[Any, ...]] = []
    for row in rows:
        sample, image = row.sample, f"{image_folder(row)}/{row.file}"
        if sample.label is not None:
            label = folder / "labels" / row.split / f"{row.stem}.txt"
            write_labels(label, sample.cls, sample.xywhn)
        confidences += [(image, i, f"{conf:g}") for i, conf in enumerate(sample.conf) if not np.isnan(conf)]
    splits = {row.split for row in rows}
    content: dict[str, Any] = {split: f"images/{split}" for split in (*SPLITS, UNASSIGNED) if split in splits}
    content |= {"nc": len(names), "names": dict(enumerate(names))}
    storage.write_text(folder / "data.yaml", dump_yaml(content))
    if confidences:
        storage.write_text(folder / "confidences.csv", csv_text(("view", "box", "confidence"), sorted(confidences)))


def image_folder(row: Row) -> str:
    """Where an image lies in a set that has a folder for each split."""
    return f"images/{row.split}" if row.split else "images"
