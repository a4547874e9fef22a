"""Read and write "CVAT for images 1.1": one xml for all images, with the labels' list at its head."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, ParseError, SubElement

import defusedxml.ElementTree as SafeTree
from defusedxml import DefusedXmlException

from kdyolo import storage
from kdyolo.config import AuditSettings, DataSettings
from kdyolo.datasets.formats.entries import Box, Entry, LabelFile, build, size_of
from kdyolo.datasets.formats.labels import BadLine, finite
from kdyolo.datasets.formats.writing import Row, by_image, pixels
from kdyolo.datasets.layout import split_of
from kdyolo.datasets.sample import Dataset, printable
from kdyolo.datasets.tree import Tree
from kdyolo.errors import DatasetError, UntrustedFileError

MAX_BYTES = 500_000_000
SCORE = "score"
_ROOT = re.compile(rb"<annotations[\s>]")
_NO_SHAPES = frozenset(("attribute", "tag"))


def is_cvat(head: bytes) -> bool:
    """Whether an xml file that starts so may be CVAT's."""
    return _ROOT.search(head[:4096]) is not None


def read_cvat(
    files: Sequence[Path], tree: Tree, names: tuple[str, ...] | None, data: DataSettings, audit: AuditSettings
) -> Dataset:
    """Read a data set annotated in CVAT. Polygons, masks and turned boxes become the boxes around them.

    Args:
        files: Its xml files, in order of name.
        tree: Its images' folder, scanned.
        names: Class names; None takes the labels in the files' order.
        data: Whether names may lead out of the folder.
        audit: What a bad box takes with it.

    Raises:
        DatasetError: A file cannot be read, is for video, or nothing it lists is there.
        UntrustedFileError: A file declares entities, or the name of an image leads out of the folder.
    """
    return build("cvat", [_parse(file) for file in files], tree, names, data, audit)


def _parse(path: Path) -> LabelFile:
    file = LabelFile(path)
    nameless = tracks = 0
    try:
        for element in _elements(path):
            if element.tag == "meta":
                labels = [(label.text or "").strip() for label in element.findall("*/labels/label/name")]
                file.classes |= {name: order for order, name in enumerate(labels) if name}
            elif element.tag == "track":
                tracks += 1
            elif name := element.get("name", "").strip():
                file.entries.append(_entry(element, name))
            else:
                nameless += 1
    except DefusedXmlException as error:
        raise UntrustedFileError(f"{path} declares entities, which can fill the memory.", "Remove its DTD.") from error
    except (ParseError, ValueError, LookupError) as error:
        raise DatasetError(f"{path} is no readable xml: {error}.", "Export it again.") from error
    if tracks and not file.entries:
        raise DatasetError(f"{path} is in the format CVAT for video.", "Export it as `CVAT for images 1.1`.")
    if nameless:
        file.say("bad_entry", "warning", f"{nameless} of its images have no name; they are left out.")
    if not file.classes:
        file.classes = {box.name: 0 for entry in file.entries for box in entry.boxes}
    return file


