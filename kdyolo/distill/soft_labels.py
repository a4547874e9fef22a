"""Soft labels: for each image the teacher's boxes with all class probabilities and how sure it is of each side."""

from __future__ import annotations

import contextlib
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdyolo.boxes import Boxes, Detections, iou_matrix, normalise, xywh_to_xyxy, xyxy_to_xywh
from kdyolo.errors import DatasetError
from kdyolo.storage import atomic_path

FILE = "soft_labels.npz"
VERSION = 2
"""Of the file and of how images are prepared for the teacher; soft labels of another version are refused."""
MIN_IOU = 0.5
"""Least overlap of a true box and the teacher's box about the same object."""
_NEXT = "Run `kdyolo pseudo-label` on this run again, with --force."


@dataclass(frozen=True)
class SoftLabels:
    """What the teacher says of one image.

    Attributes:
        xywhn: Boxes (N, 4) as shares of the image, in order of their score.
        probs: Class probabilities (N, nc) in [0, 1]; independent, they need not sum to 1. NaN: the teacher does not
            know the class, which is another thing than to see none of it.
        spread: Standard deviation (N, 4) of the left, top, right and bottom side under the teacher's distribution, as a
            share of the box's width (left, right) or height (top, bottom).
        score: Confidences (N,) in [0, 1], exactly those that the thresholds of labels are compared with. Of several
            teachers it may be below all of `probs`: whoever is silent counts 0 here, and not at all there.
        cls: Class ids (N,), of `score`.
    """

    xywhn: NDArray[np.float32]
    probs: NDArray[np.float32]
    spread: NDArray[np.float32]
    score: NDArray[np.float64]
    cls: NDArray[np.int64]

    @classmethod
    def nothing(cls, nc: int) -> SoftLabels:
        """Of an image in which nothing was found, or was to be."""
        xywhn, probs, spread = (np.zeros((0, width), np.float32) for width in (4, nc, 4))
        return cls(xywhn, probs, spread, np.zeros(0), np.zeros(0, np.int64))


def soften(found: Detections, width: int, height: int, known: NDArray[np.bool_]) -> SoftLabels:
    """Detections with ``probs`` and ``spread`` as soft labels; boxes are clipped to the image, empty ones left out.

    Args:
        found: What the teacher found.
        width: Of the image (px).
        height: Of the image (px).
        known: (nc,) whether the teacher knows a class at all.
    """
    assert found.probs is not None
    assert found.spread is not None
    xyxyn = normalise(found.xyxy, width, height).clip(0, 1)
    xywhn = xyxy_to_xywh(xyxyn)
    kept = np.argsort(-found.score, kind="stable")
    kept = kept[(xywhn[kept, 2:] > 0).all(axis=1)]
    sides = (xywhn[kept, 2:] * [width, height])[:, [0, 1, 0, 1]]
    probs = np.where(known, found.probs[kept], np.nan)
    return SoftLabels(
        xywhn=xywhn[kept].astype(np.float32),
        probs=probs.astype(np.float32),
        spread=(found.spread[kept] / sides).astype(np.float32),
        score=found.score[kept].astype(np.float64),
        cls=found.cls[kept].astype(np.int64),
    )


@dataclass(frozen=True)
class Origin:
    """Whose soft labels these are: they are worth nothing with another teacher, size or preparation.

    Attributes:
        teacher_sha256: Of the checkpoint.
        imgsz: Size the images were shown at (px).
        classes: Names in the order of the probabilities.
    """

    teacher_sha256: str
    imgsz: int
    classes: tuple[str, ...]


def write_soft_labels(path: Path, labels: Mapping[str, SoftLabels], sha256: Mapping[str, str], origin: Origin) -> None:
    """Write the soft labels of many images into one file, without compression.

    Probabilities and spreads are kept in half precision, scores as they are.

    Args:
        path: The ``.npz`` to write.
        labels: Image's name in the table of pseudo-labels -> its soft labels.
        sha256: Image's name -> sha256 of its file.
        origin: Whose they are.
    """
    names = sorted(labels)
    each = [labels[name] for name in names]
    nc = len(origin.classes)
    counts = [len(soft.xywhn) for soft in each]
    arrays: dict[str, Any] = {
        "version": np.array(VERSION),
        "teacher_sha256": np.array(origin.teacher_sha256),
        "imgsz": np.array(origin.imgsz),
        "classes": np.array(origin.classes, dtype=str),
        "images": np.array(names, dtype=str),
        "sha256": np.array([sha256[name] for name in names], dtype=str),
        "ends": np.cumsum(counts, dtype=np.int64),
        "xywhn": np.concatenate([np.zeros((0, 4)), *(soft.xywhn for soft in each)]).astype(np.float32),
        "probs": np.concatenate([np.zeros((0, nc)), *(soft.probs for soft in each)]).astype(np.float16),
        "spread": np.concatenate([np.zeros((0, 4)), *(soft.spread for soft in each)]).clip(0, 100).astype(np.float16),
        "score": np.concatenate([np.zeros(0), *(soft.score for soft in each)]),
        "cls": np.concatenate([np.zeros(0, np.int32), *(soft.cls for soft in each)]).astype(np.int32),
    }
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)


