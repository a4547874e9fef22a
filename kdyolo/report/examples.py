"""Test images with the boxes of the truth and of each arm, as plain shapes that the page draws over one photograph."""

from __future__ import annotations

import base64
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from kdyolo.boxes import iou_matrix
from kdyolo.language import ENGLISH, Language
from kdyolo.report.load import Box, Example, Inputs
from kdyolo.report.numbers import shorten

MAX_SIDE = 640
MAX_BOXES = 100
_JPEG_QUALITY = 82
_MATCH_IOU = 0.5
_LETTER = 0.62
"""Width of a letter over its height, about."""
_LINES = (0, 1, -1, 2, -2, 3, -3, 4)

PALETTE = (
    "#ffd43b",
    "#4dabf7",
    "#ff8787",
    "#69db7c",
    "#e599f7",
    "#ffa94d",
    "#3bc9db",
    "#c0eb75",
    "#faa2c1",
    "#ced4da",
)
"""Box colours that stand out on a photograph; classes take them in turn."""


@dataclass(frozen=True)
class Shape:
    """A drawn box in pixels of the shrunk image.

    `kind` is ``alarm`` for a detection that matches no truth box, ``missed`` for a truth box that no detection matches
    and "" for all others. The label ends at `text_x` where `at_end` is set and begins there otherwise; `font` is its
    height in pixels.
    """

    x: float
    y: float
    width: float
    height: float
    label: str
    text_x: float
    text_y: float
    at_end: bool
    font: int
    colour: str
    kind: str


@dataclass(frozen=True)
class Panel:
    """One view of an image: the truth or an arm, and in words how it did."""

    title: str
    caption: str
    shapes: list[Shape]
    hidden: int


@dataclass(frozen=True)
class Picture:
    """An image of the compared split: a JPEG as data URI, at most `MAX_SIDE` pixels long, and its panels.

    `uri` is empty where an earlier picture of the same `anchor` carries the photograph; for `group` and `boxes` see
    `Example`.
    """

    name: str
    uri: str
    anchor: str
    width: int
    height: int
    panels: list[Panel]
    group: str
    boxes: int | None


def pictures(inputs: Inputs, language: Language = ENGLISH) -> list[Picture]:
    """All examples that can be read; a path that leads out of the split folder is left out."""
    colours = {name: PALETTE[i % len(PALETTE)] for i, name in enumerate(inputs.results.classes)}
    thresholds = {name: arm.confidence for name, arm in inputs.arms.items()}
    found: list[Picture] = []
    anchors: dict[str, str] = {}
    for example in inputs.examples:
        image = _read(inputs.split_dir, example.path)
        if image is not None:
            is_new = example.path not in anchors
            anchor = anchors.setdefault(example.path, f"image-{len(anchors) + 1}")
            found.append(_picture(example, image, anchor, is_new, colours, thresholds, language))
    return found


def legend(inputs: Inputs, shown: list[Picture]) -> list[tuple[str, str]]:
    """Class and colour of the classes that occur in the pictures, in the order of the data set."""
    used = {shape.colour for picture in shown for panel in picture.panels for shape in panel.shapes}
    names = {box.name for e in inputs.examples for boxes in (e.truth, *e.arms.values()) for box in boxes}
    both = [(name, PALETTE[i % len(PALETTE)]) for i, name in enumerate(inputs.results.classes) if name in names]
    return [(name, colour) for name, colour in both if colour in used]


def _read(folder: Path, relative: str) -> NDArray[np.uint8] | None:
    """The image (H, W, 3) as BGR, turned as its EXIF orientation says, the frame its boxes are in."""
    try:
        path = (folder / relative).resolve()
        if not path.is_relative_to(folder.resolve()) or not path.is_file():
            return None
        image = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR)
    except (OSError, ValueError, cv2.error):
        return None
    return None if image is None else np.asarray(image, dtype=np.uint8)