def _elements(path: Path) -> Iterator[Element]:
    """The children of the outermost element one by one; memory holds one at a time."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise DatasetError(f"{path} is over {MAX_BYTES // 1_000_000} MB.", "Export the tasks one by one.")
        with path.open("rb") as source:
            depth = 0
            for event, element in SafeTree.iterparse(source, events=("start", "end")):
                depth += 1 if event == "start" else -1
                if event == "start" and depth == 1 and element.tag != "annotations":
                    raise ValueError(f"its outermost element is <{element.tag[:40]}>, not <annotations>")
                if event == "end" and depth == 1:
                    if element.tag in ("meta", "image", "track"):
                        yield element
                    element.clear()
    except OSError as error:
        raise DatasetError(f"Cannot read {path}: {error.strerror}.", "Check its permissions.") from error


def _entry(element: Element, name: str) -> Entry:
    entry = Entry((name,), size_of(element.get("width", ""), element.get("height", "")))
    entry.split = split_of(f"{element.get('subset', '')}/_")
    for shape in element:
        if shape.tag in _NO_SHAPES:
            continue
        try:
            label = shape.get("label", "").strip()
            if not label:
                raise BadLine("bad_object", f"A {printable(shape.tag[:20])} has no label.")
            if (corners := _corners(shape, entry)) is not None:
                entry.boxes.append(Box(label, corners, conf=_score(shape)))
        except BadLine as fault:
            entry.faults.append((fault, None))
    return entry


def _corners(shape: Element, entry: Entry) -> tuple[float, float, float, float] | None:
    """x1, y1, x2, y2 of the box around a shape; None for shapes that have no extent."""
    if shape.tag == "box":
        x1, y1, x2, y2 = (finite(shape.get(key, "")) for key in ("xtl", "ytl", "xbr", "ybr"))
        if angle := finite(shape.get("rotation") or "0"):
            entry.notes.append(("rotated", "note", "A turned box is replaced by the upright box around it."))
            return around_turned(x1, y1, x2, y2, angle)
        return x1, y1, x2, y2
    if shape.tag == "polygon":
        points = [finite(value) for value in re.split("[,;]", shape.get("points", ""))]
        if len(points) < 6 or len(points) % 2:
            raise BadLine("bad_object", "A polygon has fewer than three points.")
        entry.notes.append(("polygon", "note", "The polygon is replaced by the box around it."))
        return min(points[0::2]), min(points[1::2]), max(points[0::2]), max(points[1::2])
    if shape.tag == "mask":
        left, top, width, height = (finite(shape.get(key, "")) for key in ("left", "top", "width", "height"))
        entry.notes.append(("polygon", "note", "The mask is replaced by the box around it."))
        return left, top, left + width, top + height
    entry.notes.append(("shape_ignored", "note", f"A {printable(shape.tag[:20])} is no box and is left out."))
    return None


def around_turned(x1: float, y1: float, x2: float, y2: float, degrees: float) -> tuple[float, float, float, float]:
    """Corners of the upright box around a box that is turned about its own centre."""
    angle = math.radians(degrees)
    cos, sin = abs(math.cos(angle)), abs(math.sin(angle))
    cx, cy, width, height = (x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1
    half_w, half_h = (width * cos + height * sin) / 2, (width * sin + height * cos) / 2
    return cx - half_w, cy - half_h, cx + half_w, cy + half_h


def _score(shape: Element) -> float:
    """The attribute ``score``, as `write_cvat` writes it; NaN where there is none in [0, 1]."""
    texts = [(a.text or "").strip() for a in shape.findall("attribute") if a.get("name") == SCORE]
    try:
        score = finite(texts[0]) if texts else math.nan
    except BadLine:
        return math.nan
    return score if 0 <= score <= 1 else math.nan


def write_cvat(rows: Sequence[Row], names: Sequence[str], folder: Path) -> None:
    """Write ``annotations.xml`` for images that lie in ``images``, and ``labels.json`` for CVAT's label constructor.

    Corners have 4 decimals; where a box has a confidence it is an attribute ``score`` of the box. Images nobody
    labelled are not listed.

    Args:
        rows: The images.
        names: Class names.
        folder: Of the new set.
    """
    root = Element("annotations")
    SubElement(root, "version").text = "1.1"
    labels = SubElement(SubElement(SubElement(root, "meta"), "task"), "labels")
    for name in names:
        label = SubElement(labels, "label")
        SubElement(label, "name").text = printable(name)
        SubElement(label, "type").text = "rectangle"
        attribute = SubElement(SubElement(label, "attributes"), "attribute")
        for key, value in (("name", SCORE), ("mutable", "False"), ("input_type", "text"), ("default_value", "")):
            SubElement(attribute, key).text = value
        SubElement(attribute, "values")
    listed = [pair for pair in by_image(rows) if pair[0].sample.label is not None]
    for number_, (row, splits) in enumerate(listed):
        _write_image(SubElement(root, "image", id=str(number_), name=row.file), row, splits, names)
    ElementTree.indent(root, " ")
    text = ElementTree.tostring(root, encoding="unicode")
    storage.write_text(folder / "annotations.xml", f'<?xml version="1.0" encoding="utf-8"?>\n{text}\n')
    score = {"name": SCORE, "mutable": False, "input_type": "text", "default_value": "", "values": [""]}
    spec = [{"name": printable(name), "type": "rectangle", "attributes": [score]} for name in names]
    storage.write_json(folder / "labels.json", spec)


def _write_image(element: Element, row: Row, splits: tuple[str, ...], names: Sequence[str]) -> None:
    element.set("width", str(row.sample.check.width))
    element.set("height", str(row.sample.check.height))
    if splits:
        element.set("subset", splits[0])
    for class_id, xyxy, conf in row.pixel_boxes():
        source = "manual" if math.isnan(conf) else "auto"
        box = SubElement(element, "box", label=printable(names[class_id]), source=source, occluded="0")
        for key, value in zip(("xtl", "ytl", "xbr", "ybr"), xyxy, strict=True):
            box.set(key, pixels(value))
        box.set("z_order", "0")
        if not math.isnan(conf):
            SubElement(box, "attribute", name=SCORE).text = f"{conf:.6f}"
