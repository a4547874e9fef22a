"""What a detection head says in training, for all locations of a batch; both models share the grid."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from kdyolo.errors import ConfigError


@dataclass(frozen=True, eq=False)
class HeadOutput:
    """Raw output of one model. B images, A locations (of all levels, finest first), nc classes, L levels.

    Attributes:
        scores: (B, nc, A) class logits.
        boxes: (B, 4 * reg_max, A) logits of the distance to the left, top, right and bottom side, in bins of a cell.
        features: L neck maps (B, C_l, H_l, W_l), the inputs of the head; empty where they were not kept.
        anchors: (A, 2) centres x, y of the locations, in cells of their level.
        strides: (A, 1) size of those cells (px).
        known: Booleans that broadcast to (B, nc, A); where False this model has no opinion, and no method listens.
            None: it has one everywhere.

    Raises:
        ConfigError: The shapes contradict each other.
    """

    scores: Tensor
    boxes: Tensor
    features: tuple[Tensor, ...]
    anchors: Tensor
    strides: Tensor
    known: Tensor | None = None

    def __post_init__(self) -> None:
        batch, _, locations = self.scores.shape if self.scores.ndim == 3 else (-1, -1, -1)
        cells = sum(x.shape[-2:].numel() for x in self.features)
        if (
            self.boxes.ndim != 3
            or (self.boxes.shape[0], self.boxes.shape[2]) != (batch, locations)
            or self.boxes.shape[1] % 4
            or self.anchors.shape != (locations, 2)
            or self.strides.shape != (locations, 1)
            or (self.features and (cells != locations or any(x.shape[0] != batch for x in self.features)))
        ):
            raise ConfigError(f"This is not the output of one detection head: {self.shapes()}.")

    @classmethod
    def from_raw(cls, raw: Any, strides: Sequence[float]) -> HeadOutput:
        """Of what the head returns in training, or of the pair it returns otherwise.

        Args:
            raw: A mapping with ``scores`` (B, nc, A), ``boxes`` (B, 4 * reg_max, A) and ``feats``; or a tuple whose
                second element it is. Computed under `torch.no_grad` or with a graph, not under `inference_mode`.
            strides: Cell size of each level (px).

        Raises:
            ConfigError: The model has another kind of head.
        """
        raw = raw[1] if isinstance(raw, tuple) else raw
        if not isinstance(raw, Mapping) or not {"scores", "boxes", "feats"} <= raw.keys():
            raise ConfigError("The model's head is not one of YOLOv5u.", "Give a YOLOv5 (u) detection model.")
        features = tuple(raw["feats"])
        if len(features) != len(strides):
            raise ConfigError(f"The head has {len(features)} levels, but {len(strides)} strides are given.")
        shapes = tuple((int(x.shape[-2]), int(x.shape[-1])) for x in features)
        anchors, sizes = _grid(shapes, tuple(map(float, strides)), str(raw["scores"].device))
        return cls(raw["scores"], raw["boxes"], features, anchors, sizes)

    @property
    def nc(self) -> int:
        """Number of classes."""
        return self.scores.shape[1]

    @property
    def reg_max(self) -> int:
        """Number of bins of a box side."""
        return self.boxes.shape[1] // 4

    def bins(self) -> Tensor:
        """The box logits as (B, 4 sides, reg_max bins, A)."""
        batch, _, locations = self.boxes.shape
        return self.boxes.view(batch, 4, self.reg_max, locations)

    def xyxy(self) -> Tensor:
        """Decoded boxes (B, A, 4): corners in px.

        A side's distance is the expected value over its bins (Li et al., "Generalized Focal Loss", NeurIPS 2020).
        """
        bins = torch.arange(self.reg_max, dtype=self.boxes.dtype, device=self.boxes.device)
        ltrb = (self.bins().softmax(2) * bins[:, None]).sum(2).transpose(1, 2)
        left_top, right_bottom = ltrb.chunk(2, -1)
        return torch.cat((self.anchors - left_top, self.anchors + right_bottom), -1) * self.strides

    def levels(self) -> list[int]:
        """How many of the A locations each level has."""
        return [x.shape[-2:].numel() for x in self.features]

    def select(self, sources: Sequence[Sequence[int]]) -> HeadOutput:
        """The same output with other classes, to bring a teacher's into the student's order.

        Args:
            sources: For each new class the old ones that stand for it: of several the best counts, and none means that
                the model does not know the class, which is another thing than seeing none of it.
        """
        if [list(ids) for ids in sources] == [[i] for i in range(self.nc)]:
            return self
        first = torch.tensor([ids[0] if ids else 0 for ids in sources], device=self.scores.device)
        scores = self.scores.index_select(1, first)
        if any(len(ids) > 1 for ids in sources):
            rows = [self.scores[:, list(ids or (0,))].amax(1) for ids in sources]
            scores = torch.stack(rows, 1)
        known = torch.tensor([bool(ids) for ids in sources], device=self.scores.device)[None, :, None]
        return replace(self, scores=scores, known=known if self.known is None else known & self._best_known(sources))

    def _best_known(self, sources: Sequence[Sequence[int]]) -> Tensor:
        assert self.known is not None
        known = self.known.expand(-1, self.nc, -1)
        return torch.stack([known[:, list(ids or (0,))].any(1) for ids in sources], 1)

    def is_finite(self) -> bool:
        """Whether all scores, boxes and maps are; one look at a GPU's memory."""
        told = [x.isfinite().all() for x in (self.scores, self.boxes, *self.features)]
        return bool(torch.stack(told).all())

    def detach(self) -> HeadOutput:
        """The same output without a graph."""
        features = tuple(x.detach() for x in self.features)
        return replace(self, scores=self.scores.detach(), boxes=self.boxes.detach(), features=features)

    def float(self) -> HeadOutput:
        """The same output in fp32."""
        features = tuple(x.float() for x in self.features)
        scores, boxes, anchors, strides = (x.float() for x in (self.scores, self.boxes, self.anchors, self.strides))
        return replace(self, scores=scores, boxes=boxes, features=features, anchors=anchors, strides=strides)

    def shapes(self) -> str:
        """All shapes in words."""
        given = {"scores": self.scores, "boxes": self.boxes, "anchors": self.anchors, "strides": self.strides}
        told = [f"{name} {tuple(tensor.shape)}" for name, tensor in given.items()]
        return ", ".join([*told, f"features {[tuple(x.shape) for x in self.features]}"])