def require_version(path: Path) -> None:
    """Make sure that soft labels can be read by this version, before hours go into what they are for.

    Raises:
        DatasetError: They cannot.
    """
    with _readable(path), np.load(path) as held:
        version = int(held["version"])
    if version != VERSION:
        raise DatasetError(f"The soft labels in {path} are of version {version}, not {VERSION}.", _NEXT)


def read_soft_labels(path: Path, origin: Origin, sha256: Mapping[str, str]) -> dict[str, SoftLabels]:
    """Read them back.

    Args:
        path: What `write_soft_labels` wrote.
        origin: Whose they must be.
        sha256: Name -> sha256 of the images they are wanted for.

    Returns:
        Name -> soft labels, of exactly the images wanted.

    Raises:
        DatasetError: The file cannot be read, or is of another teacher, size, list of classes or version, or of other
            images of these names, or lacks some: whatever the teacher labelled is in it.
    """
    with _readable(path):
        with np.load(path, allow_pickle=False) as stored:
            held = {name: stored[name] for name in stored.files}
        whose = Origin(str(held["teacher_sha256"]), int(held["imgsz"]), _texts(held["classes"]))
        ours = (int(held["version"]), whose) == (VERSION, origin)
        labels = _by_image(held) if ours else {}
    if not ours:
        raise DatasetError(f"The soft labels in {path} are of another teacher, image size or version.", _NEXT)
    if lacking := [name for name in sha256 if name not in labels]:
        some = f"{len(lacking)} of {len(sha256)} images, {lacking[0]} for one"
        raise DatasetError(f"The soft labels in {path} lack {some}.", _NEXT)
    for name, digest in sha256.items():
        if labels[name][0] != digest:
            raise DatasetError(f"The soft labels in {path} are of another image called {name}.", _NEXT)
    return {name: labels[name][1] for name in sha256}


@contextlib.contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turn whatever comes of a file that is no soft labels into an error that says so."""
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise DatasetError(f"The soft labels in {path} cannot be read: {error}.", _NEXT) from error


def _by_image(held: Mapping[str, NDArray[Any]]) -> dict[str, tuple[str, SoftLabels]]:
    """Name -> sha256 and soft labels of every image in the arrays of a file."""
    kinds = {"xywhn": np.float32, "probs": np.float32, "spread": np.float32, "score": np.float64, "cls": np.int64}
    ends = held["ends"].tolist()
    parts = [np.split(held[key].astype(kind), ends[:-1]) for key, kind in kinds.items()]
    each = zip(_texts(held["images"]), _texts(held["sha256"]), *parts, strict=True)
    return {name: (digest, SoftLabels(*arrays)) for name, digest, *arrays in each}


def _texts(array: NDArray[np.str_]) -> tuple[str, ...]:
    return tuple(str(text) for text in array.reshape(-1).tolist())


def pair(truth_xyxyn: Boxes, soft: SoftLabels) -> NDArray[np.int64]:
    """For each true box the teacher's box that speaks of it, or -1.

    One to one, best overlap first, down to an IoU of 0.5. The teacher's class plays no part: where it is wrong, its
    doubt about the true class is what the student should hear.

    Args:
        truth_xyxyn: Corners (M, 4) as shares of the image.
        soft: The teacher's N boxes.

    Returns:
        Indices (M,) into the N boxes.
    """
    chosen = np.full(len(truth_xyxyn), -1, dtype=np.int64)
    iou = iou_matrix(truth_xyxyn, xywh_to_xyxy(soft.xywhn.astype(np.float64)))
    taken = np.zeros(len(soft.xywhn), dtype=bool)
    order = np.argsort(-iou, axis=None, kind="stable")
    for flat in order[: int((iou >= MIN_IOU).sum())].tolist():
        row, column = divmod(flat, iou.shape[1])
        if chosen[row] < 0 and not taken[column]:
            chosen[row], taken[column] = column, True
    return chosen
