"""What every written data set has in common: which images go where, and their boxes in pixels."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kdyolo.boxes import denormalise, xywh_to_xyxy
from kdyolo.datasets.formats.data_yaml import UNASSIGNED
from kdyolo.datasets.sample import Dataset, Sample
from kdyolo.datasets.view import place, require_room, view_stems
from kdyolo.progress import Progress


@dataclass(frozen=True)
class Row:
    """One image of a set to be written.

    Attributes:
        sample: It, checked.
        split: Its split, ``unassigned`` for none; empty where the whole set has no splits.
        stem: Its file stem in the new set, unique there.
    """

    sample: Sample
    split: str
    stem: str

    @property
    def file(self) -> str:
        """Its file name in the new set."""
        return f"{self.stem}{self.sample.check.suffix}"

    def pixel_boxes(self) -> Iterator[tuple[int, list[float], float]]:
        """Class id, corners x1, y1, x2, y2 in pixels of the upright image, and confidence (NaN for none) of each."""
        sample, check = self.sample, self.sample.check
        shares = np.clip(xywh_to_xyxy(sample.xywhn), 0, 1)  # rounded shares may leave the image by a hair
        corners = denormalise(shares, check.width, check.height).tolist()
        yield from zip(sample.cls.tolist(), corners, sample.conf.tolist() or [math.nan] * len(corners), strict=True)


def rows_of(dataset: Dataset) -> list[Row]:
    """Usable images of a checked data set, by split and name; one in several splits gives several rows."""
    samples = dataset.usable
    stems = view_stems([sample.name for sample in samples])
    none = UNASSIGNED if any(sample.given for sample in samples) else ""
    rows = [Row(sample, split, stems[sample.name]) for sample in samples for split in sample.given or (none,)]
    return sorted(rows, key=lambda row: (row.split, row.stem))


def by_image(rows: Sequence[Row]) -> list[tuple[Row, tuple[str, ...]]]:
    """Each image once, with all its splits; for formats that keep images in one folder."""
    splits: dict[str, list[str]] = {}
    for row in rows:
        splits.setdefault(row.stem, []).append(row.split)
    first = {row.stem: row for row in reversed(rows)}
    return [(first[stem], tuple(split for split in splits[stem] if split)) for stem in sorted(first)]


def place_images(rows: Sequence[Row], folder: Path, where: Callable[[Row], str], progress: Progress) -> None:
    """Put the images into a new set as hard links, or as copies where that cannot be or they need mending.

    Args:
        rows: The images.
        folder: Of the new set.
        where: Folder of an image in it.
        progress: Shown a bar.

    Raises:
        DatasetError: An image changed since it was checked.
        EnvironmentFault: The disk is full.
    """
    require_room(folder, [row.sample for row in rows])
    for part in sorted({where(row) for row in rows}):
        (folder / part).mkdir(parents=True, exist_ok=True)
    progress.start("Placing images", len(rows))
    placed = set()
    for done, row in enumerate(rows, 1):
        target = folder / where(row) / row.file
        if target not in placed:
            place(row.sample, target)
            placed.add(target)
        progress.update(done)
    progress.finish()


def pixels(value: float) -> str:
    """A coordinate in pixels with up to 4 decimals, without superfluous ones."""
    text = f"{value:.4f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text