def require_alike(student: HeadOutput, teacher: HeadOutput) -> None:
    """Two outputs that can be compared location by location.

    Raises:
        ConfigError: They differ in images, classes, bins, locations or grid.
    """
    ours, theirs = ([*x.scores.shape, x.reg_max, *(m.shape[-2:] for m in x.features)] for x in (student, teacher))
    for place, what in enumerate(("images", "classes", "locations", "bins of a box side")):
        if ours[place] != theirs[place]:
            raise ConfigError(
                f"The student has {ours[place]} {what} and the teacher {theirs[place]}, so they cannot be compared.",
                "Both need the same classes, image size and kind of head; --scheme cached compares boxes alone.",
            )
    if student.features and teacher.features and ours[4:] != theirs[4:]:
        maps = " and ".join(str([tuple(m.shape[-2:]) for m in x.features]) for x in (student, teacher))
        raise ConfigError(f"The maps of student and teacher differ in size: {maps}.", "Both need the same image shape.")


@functools.lru_cache(maxsize=64)
def _grid(shapes: tuple[tuple[int, int], ...], strides: tuple[float, ...], device: str) -> tuple[Tensor, Tensor]:
    with torch.inference_mode(False):  # it is kept, and later graphs could not use it otherwise
        anchors = []
        for height, width in shapes:
            y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
            anchors.append(torch.stack((x, y), -1).reshape(-1, 2))
        sizes = [torch.full((h * w, 1), stride) for (h, w), stride in zip(shapes, strides, strict=True)]
        return torch.cat(anchors).to(device), torch.cat(sizes).to(device)