def _picture(
    example: Example,
    image: NDArray[np.uint8],
    anchor: str,
    is_new: bool,
    colours: dict[str, str],
    thresholds: dict[str, float | None],
    language: Language,
) -> Picture:
    height, width = image.shape[:2]
    scale = min(1.0, MAX_SIDE / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA) if scale < 1 else image
    views: list[tuple[str, str, list[tuple[Box, str]]]] = [
        (
            "truth",
            language.ngettext(
                "%(number)s labelled", "%(number)s labelled", len(example.truth), number=len(example.truth)
            ),
            [(box, "") for box in example.truth],
        )
    ]
    for name, threshold in thresholds.items():
        # Boxes go down to the lowest score that counts for mAP; drawn is what the model would be used with.
        boxes = [b for b in example.arms.get(name, []) if b.score is None or b.score >= (threshold or 0)]
        boxes.sort(key=lambda box: -(box.score or 0))
        views.append((name, *_judged(example.truth, boxes, language)))
    most = max(len(boxes) for _, _, boxes in views)
    font = round(max(size) / (24 if most <= 6 else 30 if most <= 12 else 36))
    pen = _Pen(scale, size[0], font, colours, language)
    panels = [
        Panel(
            title,
            caption,
            _legible([pen.shape(box, kind) for box, kind in boxes[:MAX_BOXES]], size[1]),
            max(len(boxes) - MAX_BOXES, 0),
        )
        for title, caption, boxes in views
    ]
    uri = _jpeg(small) if is_new else ""
    return Picture(example.image, uri, anchor, *size, panels, example.group, example.boxes)


def _jpeg(image: NDArray[Any]) -> str:
    encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])[1]
    return "data:image/jpeg;base64," + base64.b64encode(encoded.tobytes()).decode("ascii")


def _judged(truth: list[Box], boxes: list[Box], language: Language) -> tuple[str, list[tuple[Box, str]]]:
    """How an arm did, in words, and its boxes (best score first) with their kinds, then what it missed.

    A box is an alarm where it matches no free truth box of its class at IoU 0.5.
    """
    iou = iou_matrix(_corners(boxes), _corners(truth))
    taken: set[int] = set()
    alarms = set()
    for i, box in enumerate(boxes):
        free = [j for j, t in enumerate(truth) if t.name == box.name and j not in taken and iou[i, j] >= _MATCH_IOU]
        if free:
            taken.add(max(free, key=lambda j: iou[i, j]))
        else:
            alarms.add(i)
    words = language.ngettext(
        "%(found)s of %(truth)s found, %(alarms)s false alarm",
        "%(found)s of %(truth)s found, %(alarms)s false alarms",
        len(alarms),
        found=len(taken),
        truth=len(truth),
        alarms=len(alarms),
    )
    shown = [(box, "alarm" if i in alarms else "") for i, box in enumerate(boxes)]
    return words, shown + [(box, "missed") for j, box in enumerate(truth) if j not in taken]


def _corners(boxes: list[Box]) -> NDArray[np.float64]:
    return np.array([box.xyxy for box in boxes], dtype=np.float64).reshape(-1, 4)


def _legible(shapes: list[Shape], height: int) -> list[Shape]:
    """Labels that would lie on earlier ones moved by a few lines, where the picture of this height has room."""
    taken: list[tuple[float, float, float]] = []
    moved = []
    for shape in shapes:
        width = _LETTER * shape.font * len(shape.label)
        left = shape.text_x - width if shape.at_end else shape.text_x
        lines = [y for down in _LINES if shape.font <= (y := shape.text_y + down * shape.font) < height]
        free = (y for y in lines if not any(_on(left, y, width, shape.font, other) for other in taken))
        y = next(free, shape.text_y)
        if shape.label:
            taken.append((left, y, width))
        moved.append(replace(shape, text_y=round(y, 1)))
    return moved


def _on(left: float, y: float, width: float, font: int, other: tuple[float, float, float]) -> bool:
    """Whether a line of text lies on another one of the same height."""
    return abs(y - other[1]) < 0.9 * font and left < other[0] + other[2] and other[0] < left + width


@dataclass(frozen=True)
class _Pen:
    """Draws the boxes of one picture: `scale` from original to shown pixels, `width` shown, `font` in pixels."""

    scale: float
    width: int
    font: int
    colours: dict[str, str]
    language: Language

    def shape(self, box: Box, kind: str) -> Shape:
        x1, y1, x2, y2 = (round(value * self.scale, 1) for value in box.xyxy)
        score = "" if box.score is None else " " + self.language.digits(f"{box.score:.2f}")
        label = "" if kind == "missed" else shorten(box.name, 18) + score
        # What would leave the image on the right ends at its border.
        at_end = x1 + _LETTER * self.font * len(label) > self.width
        return Shape(
            x=x1,
            y=y1,
            width=round(max(x2 - x1, 0), 1),
            height=round(max(y2 - y1, 0), 1),
            label=label,
            text_x=self.width - 3 if at_end else max(x1, 3),
            text_y=round(y1 - 4 if y1 >= self.font + 2 else max(y1, 0) + self.font + 1, 1),
            at_end=at_end,
            font=self.font,
            colour=self.colours.get(box.name, PALETTE[-1]),
            kind=kind,
        )
