"""The page of an audit: a verdict, then every kind of finding with pictures, and the data set in figures."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup, escape
from numpy.typing import NDArray

from kdyolo.config import AuditSettings
from kdyolo.datasets.auditing.audit import grouped, ordered, summarise
from kdyolo.datasets.auditing.box_table import BoxTable
from kdyolo.datasets.auditing.codes import AREAS, CODES, Kind
from kdyolo.datasets.sample import SPLITS, Dataset, Finding, Sample, printable
from kdyolo.errors import ConfigError, RunExistsError
from kdyolo.report.audit_pictures import Album, Frame, spread
from kdyolo.report.pages import environment
from kdyolo.storage import write_text

_MARK = '<meta name="generator" content="kdyolo audit">'
_EXAMPLES = {"error": 12, "warning": 12, "note": 6}
_ANY = 4
_PLACEHOLDERS = 2
_LISTED = 100
_SHOWN_CLASSES = 200
_SIDE = 640.0
_DRAWN_AREAS = ("labels", "classes")
_BY_ANY_IMAGE = ("whole_image_boxes", "one_box_size")  # kinds of all labels together: any image shows what is meant


@dataclass(frozen=True)
class Example:
    """One image, or two that belong together, and what was found."""

    frames: list[Frame]
    message: str


@dataclass(frozen=True)
class Section:
    """One kind of finding on the page; `listed` are those shown as text, of `count` in all."""

    code: str
    severity: str
    kind: Kind
    count: int
    examples: list[Example]
    listed: Sequence[Finding]


@dataclass(frozen=True)
class Bar:
    """A row of a bar chart: `share` of the longest bar, in [0, 1]."""

    label: str
    count: int
    share: float


@dataclass(frozen=True)
class Chart:
    """A small bar chart."""

    title: str
    note: str
    bars: list[Bar]


@dataclass(frozen=True)
class ClassRow:
    """Boxes of a class, in all and in each of the user's splits; `share` of the most frequent class."""

    name: str
    count: int
    share: float
    splits: dict[str, int]


def require_free(file: Path, root: Path) -> None:
    """Refuse a place where the page would do harm.

    Raises:
        ConfigError: It lies in the data set, or is a folder.
        RunExistsError: The file exists and is no page of an audit.
    """
    if Path(os.path.realpath(file)).is_relative_to(root):
        raise ConfigError(f"{file} lies in the data set, which is never written to.", "Give another folder.")
    if file.is_dir():
        raise ConfigError(f"{file} is a folder.", "Give a file name, for example audit.html.")
    if file.exists() and _MARK.encode() not in file.read_bytes()[:4000]:
        raise RunExistsError(f"{file} exists and is no page of an audit.", "Give another name.")


def write_page(dataset: Dataset, audit: AuditSettings, file: Path) -> None:
    """Write the page of a checked data set; an earlier one is replaced.

    Raises:
        ConfigError, RunExistsError: As `require_free`.
        EnvironmentFault: The disk is full or cannot be written.
    """
    require_free(file, dataset.root)
    write_text(file, page(dataset, audit))


def page(dataset: Dataset, audit: AuditSettings) -> str:
    """The page as HTML; every text of the data set is escaped."""
    summary = summarise(dataset, limit=0)
    finder = _Finder(dataset, Album(audit))
    sections = [finder.section(members) for members in grouped(ordered(dataset.findings))]
    context = {
        "name": printable(dataset.root.name),
        "summary": summary,
        "worst": next((s for s in ("error", "warning") if summary[f"{s}s"]), "good"),
        "areas": {title: [s for s in sections if s.kind.area == area] for area, title in AREAS.items()},
        "classes": _class_rows(dataset),
        "splits": summary["splits"],
        "charts": _charts(dataset.usable),
    }
    templates = environment()
    templates.filters["code"] = _code
    return templates.get_template("audit.html.j2").render(context).strip() + "\n"


def _code(text: str) -> Markup:
    """A text with what stands in `backticks` as code."""
    parts = enumerate(text.split("`"))
    return Markup("").join(Markup("<code>{}</code>").format(part) if i % 2 else escape(part) for i, part in parts)


