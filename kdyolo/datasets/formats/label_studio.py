"""Read and write Label Studio json: tasks with annotations of people and predictions of models, boxes in percent."""

from __future__ import annotations

import datetime
import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

import defusedxml.ElementTree as SafeTree
from defusedxml import DefusedXmlException

from kdyolo import storage
from kdyolo.config import AuditSettings, DataSettings
from kdyolo.datasets.formats.entries import Box, Entry, LabelFile, build
from kdyolo.datasets.formats.json_file import as_number, load_json
from kdyolo.datasets.formats.labels import BadLine
from kdyolo.datasets.formats.writing import Row, by_image
from kdyolo.datasets.layout import split_of
from kdyolo.datasets.sample import Dataset, printable
from kdyolo.datasets.tree import IMAGE_SUFFIXES, Tree
from kdyolo.errors import DatasetError, UntrustedFileError

_HEAD = re.compile(rb"\A(\xef\xbb\xbf)?\s*\[\s*\{")
_KEYS = re.compile(rb'"(annotations|predictions|completions)"\s*:\s*\[')
_UPLOADED = re.compile(r"[0-9a-f]{8}-(.+)")
_DECIMALS = 6
INTERFACE, IMAGES = "label_config.xml", "images"
_CONTROLS = ("RectangleLabels", "PolygonLabels", "Labels")


def is_label_studio(head: bytes) -> bool:
    """Whether a json file that starts so looks like Label Studio's."""
    return bool(_HEAD.match(head) and (_KEYS.search(head) or b'"rectanglelabels"' in head))


def read_label_studio(
    files: Sequence[Path], tree: Tree, names: tuple[str, ...] | None, data: DataSettings, audit: AuditSettings
) -> Dataset:
    """Read a data set annotated in Label Studio (export as "JSON").

    Of several annotations of an image the newest that was not cancelled counts; where there is none, the newest
    prediction does, with its scores. Turned boxes and polygons become the boxes around them.

    Args:
        files: Its json files, in order of name.
        tree: Its images' folder, scanned.
        names: Class names; None takes those of ``label_config.xml``, the labelling interface, if it lies beside a file
            or beside the folder ``images``, then those in the files, sorted alphabetically.
        data: Whether names may lead out of the folder.
        audit: What a bad box takes with it.

    Raises:
        DatasetError: A file cannot be read, or nothing it lists is there.
        UntrustedFileError: The name of an image leads out of the folder.
    """
    return build("label-studio", [_parse(file, load_json(file), tree.root) for file in files], tree, names, data, audit)


def _parse(path: Path, data: Any, images: Path) -> LabelFile:
    tasks = [item for item in data if isinstance(item, dict)] if isinstance(data, list) else []
    if tasks and not any("data" in task for task in tasks):
        raise DatasetError(f"{path} is no full export of Label Studio (JSON-MIN, perhaps).", "Export it as JSON.")
    if not tasks:
        raise DatasetError(f"{path} holds no task of Label Studio.", "Export it as JSON.")
    file = LabelFile(path)
    imageless = len(data) - len(tasks)
    for task in tasks:
        if names := _image_names(task):
            file.entries.append(_entry(task, names))
        else:
            imageless += 1
    if imageless:
        file.say("bad_entry", "warning", f"{imageless} of its tasks name no image; they are left out.")
    known = _interface_classes([path.parent, *([images.parent] if images.name == IMAGES else [])])
    file.classes = {box.name: len(known) for entry in file.entries for box in entry.boxes}
    file.classes |= {name: place for place, name in enumerate(known)}
    return file


def _interface_classes(folders: Sequence[Path]) -> list[str]:
    """Labels of boxes in the first labelling interface found, in its order; classes nobody drew are among them."""
    for path in (folder / INTERFACE for folder in folders):
        if not path.is_file():
            continue
        try:
            root = SafeTree.fromstring(path.read_bytes())
        except DefusedXmlException as error:
            raise UntrustedFileError(f"{path} declares entities, which may read other files.", "Remove it.") from error
        except (ElementTree.ParseError, ValueError, OSError) as error:
            raise DatasetError(f"{path} cannot be read: {error}.", "Repair or remove it.") from error
        controls = [control for kind in _CONTROLS for control in root.iter(kind)]
        labels = [(label.get("value") or "").strip() for control in controls for label in control.iter("Label")]
        return list(dict.fromkeys(label for label in labels if label))
    return []


