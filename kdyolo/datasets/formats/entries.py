"""What one label file says of many images, and the samples that come of it: COCO, csv, CVAT and Label Studio alike."""

from __future__ import annotations

import math
import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from kdyolo.boxes import normalise
from kdyolo.config import AuditSettings, DataSettings
from kdyolo.datasets.formats.data_yaml import MAX_CLASSES, check_names
from kdyolo.datasets.formats.image_names import ImageNames, split_of_file
from kdyolo.datasets.formats.labels import BadLine, LabelBuilder
from kdyolo.datasets.images import oriented_size
from kdyolo.datasets.layout import collect, report_broken
from kdyolo.datasets.sample import Dataset, Sample, Severity, printable
from kdyolo.datasets.tree import Tree
from kdyolo.errors import ConfigError, DatasetError

_NAMED = 3


@dataclass(frozen=True, slots=True)
class Box:
    """One box as a label file gives it.

    Attributes:
        name: Its class.
        corners: x1, y1, x2, y2.
        shares: Whether the corners are shares of the image; else pixels.
        conf: Its confidence in [0, 1]; NaN for none.
        line: Where it stands in the file, counted from 1.
    """

    name: str
    corners: tuple[float, float, float, float]
    shares: bool = False
    conf: float = math.nan
    line: int | None = None


@dataclass(slots=True)
class Entry:
    """What a label file says of one image.

    Attributes:
        names: What it calls the image, then other spellings to look for.
        size: Width and height (px) it claims; 0, 0 for none.
        boxes: Its boxes.
        faults: What cannot be a box, with its line.
        notes: (code, severity, message) of what was read with goodwill or left out.
        split: The split it puts the image in; empty for none.
        labelled: Whether somebody or something labelled the image; else it is only listed.
        refused: Code and sentence where no box of it can be trusted.
    """

    names: tuple[str, ...]
    size: tuple[int, int] = (0, 0)
    boxes: list[Box] = field(default_factory=list)
    faults: list[tuple[BadLine, int | None]] = field(default_factory=list)
    notes: list[tuple[str, Severity, str]] = field(default_factory=list)
    split: tuple[str, ...] = ()
    labelled: bool = True
    refused: tuple[str, str] | None = None


@dataclass
class LabelFile:
    """One label file, parsed.

    Attributes:
        path: The file.
        entries: What it says, image by image.
        classes: Class name -> its place among the classes; equal places are ordered by name.
        findings: (code, severity, message) about the file as a whole.
        lines: Whether findings are best told by the file's own name and line.
    """

    path: Path
    entries: list[Entry] = field(default_factory=list)
    classes: dict[str, int] = field(default_factory=dict)
    findings: list[tuple[str, Severity, str]] = field(default_factory=list)
    lines: bool = False

    def say(self, code: str, severity: Severity, message: str) -> None:
        """Record a finding about the file."""
        self.findings.append((code, severity, message))


def build(
    kind: str,
    files: Sequence[LabelFile],
    tree: Tree,
    names: tuple[str, ...] | None,
    data: DataSettings,
    audit: AuditSettings,
) -> Dataset:
    """Samples of a folder's images with what label files say of them.

    Args:
        kind: Name of the format.
        files: The label files, parsed, in order of name.
        tree: The images' folder, scanned.
        names: Class names that were given; None takes those of the files.
        data: Whether names may lead out of the folder.
        audit: What a bad box takes with it.

    Raises:
        ConfigError: Class names are wrong or too many.
        DatasetError: None of the images is there, or there is no class.
        UntrustedFileError: The name of an image leads out of the folder.
    """
    if not any(file.entries for file in files):
        raise DatasetError(f"{files[0].path} lists no image.", "Check that it is the file you mean.")
    dataset = Dataset(tree.root, kind, names or _class_names(files), [], list(tree.findings))
    samples = {sample.name: sample for sample in collect(tree)}
    said: dict[str, list[tuple[LabelFile, Entry]]] = defaultdict(list)
    finder = ImageNames(tree, data.allow_outside)
    unfound: list[tuple[LabelFile, Entry, list[str]]] = []
    for file in files:
        for finding in file.findings:
            dataset.add(finding[0], finding[1], _shown(file.path, tree.root), finding[2])
        found = finder.match((entry.names for entry in file.entries), file.path)
        for entry in file.entries:
            if (name := found.found.get(entry.names[0])) is not None:
                said[name].append((file, entry))
            else:
                unfound.append((file, entry, found.ambiguous.get(entry.names[0], [])))
    for name in said.keys() - samples.keys():
        samples[name] = Sample(Path(os.path.realpath(tree.root / name)), name)
    if not said:
        raise _no_image(unfound[0], len(unfound), tree)
    _report_unfound(unfound, {id(file) for group in said.values() for file, _ in group}, samples, dataset)
    dataset.samples = [samples[name] for name in sorted(samples)]
    report_broken(dataset)
    for sample in dataset.samples:
        if sample.name in said:
            _fill(sample, said[sample.name], dataset, audit)
    return dataset


