"""What a data set is made of before it is split: images with their boxes, and what was found wrong with them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from kdyolo.boxes import Boxes

if TYPE_CHECKING:
    from kdyolo.datasets.auditing.copies import Copy
    from kdyolo.datasets.splits.grouping import Link

ClassIds = NDArray[np.int64]
Confidences = NDArray[np.float64]
Severity = Literal["error", "warning", "note"]
Treatment = Literal["link", "repair", "convert"]

SPLITS = ("train", "val", "test")
SHARED_FORMATS = ("coco", "csv", "label-studio", "cvat")  # one label file speaks of many images


def printable(name: str) -> str:
    r"""A file name as text any file or terminal can take: undecodable bytes and control characters become ``\x..``."""
    text = name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing the checks saw.

    Attributes:
        code: Stable name of the kind, for example ``truncated``; `codes.CODES` says what each means and what to do.
        severity: ``error``: the image is kept out, or the user's own splits cannot be used; ``warning``: worth a look;
            ``note``: what was done about it, or good to know.
        file: Image or label file, relative to the data set's root; empty when it concerns the whole set.
        message: What is wrong with this file, one sentence.
        line: Line of the label file, counted from 1.
        partner: The other image, where it takes two.
        boxes: Which of the image's boxes it concerns, counted from 0.
    """

    code: str
    severity: Severity
    file: str
    message: str
    line: int | None = None
    partner: str = ""
    boxes: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class ImageCheck:
    """What one image file turned out to be.

    Attributes:
        reason: Code of why it cannot be used; empty when it can.
        message: The same as a sentence.
        notes: (severity, code, message) of what is unusual about a usable image.
        treatment: How the clean view gets it: ``link`` unchanged, ``repair`` (JPEG end mended), ``convert`` (RGB PNG).
        suffix: Its extension in the view, by content and not by name.
        width, height: Pixels after EXIF orientation.
        size: Bytes in the view.
        sha256: Of the bytes in the view.
        source_sha256: Of the user's file; empty where it cannot be read.
        signature: What it looks like, see `signatures.signature`; empty where the image cannot be used.
    """

    reason: str = ""
    message: str = ""
    notes: tuple[tuple[Severity, str, str], ...] = ()
    treatment: Treatment = "link"
    suffix: str = ""
    width: int = 0
    height: int = 0
    size: int = 0
    sha256: str = ""
    source_sha256: str = ""
    signature: bytes = b""


def no_boxes() -> Boxes:
    """Boxes of an image that has none, (0, 4)."""
    return np.zeros((0, 4))


def no_classes() -> ClassIds:
    """Class ids of an image that has no boxes, (0,)."""
    return np.zeros(0, dtype=np.int64)


def no_confidences() -> Confidences:
    """Confidences of an image that has no boxes, (0,)."""
    return np.zeros(0)


@dataclass
class Sample:
    """One image and its labels.

    Attributes:
        image: The user's file.
        name: The same relative to the data set's root, with forward slashes; may hold undecodable bytes.
        given: Splits the user put it in; empty for none, several where the user's lists overlap.
        label: Its label file, None where there is none.
        cls: Class ids (N,).
        xywhn: Boxes (N, 4), centre and size as shares of the oriented image, inside [0, 1].
        conf: Confidences (N,) where the labels came with them, NaN elsewhere; (0,) where the format has none.
        quarantine: Code of why it is kept out; empty while it is in.
        check: What the image file turned out to be; set by `image_checks.check_images`.
    """

    image: Path
    name: str
    given: tuple[str, ...] = ()
    label: Path | None = None
    cls: ClassIds = field(default_factory=no_classes)
    xywhn: Boxes = field(default_factory=no_boxes)
    conf: Confidences = field(default_factory=no_confidences)
    quarantine: str = ""
    check: ImageCheck = field(default_factory=ImageCheck)

    def reject(self, code: str) -> None:
        """Keep the image out; the first reason stays."""
        self.quarantine = self.quarantine or code


@dataclass
class Dataset:
    """A data set as read.

    Attributes:
        root: Its folder, resolved.
        format: A `kdyolo.config.DataSettings.format` other than ``auto``; ``images`` where there are no labels.
        names: Class names; the index is the class id.
        samples: Images in order of name, quarantined ones included.
        findings: What reading and checking saw.
        copies: Images that another one already shows; None until `copies.copies_of` has looked.
        near: Near and mirrored copies; None until `copies.near_links_of` has looked.
    """

    root: Path
    format: str
    names: tuple[str, ...]
    samples: list[Sample]
    findings: list[Finding] = field(default_factory=list)
    copies: list[Copy] | None = None
    near: list[Link] | None = None

    @property
    def one_file_an_image(self) -> bool:
        """Whether every label file belongs to one image; in other formats one file labels many."""
        return self.format not in SHARED_FORMATS

    @property
    def usable(self) -> list[Sample]:
        """Images that are not quarantined."""
        return [sample for sample in self.samples if not sample.quarantine]

    def add(
        self,
        code: str,
        severity: Severity,
        file: str,
        message: str,
        *,
        partner: str = "",
        boxes: tuple[int, ...] = (),
    ) -> None:
        """Record a finding about `file`, a name relative to the root or "" for the whole set."""
        found = Finding(code, severity, printable(file), message, partner=printable(partner), boxes=boxes)
        self.findings.append(found)
