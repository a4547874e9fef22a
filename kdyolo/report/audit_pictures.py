"""Small pictures of what an audit found: one image or two side by side, with boxes drawn over them."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from kdyolo.boxes import denormalise, xywh_to_xyxy
from kdyolo.config import AuditSettings
from kdyolo.datasets.images import Bad, check_image, view_bytes
from kdyolo.datasets.sample import Sample, printable
from kdyolo.report.numbers import shorten

MAX_SIDE = 300
MAX_BYTES = 5_500_000
"""Of all pictures of a page together, as data URIs."""

_JPEG_QUALITY = 74
_MAX_BOXES = 150
_UNSAFE = ("outside_root", "broken_link", "missing_image", "not_a_file")
_REDUCED = {
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}


@dataclass(frozen=True)
class Shape:
    """A box in pixels of the shown picture; `marked` where the finding is about it."""

    x: float
    y: float
    width: float
    height: float
    marked: bool


@dataclass(frozen=True)
class Frame:
    """One image as shown.

    Attributes:
        name: Its name in the data set.
        caption: What to say of it besides.
        anchor: Id of the picture on the page; empty where it cannot be shown.
        uri: The JPEG as data URI; empty where an earlier frame of the page holds it.
        width, height: Of the picture (px).
        shapes: Boxes over it.
    """

    name: str
    caption: str
    anchor: str = ""
    uri: str = ""
    width: int = 0
    height: int = 0
    shapes: list[Shape] = field(default_factory=list)

    @property
    def short(self) -> str:
        """Its name without folders, cut where it is long."""
        return shorten(self.name.rsplit("/", 1)[-1], 48)


class Album:
    """Makes the pictures of one page: each image once, and no more than fits.

    Args:
        audit: Limits on images that have not been checked, because their labels were refused first.
    """

    def __init__(self, audit: AuditSettings) -> None:
        self.audit = audit
        self.bytes = 0
        self._made: dict[str, Frame | None] = {}

    @property
    def full(self) -> bool:
        """Whether the page has all the pictures it may have."""
        return self.bytes >= MAX_BYTES

    def frame(self, sample: Sample, caption: str = "", *, boxes: bool = False, marked: Iterable[int] = ()) -> Frame:
        """A picture of an image.

        Args:
            sample: The image.
            caption: What to say of it besides its name.
            boxes: Draw its boxes.
            marked: Which of them stand out.
        """
        name = printable(sample.name)
        first = name not in self._made
        if first:
            self._made[name] = self._picture(sample)
        made = self._made[name]
        if made is None:
            return Frame(name, caption)
        shapes = _shapes(sample, made, set(marked)) if boxes else []
        return Frame(name, caption, made.anchor, made.uri if first else "", made.width, made.height, shapes)

    def _picture(self, sample: Sample) -> Frame | None:
        image = _read(sample, self.audit)
        if image is None:
            return None
        height, width = image.shape[:2]
        scale = min(1.0, MAX_SIDE / max(height, width))
        size = max(1, round(width * scale)), max(1, round(height * scale))
        small = cv2.resize(image, size, interpolation=cv2.INTER_AREA) if scale < 1 else image
        jpeg = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])[1]
        uri = "data:image/jpeg;base64," + base64.b64encode(jpeg.tobytes()).decode("ascii")
        self.bytes += len(uri)
        return Frame(printable(sample.name), "", f"picture-{len(self._made)}", uri, *size)


def spread(total: int, count: int) -> list[int]:
    """At most `count` of the numbers below `total`, evenly spread."""
    return [i * total // min(count, total) for i in range(min(count, total))]


def _read(sample: Sample, audit: AuditSettings) -> NDArray[np.uint8] | None:
    """The image (H, W, 3) as BGR, upright, perhaps reduced; None where it cannot be shown or must not be opened."""
    if sample.quarantine in _UNSAFE:
        return None
    check = sample.check if sample.check.sha256 or sample.check.reason else check_image(sample.image, audit)
    if check.reason:
        return None
    reduce = max((factor for factor in _REDUCED if max(check.width, check.height) >= 2 * factor * MAX_SIDE), default=1)
    try:
        data = view_bytes(sample.image.read_bytes(), check.treatment)
        image = cv2.imdecode(np.frombuffer(data, np.uint8), _REDUCED.get(reduce, cv2.IMREAD_COLOR))
    except (OSError, Bad, cv2.error):  # it vanished or changed since it was checked
        return None
    return None if image is None else np.asarray(image, dtype=np.uint8)


def _shapes(sample: Sample, made: Frame, marked: set[int]) -> list[Shape]:
    xyxy = denormalise(xywh_to_xyxy(sample.xywhn), made.width, made.height).round(1)
    rows = sorted(range(len(xyxy)), key=lambda row: row in marked)[-_MAX_BOXES:]  # what stands out is drawn last
    return [
        Shape(x1, y1, round(max(x2 - x1, 1), 1), round(max(y2 - y1, 1), 1), row in marked)
        for row in rows
        for x1, y1, x2, y2 in [xyxy[row].tolist()]
    ]
