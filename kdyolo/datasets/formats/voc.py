"""Read and write Pascal VOC: one xml file an image, with ``ImageSets`` or split folders."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, ParseError, SubElement

import defusedxml.ElementTree as SafeTree
import numpy as np
from defusedxml import DefusedXmlException

from kdyolo import storage
from kdyolo.boxes import normalise
from kdyolo.config import AuditSettings, DataSettings
from kdyolo.datasets.formats.data_yaml import UNASSIGNED
from kdyolo.datasets.formats.entries import unknown_class
from kdyolo.datasets.formats.labels import MAX_LABEL_BYTES, BadLine, LabelBuilder, decode
from kdyolo.datasets.formats.writing import Row, by_image, pixels
from kdyolo.datasets.images import oriented_size
from kdyolo.datasets.layout import collect, find_label, read_small, report_broken
from kdyolo.datasets.sample import Dataset, Sample, printable
from kdyolo.datasets.tree import Tree
from kdyolo.errors import DatasetError

XML_FOLDERS = ("Annotations", "annotations", "labels", "xml", "xmls")


@dataclass
class _Annotation:
    """One xml file: image size it claims (0, 0 for none), and (class name, xmin, ymin, xmax, ymax) or what is wrong."""

    size: tuple[int, int]
    objects: list[tuple[str, list[float]] | BadLine]


def read_voc(tree: Tree, names: tuple[str, ...] | None, data: DataSettings, audit: AuditSettings) -> Dataset:
    """Read a VOC data set.

    Args:
        tree: Its folder, scanned.
        names: Class names; None takes those in the files, sorted alphabetically.
        data: Whether links may leave the folder.
        audit: What a bad object takes with it.

    Raises:
        DatasetError: The files hold no object at all, or a list cannot be read.
    """
    dataset = Dataset(tree.root, "voc", (), collect(tree), list(tree.findings))
    _apply_image_sets(dataset, tree)
    report_broken(dataset)
    annotations: dict[str, _Annotation] = {}
    for sample in dataset.samples:
        sample.label = find_label(sample.image, tree.root, XML_FOLDERS, ".xml", data.allow_outside)
        if sample.label is not None and not sample.quarantine:
            _read_xml(sample, dataset, annotations)
    dataset.names = names or _class_names(annotations)
    for sample in dataset.samples:
        if sample.name in annotations:
            _fill(sample, annotations[sample.name], dataset, audit)
    used = {sample.label for sample in dataset.samples}
    for name in tree.others:
        if name.lower().endswith(".xml") and tree.root / name not in used:
            dataset.add("orphan_label", "warning", name, "This xml file belongs to no image.")
    return dataset


def _class_names(annotations: dict[str, _Annotation]) -> tuple[str, ...]:
    found = {item[0] for each in annotations.values() for item in each.objects if isinstance(item, tuple)}
    if not found:
        raise DatasetError("The xml files hold no object.", "Check that they are Pascal VOC annotations.")
    return tuple(sorted(found))


def _apply_image_sets(dataset: Dataset, tree: Tree) -> None:
    """Take splits from ``ImageSets/Main/{train,val,test}.txt``; ``trainval`` counts as train where that is missing."""
    lists = {
        PurePosixPath(name).stem: name
        for name in tree.others
        if PurePosixPath(name).parts[-3:-1] == ("ImageSets", "Main") and name.endswith(".txt")
    }
    chosen = {split: lists[split] for split in ("train", "val", "test") if split in lists}
    if "train" not in chosen and "val" not in chosen and "trainval" in lists:
        chosen["train"] = lists["trainval"]
    if not chosen:
        return
    by_stem: dict[str, list[Sample]] = {}
    for sample in dataset.samples:
        sample.given = ()
        by_stem.setdefault(PurePosixPath(sample.name).stem, []).append(sample)
    for split, name in chosen.items():
        text = decode(read_small(tree.root / name)) or ""
        for stem in (line.strip() for line in text.splitlines() if line.strip()):
            words = stem.rsplit(None, 1)
            if stem not in by_stem and words[1:] and words[1] in ("-1", "0", "1"):  # as in the lists of one class
                stem = words[0]
            for sample in by_stem.get(stem, []):
                sample.given = (*sample.given, split) if split not in sample.given else sample.given
            if stem not in by_stem:
                dataset.add("missing_image", "warning", name, f"It lists {printable(stem)!r}, but there is no image.")


def _read_xml(sample: Sample, dataset: Dataset, annotations: dict[str, _Annotation]) -> None:
    assert sample.label is not None
    name = os.path.relpath(sample.label, dataset.root).replace(os.sep, "/")
    code, message = "bad_xml", ""
    try:
        content = read_small(sample.label)
        if len(content) > MAX_LABEL_BYTES:
            code, message = "label_too_large", f"The file is over {MAX_LABEL_BYTES // 1_000_000} MB."
        else:
            annotations[sample.name] = _annotation(SafeTree.fromstring(content))
    except DatasetError as error:
        code, message = "unreadable", error.message
    except DefusedXmlException:
        message = "The xml declares entities, which can fill the memory; remove its DTD."
    except (ParseError, ValueError, LookupError) as error:
        message = f"This is no VOC annotation: {error}."
    if message:
        dataset.add(code, "error", name, message)
        sample.reject(code)


def _annotation(root: Element) -> _Annotation:
    if root.tag != "annotation":
        raise ValueError(f"its outermost element is <{root.tag[:40]}>, not <annotation>")
    width, height = (_text(root, f"size/{key}") for key in ("width", "height"))
    size = (int(width), int(height)) if width.isdecimal() and height.isdecimal() else (0, 0)
    return _Annotation(size, [_object(element) for element in root.findall("object")])


def _object(element: Element) -> tuple[str, list[float]] | BadLine:
    name = _text(element, "name")
    if not name:
        return BadLine("bad_object", "An object has no class name.")
    try:
        box = [float(_text(element, f"bndbox/{key}")) for key in ("xmin", "ymin", "xmax", "ymax")]
    except ValueError:
        return BadLine("bad_object", f"An object of class {printable(name)!r} has no complete box.")
    if not all(math.isfinite(value) for value in box):
        return BadLine("not_finite", f"An object of class {printable(name)!r} has a coordinate that is no number.")
    return name, box


def _text(element: Element, path: str) -> str:
    return (element.findtext(path) or "").strip()


def _fill(sample: Sample, annotation: _Annotation, dataset: Dataset, audit: AuditSettings) -> None:
    """Boxes of one image, as shares of its real upright size, whatever size the xml claims."""
    assert sample.label is not None
    name = printable(os.path.relpath(sample.label, dataset.root).replace(os.sep, "/"))
    size = oriented_size(sample.image)
    if size is None:
        return  # the image check says why
    builder = LabelBuilder(name, audit.bad_label)
    if annotation.size not in ((0, 0), size):
        claimed, real = ("{} x {}".format(*pair) for pair in (annotation.size, size))
        builder.say("size_mismatch", "warning", f"The xml says {claimed} px, the image has {real}; the image counts.")
    for item in annotation.objects:
        if isinstance(item, BadLine):
            builder.bad(item, None)
        elif item[0] not in dataset.names:
            builder.bad(unknown_class(item[0], dataset.names), None)
        else:
            builder.add(dataset.names.index(item[0]), normalise(np.array([item[1]]), *size)[0].tolist(), None)
    parsed = builder.finish()
    sample.cls, sample.xywhn = parsed.cls, parsed.xywhn
    dataset.findings += parsed.findings
    if parsed.reason:
        sample.reject(parsed.reason)


def write_voc(rows: Sequence[Row], names: Sequence[str], folder: Path) -> None:
    """Write ``Annotations/*.xml`` and ``ImageSets/Main/<split>.txt`` for images that lie in ``JPEGImages``.

    Corners are pixels counted from 0, whole where they are whole, else with up to 4 decimals. The format has no place
    for confidences, nor for classes without a box. Images nobody labelled get no xml.

    Args:
        rows: The images.
        names: Class names.
        folder: Of the new set.
    """
    lists: dict[str, list[str]] = {}
    for row, splits in by_image(rows):
        for split in splits:
            lists.setdefault(split, []).append(row.stem)
        if row.sample.label is not None:
            root = _element(row, names)
            ElementTree.indent(root)
            text = ElementTree.tostring(root, encoding="unicode")
            storage.write_text(folder / "Annotations" / f"{row.stem}.xml", text + "\n")
    for split in sorted(lists.keys() - {UNASSIGNED}):
        text = "".join(f"{stem}\n" for stem in lists[split])
        storage.write_text(folder / "ImageSets" / "Main" / f"{split}.txt", text)


def _element(row: Row, names: Sequence[str]) -> Element:
    root = Element("annotation")
    SubElement(root, "folder").text = "JPEGImages"
    SubElement(root, "filename").text = row.file
    size = SubElement(root, "size")
    check = row.sample.check
    for key, side in (("width", check.width), ("height", check.height), ("depth", 3)):
        SubElement(size, key).text = str(side)
    SubElement(root, "segmented").text = "0"
    for class_id, xyxy, _ in row.pixel_boxes():
        item = SubElement(root, "object")
        SubElement(item, "name").text = printable(names[class_id])
        SubElement(item, "pose").text = "Unspecified"
        SubElement(item, "truncated").text = "0"
        SubElement(item, "difficult").text = "0"
        box = SubElement(item, "bndbox")
        for key, value in zip(("xmin", "ymin", "xmax", "ymax"), xyxy, strict=True):
            SubElement(box, key).text = pixels(value)
    return root
