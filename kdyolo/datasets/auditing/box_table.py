"""All boxes of many images in a few arrays, so that checks of a million boxes take no loop over them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kdyolo.boxes import Boxes, xywh_to_xyxy
from kdyolo.datasets.sample import ClassIds, Sample

Indices = NDArray[np.int64]

_NEIGHBOURS = 100


@dataclass(frozen=True)
class BoxTable:
    """Boxes of `samples`, image by image.

    Attributes:
        samples: The images.
        image: Index of each box's image (B,).
        row: Its index among the boxes of its image (B,).
        cls: Its class id (B,).
        xywhn: (B, 4), shares of the image.
        side: Width and height of its image in pixels (B, 2).
    """

    samples: Sequence[Sample]
    image: Indices
    row: Indices
    cls: ClassIds
    xywhn: Boxes
    side: NDArray[np.float64]

    @classmethod
    def of(cls, samples: Sequence[Sample]) -> BoxTable:
        """The table of checked images."""
        counts = np.array([len(sample.cls) for sample in samples], dtype=np.int64)
        starts = np.cumsum(counts) - counts
        sides = np.array([(s.check.width, s.check.height) for s in samples], dtype=np.float64).reshape(-1, 2)
        return cls(
            samples,
            np.repeat(np.arange(len(samples)), counts),
            np.arange(counts.sum()) - np.repeat(starts, counts),
            np.concatenate([np.zeros(0, dtype=np.int64), *(sample.cls for sample in samples)]),
            np.concatenate([np.zeros((0, 4)), *(sample.xywhn for sample in samples)]),
            np.repeat(sides, counts, axis=0),
        )

    def __len__(self) -> int:
        return len(self.cls)

    @property
    def counts(self) -> Indices:
        """Boxes of each image (N,)."""
        return np.bincount(self.image, minlength=len(self.samples))

    def by_image(self, chosen: Indices) -> Iterator[tuple[Sample, tuple[int, ...]]]:
        """Images that some boxes belong to, each with the rows of those boxes.

        Args:
            chosen: Indices into the table; repeated ones count once.
        """
        chosen = np.unique(chosen)
        if not len(chosen):
            return
        images, starts = np.unique(self.image[chosen], return_index=True)
        for image, part in zip(images.tolist(), np.split(self.row[chosen], starts[1:]), strict=True):
            yield self.samples[image], tuple(part.tolist())

    def overlapping(self, iou: float) -> tuple[Indices, Indices]:
        """Pairs of boxes of one image with at least this IoU, as two arrays of indices.

        Boxes are compared with the next hundred of their image from left to right, so that the work grows with the
        number of boxes even where an image has thousands.

        Args:
            iou: Above 0.5, so that the centres of such boxes are close.
        """
        order = np.lexsort((self.xywhn[:, 0], self.image))
        image, xyxyn = self.image[order], xywh_to_xyxy(self.xywhn[order])
        area = (xyxyn[:, 2] - xyxyn[:, 0]) * (xyxyn[:, 3] - xyxyn[:, 1])
        first: list[Indices] = []
        second: list[Indices] = []
        a = np.arange(len(order))
        for step in range(1, _NEIGHBOURS + 1):
            a = a[a + step < len(order)]
            a = a[image[a] == image[a + step]]
            if not len(a):
                break
            b = a + step
            sides = np.minimum(xyxyn[a, 2:], xyxyn[b, 2:]) - np.maximum(xyxyn[a, :2], xyxyn[b, :2])
            shared = np.maximum(sides, 0).prod(axis=1)
            close = shared >= iou * (area[a] + area[b] - shared)
            first.append(order[a[close]])
            second.append(order[b[close]])
        none = np.zeros(0, dtype=np.int64)
        return np.concatenate([none, *first]), np.concatenate([none, *second])
