"""Label files of other programs, written by hand, and what was read from them in a form that is easy to compare."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from builders import write_image

from kdyolo.boxes import denormalise, xywh_to_xyxy
from kdyolo.config import AuditSettings, DataSettings
from kdyolo.datasets.auditing.checks import check_files
from kdyolo.datasets.formats.detect import read
from kdyolo.datasets.images import oriented_size
from kdyolo.datasets.sample import Dataset, Sample
from kdyolo.progress import Silent


def load(source: Path, audit: AuditSettings | None = None, **data: Any) -> Dataset:
    """A data set, read and its files checked."""
    audit = audit or AuditSettings()
    dataset = read(source, DataSettings(**data), audit)
    check_files(dataset, audit, Silent())
    return dataset


def codes(dataset: Dataset) -> list[str]:
    """Codes of all findings, each once."""
    return sorted({finding.code for finding in dataset.findings})


def bad(dataset: Dataset) -> dict[str, str]:
    """Name -> code of the images that are kept out."""
    return {sample.name: sample.quarantine for sample in dataset.samples if sample.quarantine}


def boxes_of(dataset: Dataset, name: str) -> list[tuple[Any, ...]]:
    """(class name, x1, y1, x2, y2) in pixels, rounded to a thousandth, of an image whose name ends so; in order."""
    (sample,) = (sample for sample in dataset.samples if sample.name.endswith(name))
    return pixel_boxes(sample, dataset.names)


def pixel_boxes(sample: Sample, names: Sequence[str]) -> list[tuple[Any, ...]]:
    """The same of a sample."""
    corners = denormalise(xywh_to_xyxy(sample.xywhn), *(oriented_size(sample.image) or (1, 1))).round(3) + 0.0
    return [(names[c], *box) for c, box in zip(sample.cls.tolist(), corners.tolist(), strict=True)]


def images(folder: Path, *names: str, size: tuple[int, int] = (64, 48)) -> Path:
    """A folder with images of these names."""
    for seed, name in enumerate(names):
        write_image(folder / name, seed, size)
    return folder


def coco(
    files: Mapping[Any, str],
    boxes: Sequence[tuple[Any, Any, Sequence[Any]]] = (),
    categories: Mapping[Any, str] | None = None,
    **more: Any,
) -> dict[str, Any]:
    """A COCO object: image id -> file name, (image id, category id, bbox), category id -> name."""
    categories = {1: "cat", 2: "dog"} if categories is None else categories
    return {
        "images": [{"id": i, "file_name": name, "width": 64, "height": 48} for i, name in files.items()],
        "annotations": [
            {"id": n, "image_id": image, "category_id": category, "bbox": list(bbox), "iscrowd": 0}
            for n, (image, category, bbox) in enumerate(boxes, 1)
        ],
        "categories": [{"id": i, "name": name} for i, name in categories.items()],
        **more,
    }


def write_json(path: Path, data: Any) -> Path:
    """Write json as other programs do: NaN included."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data))
    return path


def region(label: str | None, x: float, y: float, w: float, h: float, **more: Any) -> dict[str, Any]:
    """A region of Label Studio, in percent of a 64 x 48 image."""
    value = {"x": x, "y": y, "width": w, "height": h, "rotation": more.pop("rotation", 0)}
    if label is not None:
        value["rectanglelabels"] = [label]
    base = {"type": "rectanglelabels", "original_width": 64, "original_height": 48, "value": value}
    return base | more


def task(image: str, *annotations: Any, predictions: Sequence[Any] = (), **more: Any) -> dict[str, Any]:
    """A task of Label Studio; annotations and predictions are lists of regions or whole objects."""

    def whole(item: Any) -> Any:
        return {"result": item} if isinstance(item, list) else item

    return {
        "id": 1,
        "data": {"image": image},
        "annotations": [whole(item) for item in annotations],
        "predictions": [whole(item) for item in predictions],
        **more,
    }


def cvat(*items: str, labels: Sequence[str] = ("dog", "cat")) -> str:
    """A CVAT xml of these image elements."""
    named = "".join(f"<label><name>{name}</name></label>" for name in labels)
    meta = f"<meta><task><labels>{named}</labels></task></meta>" if labels else ""
    return f"<annotations><version>1.1</version>{meta}{''.join(items)}</annotations>"