def _image_names(task: Mapping[str, Any]) -> tuple[str, ...]:
    """What a task calls its image: the path in its address, the same decoded, and the name before an upload."""
    data = task.get("data")
    if not isinstance(data, dict):
        return ()
    texts = [value for value in data.values() if isinstance(value, str)]
    images = [text for text in texts if Path(_path_in(text)).suffix.lower() in IMAGE_SUFFIXES]
    address = data["image"] if isinstance(data.get("image"), str) else images[0] if len(images) == 1 else ""
    path = _path_in(address)
    names = [path, unquote(path)]
    for name in (task.get("file_upload"), path, unquote(path)):
        if isinstance(name, str) and (match := _UPLOADED.fullmatch(name.rpartition("/")[2])):
            names.append(match[1])
    return tuple(dict.fromkeys(name for name in names if name))


def _path_in(address: str) -> str:
    """The path in an address of an image, relative: that of ``?d=`` for local files, without host and leading slash."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return ""
    local = parse_qs(parts.query).get("d") if parts.path.rstrip("/").endswith("local-files") else None
    if local:
        return local[0].replace("\\", "/").lstrip("/")
    plain = parts.path if parts.scheme else address  # a plain file name may hold ? and #
    return plain.replace("\\", "/").lstrip("/")


def _entry(task: Mapping[str, Any], names: tuple[str, ...]) -> Entry:
    split = task["data"].get("split")
    entry = Entry(names, split=split_of(f"{split}/_") if isinstance(split, str) else ())
    given = task.get("annotations", task.get("completions"))
    done = [item for item in _objects(given) if not item.get("was_cancelled")]
    guesses = _objects(task.get("predictions"))
    if done:
        _add_results(max(done, key=_age), entry, predicted=False)
    elif guesses:
        entry.notes.append(("predictions_only", "warning", "Nobody has reviewed the predictions of this image."))
        _add_results(max(guesses, key=_age), entry, predicted=True)
    else:
        entry.labelled = False
    return entry


def _objects(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _age(item: Mapping[str, Any]) -> tuple[float, float]:
    """What orders annotations by time, then by id; unknown times come first."""
    number = as_number(item.get("id"))
    return _seconds(item.get("updated_at") or item.get("created_at")), 0.0 if math.isnan(number) else number


def _seconds(value: Any) -> float:
    try:
        time = datetime.datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return -math.inf
    return (time if time.tzinfo else time.replace(tzinfo=datetime.UTC)).timestamp()


def _add_results(item: Mapping[str, Any], entry: Entry, *, predicted: bool) -> None:
    overall = as_number(item.get("score")) if predicted else math.nan
    for result in _objects(item.get("result")):
        try:
            _add(result, entry, predicted, overall)
        except BadLine as fault:
            entry.faults.append((fault, None))


def _add(result: Mapping[str, Any], entry: Entry, predicted: bool, overall: float) -> None:
    """One region. A region drawn without a label repeats in a second result of type ``labels`` that has it."""
    kind, value = result.get("type"), result.get("value")
    if not isinstance(value, dict) or kind in ("rectangle", "polygon") or not {"x", "points"} & value.keys():
        if kind not in ("rectangle", "polygon", "choices", "textarea", "rating", "number", "relation"):
            entry.notes.append(("shape_ignored", "note", f"A {printable(str(kind))[:20]} is no box and is left out."))
        return
    size = (as_number(result.get("original_width")), as_number(result.get("original_height")))
    if all(1 <= side < math.inf for side in size):
        entry.size = (round(size[0]), round(size[1]))
    labels = value.get(str(kind))
    if not isinstance(labels, list) or not labels or not all(isinstance(x, str) and x.strip() for x in labels):
        raise BadLine("bad_object", "A box has no label.")
    if as_number(result.get("image_rotation", 0) or 0) % 360:
        raise BadLine("bad_object", "The image was turned while it was labelled: nobody can say where the box is.")
    corners = _corners(value, entry)
    score = as_number(result.get("score")) if predicted else math.nan
    score = overall if math.isnan(score) else score
    conf = score if 0 <= score <= 1 else math.nan
    entry.boxes += [Box(label.strip(), corners, shares=True, conf=conf) for label in labels]


def _corners(value: Mapping[str, Any], entry: Entry) -> tuple[float, float, float, float]:
    """x1, y1, x2, y2 as shares of the image."""
    if "points" in value:
        return _around_points(value["points"], entry)
    x, y, width, height = (as_number(value.get(key)) / 100 for key in ("x", "y", "width", "height"))
    angle = as_number(value.get("rotation", 0) or 0)
    if angle % 360 == 0:
        return x, y, x + width, y + height
    if not math.isfinite(angle):
        raise BadLine("not_finite", "A box is turned by an angle that is no number.")
    if entry.size == (0, 0):
        raise BadLine("bad_object", "A turned box comes without the image's size.")
    entry.notes.append(("rotated", "note", "A turned box is replaced by the upright box around it."))
    return _around(x, y, width, height, angle, entry.size)


def _around_points(points: Any, entry: Entry) -> tuple[float, float, float, float]:
    pairs = [p for p in points if isinstance(p, list) and len(p) == 2] if isinstance(points, list) else []
    if len(pairs) < 3:
        raise BadLine("bad_object", "A polygon has fewer than three points.")
    xs, ys = ([as_number(pair[axis]) / 100 for pair in pairs] for axis in (0, 1))
    if not all(map(math.isfinite, (*xs, *ys))):
        raise BadLine("not_finite", "A polygon has a coordinate that is no number.")
    entry.notes.append(("polygon", "note", "The polygon is replaced by the box around it."))
    return min(xs), min(ys), max(xs), max(ys)


def _around(
    x: float, y: float, width: float, height: float, degrees: float, size: tuple[int, int]
) -> tuple[float, float, float, float]:
    """Corners of the upright box around one that is turned clockwise about its top left corner; shares of the image."""
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    wide, high = width * size[0], height * size[1]
    corners = [(across * wide, down * high) for across in (0, 1) for down in (0, 1)]
    xs = [x + (dx * cos - dy * sin) / size[0] for dx, dy in corners]
    ys = [y + (dx * sin + dy * cos) / size[1] for dx, dy in corners]
    return min(xs), min(ys), max(xs), max(ys)


def write_label_studio(
    rows: Sequence[Row], names: Sequence[str], folder: Path, title: str, model: str | None = None
) -> None:
    """Write ``tasks.json`` for images that lie in ``images``, and ``label_config.xml``, the labelling interface.

    Labels with confidences, and all where a model is named, become predictions with scores, to be reviewed; others
    become finished annotations. An image nobody labelled is a task without either. The tasks expect local files to be
    served from the folder that holds the new set.

    Args:
        rows: The images.
        names: Class names.
        folder: Of the new set.
        title: The name that folder will have.
        model: Says in ``model_version`` whose labels these are.
    """
    tasks = []
    for row, splits in by_image(rows):
        data = {"image": f"/data/local-files/?d={quote(f'{title}/images/{row.file}')}"}
        tasks.append({"data": data | ({"split": splits[0]} if splits else {}), **_labels(row, names, model)})
    storage.write_text(folder / "tasks.json", json.dumps(tasks, allow_nan=False) + "\n")
    view = Element("View")
    SubElement(view, "Image", name="image", value="$image")
    control = SubElement(view, "RectangleLabels", name="label", toName="image")
    for name in names:
        SubElement(control, "Label", value=printable(name))
    ElementTree.indent(view)
    storage.write_text(folder / INTERFACE, ElementTree.tostring(view, encoding="unicode") + "\n")


def _labels(row: Row, names: Sequence[str], model: str | None) -> dict[str, Any]:
    results, scores = [], []
    width, height = row.sample.check.width, row.sample.check.height
    for number, (class_id, (x1, y1, x2, y2), conf) in enumerate(row.pixel_boxes()):
        percent = (100 * x1 / width, 100 * y1 / height, 100 * (x2 - x1) / width, 100 * (y2 - y1) / height)
        value = dict(zip(("x", "y", "width", "height"), (round(p, _DECIMALS) for p in percent), strict=True))
        result = {
            "id": f"box{number}",
            "type": "rectanglelabels",
            "from_name": "label",
            "to_name": "image",
            "original_width": width,
            "original_height": height,
            "image_rotation": 0,
            "value": {**value, "rotation": 0, "rectanglelabels": [printable(names[class_id])]},
        }
        if not math.isnan(conf):
            result["score"] = round(conf, _DECIMALS)
            scores.append(conf)
        results.append(result)
    if model is None and not scores:
        return {"annotations": [{"result": results}]} if row.sample.label is not None else {}
    mean = {"score": round(sum(scores) / len(scores), _DECIMALS)} if scores else {}
    return {"predictions": [{"model_version": model or "labels with confidences", **mean, "result": results}]}
