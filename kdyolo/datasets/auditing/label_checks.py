"""What only shows when all boxes are seen together: generated labels, boxes on boxes, boxes too small to learn."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from kdyolo.boxes import xywh_to_xyxy
from kdyolo.datasets.auditing.box_table import BoxTable, Indices
from kdyolo.datasets.sample import Dataset, Sample, printable
from kdyolo.datasets.signatures import HEIGHT, LENGTH, WIDTH, grey_levels

ENOUGH_BOXES = 10
_WHOLE_IMAGE = 0.98
_SAME_OBJECT_IOU = 0.9
_ONE_SIZE_SHARE = 0.95
_SHOWN_SIDE = 640  # the usual training size (px)
_TINY = 3.0  # pixels
_CELLS = np.array([WIDTH, HEIGHT])
_FLAT = 2.0  # grey levels
_CHUNK = 10_000  # images


def report_labels(dataset: Dataset, table: BoxTable) -> None:
    """Record what the boxes of all usable images look like."""
    if not len(table):
        dataset.add("no_boxes", "error", "", "No usable image has a box.")
        return
    if not _whole_images(dataset, table):
        _one_size(dataset, table)
    if len(dataset.names) == 1 or len(np.unique(table.cls)) == 1:
        name = dataset.names[int(table.cls[0])]
        dataset.add("one_class", "note", "", f"All {len(table)} boxes are of class {printable(name)!r}.")
    _tiny(dataset, table)
    _overlaps(dataset, table)
    _flat(dataset, table)


def _whole_images(dataset: Dataset, table: BoxTable) -> bool:
    whole = int((table.xywhn[:, 2] * table.xywhn[:, 3] >= _WHOLE_IMAGE).sum())
    if len(table) < ENOUGH_BOXES or whole <= len(table) / 2:
        return False
    message = f"{whole} of {len(table)} boxes cover the whole image: a detector learns to always answer that."
    dataset.add("whole_image_boxes", "warning", "", message)
    return True


def _one_size(dataset: Dataset, table: BoxTable) -> None:
    """Warn where nearly all boxes have one size, in pixels or as a share of the image."""
    if len(table) < 2 * ENOUGH_BOXES:
        return
    share = table.xywhn[:, 2:]
    for unit, sizes in (("px", np.round(share * table.side)), ("% of the image", np.round(share * 100, 1))):
        values, counts = np.unique(sizes, axis=0, return_counts=True)
        if counts.max() >= _ONE_SIZE_SHARE * len(table):
            width, height = values[counts.argmax()].tolist()
            message = f"{counts.max()} of {len(table)} boxes measure {width:g} x {height:g} {unit}."
            dataset.add("one_box_size", "warning", "", message)
            return


def _tiny(dataset: Dataset, table: BoxTable) -> None:
    # Training shrinks large images and leaves small objects with fewer pixels; small images are not counted as larger.
    shown = np.minimum(1, _SHOWN_SIDE / np.maximum(table.side.max(axis=1, initial=1), 1))
    pixels = (table.xywhn[:, 2:] * table.side).min(axis=1, initial=np.inf) * shown
    for sample, rows in table.by_image(np.flatnonzero(pixels < _TINY)):
        message = f"{_boxes(len(rows))} under {_TINY:g} px at a training size of {_SHOWN_SIDE} px."
        dataset.add("tiny_box", "warning", sample.name, message, boxes=rows)


def _overlaps(dataset: Dataset, table: BoxTable) -> None:
    first, second = table.overlapping(_SAME_OBJECT_IOU)
    same = table.cls[first] == table.cls[second]
    # The same corners with two classes were told when the label file was read.
    equal = np.abs(table.xywhn[first] - table.xywhn[second]).max(axis=1, initial=0) < 1e-6
    for code, chosen, what in (
        ("box_overlap", same, "of one class cover each other"),
        ("class_overlap", ~same & ~equal, "of different classes cover each other"),
    ):
        for sample, rows in table.by_image(np.concatenate([first[chosen], second[chosen]])):
            message = f"{_boxes(len(rows))} {what} almost completely."
            dataset.add(code, "warning", sample.name, message, boxes=rows)


def _flat(dataset: Dataset, table: BoxTable) -> None:
    """Note boxes that show nothing: with the cells around them they are even in the image's signature.

    Only boxes of at least two cells and at most half of the image are judged: a smaller object may vanish in its cell,
    and a larger one leaves no surroundings.
    """
    share = table.xywhn[:, 2:]
    seen = np.array([len(sample.check.signature) == LENGTH for sample in table.samples], dtype=bool)
    fitting = (share * _CELLS >= 2).all(axis=1) & (share.prod(axis=1) <= 0.5)
    judged = np.flatnonzero(seen[table.image] & fitting)
    xyxyn = xywh_to_xyxy(table.xywhn[judged])
    # The first cell a box touches and the last, one further in every direction.
    low = np.maximum(np.floor(xyxyn[:, :2] * _CELLS).astype(np.int64) - 1, 0)
    high = np.minimum(np.ceil(xyxyn[:, 2:] * _CELLS).astype(np.int64) + 1, _CELLS)
    found = [np.zeros(0, dtype=np.int64)]
    for start in range(0, len(table.samples), _CHUNK):
        inside = (table.image[judged] >= start) & (table.image[judged] < start + _CHUNK)
        if inside.any():
            part = table.samples[start : start + _CHUNK]
            spread = _spread(part, table.image[judged[inside]] - start, low[inside], high[inside])
            found.append(judged[inside][spread < _FLAT])
    for sample, rows in table.by_image(np.concatenate(found)):
        message = f"{_boxes(len(rows))} with nothing to see but an even surface."
        dataset.add("flat_box", "note", sample.name, message, boxes=rows)


def _spread(samples: Sequence[Sample], image: Indices, low: Indices, high: Indices) -> NDArray[np.float64]:
    """Standard deviation of grey levels over blocks of signature cells (B,).

    Args:
        samples: Images.
        image: Index of each block's image (B,).
        low: Its first column and row (B, 2).
        high: The column and row after its last (B, 2).
    """
    looks = [sample.check.signature.rjust(LENGTH) for sample in samples]
    grey = grey_levels(looks)
    sums = []
    for values in (grey, grey**2):
        # Summed-area tables (F. C. Crow, SIGGRAPH 1984): the sum of any block from its four corners.
        table = np.pad(values.cumsum(axis=1).cumsum(axis=2), ((0, 0), (1, 0), (1, 0)))
        (x1, y1), (x2, y2) = low.T, high.T
        sums.append(table[image, y2, x2] - table[image, y1, x2] - table[image, y2, x1] + table[image, y1, x1])
    count = (high - low).prod(axis=1)
    variance = sums[1] / count - (sums[0] / count) ** 2
    return np.asarray(np.sqrt(np.maximum(variance, 0)), dtype=np.float64)


def _boxes(count: int) -> str:
    return f"{count} box{'' if count == 1 else 'es'}"
