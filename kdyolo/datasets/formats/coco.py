"""Read and write COCO json: one file for all images or one a split, boxes in pixels as x, y, width, height."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kdyolo import storage
from kdyolo.config import AuditSettings, DataSettings
from kdyolo.datasets.formats.data_yaml import check_names
from kdyolo.datasets.formats.entries import Box, Entry, LabelFile, build
from kdyolo.datasets.formats.json_file import as_number, load_json
from kdyolo.datasets.formats.labels import BadLine
from kdyolo.datasets.formats.writing import Row
from kdyolo.datasets.sample import Dataset, printable
from kdyolo.datasets.tree import Tree
from kdyolo.errors import ConfigError, DatasetError

_HEAD = re.compile(rb"\A(\xef\xbb\xbf)?\s*\{")
_LIST = re.compile(rb'"(images|annotations|categories)"\s*:\s*\[')
_OTHER_TASKS = ("person_keypoints", "captions", "stuff", "panoptic")
_DECIMALS = 4
Id = int | str


def is_coco(head: bytes) -> bool:
    """Whether a json file that starts so looks like COCO."""
    return bool(_HEAD.match(head) and _LIST.search(head))


def read_coco(
    files: Sequence[Path], tree: Tree, names: tuple[str, ...] | None, data: DataSettings, audit: AuditSettings
) -> Dataset:
    """Read a COCO data set. Boxes are taken as pixels of the image as shown, that is, after its EXIF orientation.

    Args:
        files: Its json files, in order of name.
        tree: Its images' folder, scanned.
        names: Class names; None takes the categories in order of their ids.
        data: Whether names may lead out of the folder.
        audit: What a bad box takes with it.

    Raises:
        ConfigError: Categories are wrong.
        DatasetError: A file cannot be read, or nothing it lists is there.
        UntrustedFileError: The name of an image leads out of the folder.
    """
    parsed, headings = [], set()
    for path in _of_one_task(files):
        content = load_json(path, _slim)
        parsed.append(_parse(path, content))
        headings |= _heading(content)
    _drop_headings(parsed, headings)
    return build("coco", parsed, tree, names, data, audit)


def _of_one_task(files: Sequence[Path]) -> list[Path]:
    """Without the files that label the same images for another task (key points, captions) beside ``instances_*``."""
    boxes = {file.parent for file in files if file.name.startswith("instances")}
    return [file for file in files if file.parent not in boxes or not file.name.startswith(_OTHER_TASKS)]


def _slim(item: dict[str, Any]) -> dict[str, Any]:
    """An object without its mask, which fills most of a COCO file."""
    item.pop("segmentation", None)
    return item


def _parse(path: Path, data: Any) -> LabelFile:
    if not isinstance(data, dict):
        raise DatasetError(f"{path} is no COCO data set.", "It must be one object with images and annotations.")
    file = LabelFile(path)
    images, annotations, categories = (_items(data, key, file) for key in ("images", "annotations", "categories"))
    names = _categories(categories, path) if categories else _invented(annotations, file)
    file.classes = {name: order for order, name in enumerate(names.values())}
    by_id = _entries(images, file)
    if not isinstance(data.get("annotations"), list) or (annotations and not any("bbox" in a for a in annotations)):
        file.say("unused_labels", "warning", "The file holds no boxes; it only lists images.")
        annotations = []
        for entry in file.entries:
            entry.labelled = False
    lost, crowds = 0, Counter[Id | None]()
    for item in annotations:
        image_id = _id(item.get("image_id"))
        if image_id not in by_id:
            lost += 1
        elif item.get("iscrowd") in (1, True):
            crowds[image_id] += 1
        else:
            _add(item, by_id[image_id], names)
    for image_id, count in crowds.items():
        message = f"{count} crowd boxes, which stand for groups, are left out."
        by_id[image_id].notes.append(("crowd", "note", message))
    if lost:
        file.say("orphan_annotation", "warning", f"{lost} annotations belong to no image that the file lists.")
    return file


def _items(data: dict[str, Any], key: str, file: LabelFile) -> list[dict[str, Any]]:
    value = data.get(key)
    if value is None:
        value = []
    if not isinstance(value, list):
        raise DatasetError(f"{file.path}: {key} is no list.", "Export it again.")
    items = [item for item in value if isinstance(item, dict)]
    if len(items) < len(value):
        file.say("bad_entry", "warning", f"{len(value) - len(items)} of its {key} are no objects; they are left out.")
    return items


def _categories(items: Sequence[dict[str, Any]], path: Path) -> dict[Id, str]:
    """Category id -> class name, in order of id: numbers first, then texts."""
    names: dict[Id, str] = {}
    for item in items:
        category, name = _id(item.get("id")), item.get("name")
        if isinstance(name, int) and not isinstance(name, bool):
            name = str(name)
        if category is None or not isinstance(name, str):
            raise ConfigError(f"{path}: a category has the id {item.get('id')!r:.40} and the name {name!r:.40}.",
                              "Give every category a number as id and a text as name.")  # fmt: skip
        if category in names:
            raise ConfigError(f"{path}: the category id {category!r:.40} is given twice.", "Give each its own id.")
        names[category] = name
    ordered = sorted(names, key=lambda category: (isinstance(category, str), category))
    return dict(zip(ordered, check_names([names[category] for category in ordered], path), strict=True))


def _invented(annotations: Sequence[dict[str, Any]], file: LabelFile) -> dict[Id, str]:
    found = {category for item in annotations if (category := _id(item.get("category_id"))) is not None}
    file.say(
        "no_names", "warning", "The file lists no categories; classes are called class1, class2, ... by their ids."
    )
    return {category: f"class{category}" for category in sorted(found, key=lambda c: (isinstance(c, str), c))}


def _entries(images: Sequence[dict[str, Any]], file: LabelFile) -> dict[Id | None, Entry]:
    """Put an entry for every image into the file; returns them by image id."""
    by_id: dict[Id | None, Entry] = {}
    nameless = 0
    for item in images:
        image_id, name = _id(item.get("id")), item.get("file_name")
        if image_id is None or not isinstance(name, str) or not name.strip():
            nameless += 1
            continue
        file.entries.append(entry := Entry((name,), _size(item)))
        first = by_id.setdefault(image_id, entry)
        if first is not entry:
            message = f"The image id {image_id!r:.40} is given to several images: nobody can say whose its boxes are."
            entry.refused = first.refused = ("bad_entry", message)
    if nameless:
        file.say("bad_entry", "warning", f"{nameless} of its images have no id or no file_name; they are left out.")
    return by_id


def _size(item: dict[str, Any]) -> tuple[int, int]:
    width, height = as_number(item.get("width")), as_number(item.get("height"))
    known = math.isfinite(width) and math.isfinite(height) and width > 0 and height > 0
    return (int(width), int(height)) if known else (0, 0)


def _add(item: dict[str, Any], entry: Entry, names: dict[Id, str]) -> None:
    category = _id(item.get("category_id"))
    box = item.get("bbox")
    if category not in names:
        known = ", ".join(f"{i} {name}" for i, name in list(names.items())[:10])
        message = f"The category {printable(str(item.get('category_id')))[:40]!r} does not exist; known: {known}."
        entry.faults.append((BadLine("class_id", message), None))
    elif not isinstance(box, list) or len(box) != 4:
        entry.faults.append((BadLine("bad_object", f"A box of class {names[category]!r} has no four numbers."), None))
    else:
        x, y, width, height = (as_number(value) for value in box)
        score = as_number(item.get("score"))
        conf = score if 0 <= score <= 1 else math.nan
        entry.boxes.append(Box(names[category], (x, y, x + width, y + height), conf=conf))


def _id(value: Any) -> Id | None:
    """An id as a number where it is one, also one written as text; None for what cannot be an id."""
    if isinstance(value, str):
        return int(value) if re.fullmatch("-?[0-9]{1,18}", value) else value or None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(as_number(value)):
        return None
    return int(value) if value == int(value) else None


def _heading(data: dict[str, Any]) -> set[str]:
    """The name of the category that all others have as supercategory; Roboflow names the project so."""
    categories = [item for item in data.get("categories") or () if isinstance(item, dict)]
    pairs = [(str(item.get("name")), str(item.get("supercategory"))) for item in categories]
    above = {supercategory for _, supercategory in pairs}
    return {name for name, supercategory in pairs if len(above) == 2 and {name, supercategory} == above}


def _drop_headings(files: Sequence[LabelFile], headings: set[str]) -> None:
    used = {box.name for file in files for entry in file.entries for box in entry.boxes}
    for file in files:
        for name in (headings - used) & file.classes.keys():
            del file.classes[name]
            message = f"The category {printable(name)!r} is only the heading of the others: it is no class."
            file.say("category_heading", "note", message)


def write_coco(rows: Sequence[Row], names: Sequence[str], folder: Path) -> None:
    """Write ``annotations/instances_<split>.json`` for images that lie in ``images/<split>``.

    Boxes are pixels with 4 decimals; where a box has a confidence it is its ``score``. Images nobody labelled are not
    listed.

    Args:
        rows: The images.
        names: Class names; category ids count from 1.
        folder: Of the new set.
    """
    for split in sorted({row.split for row in rows}):
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        for row in (row for row in rows if row.split == split and row.sample.label is not None):
            check = row.sample.check
            images.append({"id": len(images) + 1, "file_name": row.file, "width": check.width, "height": check.height})
            for box in _boxes(row):
                annotations.append({"id": len(annotations) + 1, "image_id": len(images), **box})
        content = {
            "info": {"description": "written by kdyolo"},
            "licenses": [],
            "images": images,
            "annotations": annotations,
            "categories": [{"id": i, "name": name, "supercategory": "none"} for i, name in enumerate(names, 1)],
        }
        name = f"instances_{split}.json" if split else "instances.json"
        storage.write_text(folder / "annotations" / name, json.dumps(content, allow_nan=False) + "\n")


def _boxes(row: Row) -> list[dict[str, Any]]:
    boxes = []
    for class_id, xyxy, conf in row.pixel_boxes():
        x1, y1, x2, y2 = xyxy
        bbox = [round(value, _DECIMALS) for value in (x1, y1, x2 - x1, y2 - y1)]
        area = round(bbox[2] * bbox[3], _DECIMALS)
        score = {} if math.isnan(conf) else {"score": round(conf, 6)}
        boxes.append({"category_id": class_id + 1, "bbox": bbox, "area": area, "iscrowd": 0, **score})
    return boxes