def _class_names(files: Sequence[LabelFile]) -> tuple[str, ...]:
    place: dict[str, int] = {}
    for file in files:
        for name, order in file.classes.items():
            place[name] = min(order, place.get(name, order))
    if not place:
        raise DatasetError(f"{files[0].path} holds no box.", "Check that it is the file you mean.")
    if len(place) > MAX_CLASSES:
        raise ConfigError(f"{files[0].path} has {len(place)} classes; kdyolo takes at most {MAX_CLASSES}.", "Check it.")
    return check_names(sorted(place, key=lambda name: (place[name], name)), files[0].path)


def _no_image(first: tuple[LabelFile, Entry, list[str]], count: int, tree: Tree) -> DatasetError:
    have = printable(next(iter((*tree.images, *tree.broken)), "none"))
    return DatasetError(
        f"None of the {count} images that {first[0].path.name} lists is in {tree.root}: "
        f"it says {printable(first[1].names[0])!r}, the folder has {have!r}.",
        "Give the folder that holds these images, under these names.",
    )


def _report_unfound(
    unfound: Sequence[tuple[LabelFile, Entry, list[str]]],
    used: set[int],
    samples: dict[str, Sample],
    dataset: Dataset,
) -> None:
    """Images that are listed and missing count as bad ones; a file all of whose images are elsewhere only is told."""
    elsewhere = Counter(_shown(file.path, dataset.root) for file, _, _ in unfound if id(file) not in used)
    for shown, count in elsewhere.items():
        message = f"None of its {count} images is in this folder: left out."
        dataset.add("unused_labels", "warning", shown, message)
    for file, entry, fits in unfound:
        if id(file) not in used:
            continue
        name = entry.names[0]
        if fits:
            listed = " and ".join(printable(fit) for fit in fits[:_NAMED])
            message = f"{printable(name)!r} fits {listed} equally well: its boxes are left out."
            dataset.add("ambiguous_image", "warning", _shown(file.path, dataset.root), message)
        elif name not in samples:
            samples[name] = Sample(dataset.root / name, name, entry.split)
            samples[name].reject("missing_image")


def _shown(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name


def _fill(sample: Sample, said: Sequence[tuple[LabelFile, Entry]], dataset: Dataset, audit: AuditSettings) -> None:
    """Splits and boxes of one image; boxes are shares of its real upright size, whatever size a file claims."""
    given = [split for file, entry in said for split in entry.split or split_of_file(_shown(file.path, dataset.root))]
    sample.given = tuple(dict.fromkeys(given)) or sample.given
    labelled = [(file, entry) for file, entry in said if entry.labelled]
    if not labelled:
        return
    first = labelled[0][0]
    sample.label = first.path
    size = oriented_size(sample.image) if not sample.quarantine else None
    if size is None:
        return  # the image check says why
    builder = LabelBuilder(printable(_shown(first.path, dataset.root) if first.lines else sample.name), audit.bad_label)
    if len(labelled) > 1:
        message = f"{printable(sample.name)} is listed {len(labelled)} times; the boxes of all are kept."
        builder.say("listed_twice", "warning", message)
    refused = next((entry.refused for _, entry in labelled if entry.refused), None)
    if refused:
        builder.refuse(*refused)
    for _, entry in labelled:
        _add(entry, size, dataset.names, builder)
    parsed = builder.finish()
    sample.cls, sample.xywhn, sample.conf = parsed.cls, parsed.xywhn, parsed.conf
    dataset.findings += parsed.findings
    if parsed.reason:
        sample.reject(parsed.reason)


def _add(entry: Entry, size: tuple[int, int], names: Sequence[str], builder: LabelBuilder) -> None:
    if entry.size not in ((0, 0), size):
        claimed, real = ("{} x {}".format(*pair) for pair in (entry.size, size))
        message = f"The labels say {claimed} px, the image has {real}; the image counts."
        builder.say("size_mismatch", "warning", message)
    for code, severity, text in entry.notes:
        builder.say(code, severity, text)
    for fault, line in entry.faults:
        builder.bad(fault, line)
    for box in entry.boxes:
        if box.name not in names:
            builder.bad(unknown_class(box.name, names), box.line)
        elif not all(map(math.isfinite, box.corners)):
            message = f"A box of class {printable(box.name)!r} has a coordinate that is no number."
            builder.bad(BadLine("not_finite", message), box.line)
        else:
            corners = box.corners if box.shares else normalise(np.array([box.corners]), *size)[0].tolist()
            builder.add(names.index(box.name), corners, box.line, box.conf)


def size_of(width: str, height: str) -> tuple[int, int]:
    """Width and height (px) written as text; 0, 0 where they are no plain numbers."""
    known = re.fullmatch("[0-9]{1,9}", width) and re.fullmatch("[0-9]{1,9}", height)
    return (int(width), int(height)) if known else (0, 0)


def unknown_class(name: str, names: Iterable[str]) -> BadLine:
    """The fault of a box whose class is in no list."""
    known = ", ".join(list(names)[:10])
    return BadLine("class_id", f"The class {printable(name[:80])!r} is unknown; known: {known}.")