class _Finder:
    """Turns findings into sections with pictures."""

    def __init__(self, dataset: Dataset, album: Album) -> None:
        self.dataset = dataset
        self.album = album
        self.by_name = {printable(sample.name): sample for sample in dataset.samples}
        if dataset.one_file_an_image:
            for sample in dataset.samples:
                if sample.label is not None:
                    label = os.path.relpath(sample.label, dataset.root).replace(os.sep, "/")
                    self.by_name.setdefault(printable(label), sample)

    def section(self, members: Sequence[Finding]) -> Section:
        """The section of one kind; `members` are all its findings."""
        first = members[0]
        examples = []
        for index in spread(len(members), _EXAMPLES[first.severity]):
            frames = [] if self.album.full else self._frames(members[index])
            if frames:
                examples.append(Example(frames, _caption(members[index])))
        if first.code in _BY_ANY_IMAGE:
            examples = self._any_images()
        if not any(frame.anchor for example in examples for frame in example.frames):
            examples = examples[:_PLACEHOLDERS]
        return Section(first.code, first.severity, CODES[first.code], len(members), examples, members[:_LISTED])

    def _frames(self, finding: Finding) -> list[Frame]:
        """The image a finding is about, after the one it is a copy of, if any."""
        sample, partner = self.by_name.get(finding.file), self.by_name.get(finding.partner)
        drawn = CODES[finding.code].area in _DRAWN_AREAS or finding.code == "labels_differ"
        frames = []
        for image in (partner, sample):
            if image is not None and not (image is partner and partner is sample):
                marked = finding.boxes if image is sample else ()
                frames.append(self.album.frame(image, " and ".join(image.given), boxes=drawn, marked=marked))
        return frames

    def _any_images(self) -> list[Example]:
        labelled = [sample for sample in self.dataset.usable if len(sample.cls)]
        chosen = [labelled[index] for index in spread(len(labelled), _ANY)]
        return [Example([self.album.frame(s, boxes=True, marked=range(len(s.cls)))], "") for s in chosen]


def _caption(finding: Finding) -> str:
    return finding.message if finding.line is None else f"Line {finding.line}: {finding.message}"


def _class_rows(dataset: Dataset) -> list[ClassRow]:
    """Classes in the order of their ids, the most frequent ones where there are too many to show."""
    nc = len(dataset.names)
    columns = [name for name in SPLITS if any(name in sample.given for sample in dataset.usable)]
    per_split = {name: _counts([s for s in dataset.usable if name in s.given], nc) for name in columns}
    total = _counts(dataset.usable, nc)
    shown = sorted(np.argsort(-total, kind="stable")[:_SHOWN_CLASSES].tolist())
    most = max(int(total.max(initial=0)), 1)
    return [
        ClassRow(
            printable(dataset.names[class_id]),
            int(total[class_id]),
            float(total[class_id] / most),
            {name: int(counts[class_id]) for name, counts in per_split.items()},
        )
        for class_id in shown
    ]


def _counts(samples: Sequence[Sample], nc: int) -> NDArray[np.int64]:
    return np.bincount(BoxTable.of(samples).cls, minlength=nc)


def _charts(samples: Sequence[Sample]) -> list[Chart]:
    table = BoxTable.of(samples)
    sides = np.array([max(sample.check.width, sample.check.height) for sample in samples], dtype=np.float64)
    scale = _SIDE / np.maximum(table.side.max(axis=1, initial=1), 1)
    sizes = np.sqrt((table.xywhn[:, 2:] * table.side).prod(axis=1)) * scale
    return [
        Chart(
            "Size of boxes",
            f"Square root of the area, in pixels of an image scaled to {_SIDE:g} px",
            _bars(sizes, (0, 8, 16, 32, 64, 96, 192, 384, np.inf)),
        ),
        Chart(
            "Boxes in an image",
            "Images with so many boxes",
            _bars(table.counts, (0, 1, 2, 3, 5, 10, 20, 50, 100, np.inf)),
        ),
        Chart(
            "Size of images",
            "Longer side, in pixels",
            _bars(sides, (0, 160, 320, 640, 960, 1280, 1920, 3840, np.inf)),
        ),
    ]


def _bars(values: NDArray[Any], edges: Sequence[float]) -> list[Bar]:
    """How many values lie in each bin [edge, next edge), without empty bins at the ends."""
    counts = np.histogram(values, edges)[0].tolist()
    filled = [index for index, count in enumerate(counts) if count] or [0]
    most = max(*counts, 1)
    return [Bar(_range(edges[i], edges[i + 1]), counts[i], counts[i] / most) for i in range(filled[0], filled[-1] + 1)]


def _range(low: float, high: float) -> str:
    if high == np.inf:
        return f"{low:g} and more"
    return f"{low:g}" if high - low == 1 else f"{low:g} to {high - 1:g}"
