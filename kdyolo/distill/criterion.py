"""The student's loss: ultralytics' own on the labels, and beside it what a distillation method says of the teacher."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from ultralytics.utils.tal import TaskAlignedAssigner

from kdyolo.distill.outputs import HeadOutput
from kdyolo.engine.precision import Fp32DetectionLoss, in_fp32

ITEM = "kd_loss"
"""Name of the distillation's column in results.csv."""
_SIDES = 4


class _Remembering(TaskAlignedAssigner):  # type: ignore[misc]
    """The stock assigner, which leaves its last answer for the distillation to use."""

    scores: Tensor

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        answer = super().forward(*args, **kwargs)
        self.scores = answer[2]
        return answer


class _Deaf(nn.Module):
    """Binary cross-entropy with logits that does not hear what nobody said.

    Attributes:
        zones: Where background is not heard (B, A), and where a class is heard only of its own labels (B, A, nc), as a
            label of another class does not say either that it is not there.
    """

    def __init__(self) -> None:
        super().__init__()
        self.zones: tuple[Tensor, Tensor] | None = None

    def forward(self, scores: Tensor, targets: Tensor) -> Tensor:
        """Element-wise loss (B, A, nc)."""
        loss = nn.functional.binary_cross_entropy_with_logits(scores, targets, reduction="none")
        if self.zones is None:
            return loss
        doubtful, unknown = self.zones
        absent = targets == 0
        return loss * ~((doubtful & absent.all(-1))[..., None] | (unknown & absent))


class DistillLoss(Fp32DetectionLoss):
    """The stock loss with a fourth entry, the distillation's.

    A batch may have ``kd_teacher``, a `HeadOutput` of the teacher on the same images, or ``teacher``, the soft labels
    that came through the loader; with neither, as in validation, the distillation loss is 0. Of ``ignored`` and
    ``unknown``, if they are there, the class loss hears less (see `carry.attach`).

    Args:
        model: The student.
        methods: Weighted sum of methods: (student's output, teacher's output) -> (total, parts by name).
        weight: Its weight, which the trainer moves.

    Attributes:
        own: The student is its own teacher: its output goes to the methods on both sides.
        refuses: Whether an answer of the teacher is not to be heard. Asked when the student's own output is on its way:
            to look at the figures is to wait for a GPU.
        reply: Told of the student's output and the batch, for a teacher that learns from them.
        watch: Compare the gradients of both losses with respect to the maps that enter the head, in `gradients`: length
            of the labels' and of the distillation's (unweighted), and their cosine.
    """

    assigner: Any

    def __init__(self, model: nn.Module, methods: nn.Module | None, weight: float = 0.0) -> None:
        super().__init__(model)
        stock = self.assigner
        self.assigner = _Remembering(
            topk=stock.topk,
            num_classes=stock.num_classes,
            alpha=stock.alpha,
            beta=stock.beta,
            stride=self.stride.tolist(),
        )
        self.bce = _Deaf()
        self.methods, self.weight = methods, weight
        self.strides: list[float] = self.stride.tolist()
        self.own = False
        self.refuses: Callable[[HeadOutput], bool] = lambda answer: False
        self.reply: Callable[[HeadOutput, dict[str, Any]], None] | None = None
        self.watch = False
        self.gradients: tuple[float, float, float] | None = None

    def loss(self, preds: dict[str, Any], batch: dict[str, Any]) -> Any:
        """Box, class, DFL and distillation loss (4,) times batch size, and the detached items."""
        with torch.autocast(preds["boxes"].device.type, enabled=False):
            raw = {**preds, "boxes": preds["boxes"].float(), "scores": preds["scores"].float()}
            self.bce.zones = self._zones(raw, batch)
            (foreground, target, _, anchors, strides), task, items = self.get_assigned_targets_and_loss(
                in_fp32(raw), batch
            )
            kd = raw["scores"].new_zeros(())
            student = HeadOutput.from_raw(raw, self.strides)
            if self.weight or self.watch:
                if "kd_teacher" in batch:
                    if not self.refuses(batch["kd_teacher"]):
                        kd = self._heard(student, batch["kd_teacher"])
                elif self.own:
                    kd = self._heard(student, student)
                elif "teacher" in batch:
                    kd = self._replayed(raw, batch, foreground, target, anchors, strides)
            if self.watch and kd.requires_grad:
                self.gradients = _compare(task.sum(), kd, raw["feats"])
            if self.reply is not None and "kd_teacher" in batch:
                self.reply(student, batch)
            size = len(raw["boxes"])
            kd = self.weight * kd
            return torch.cat([task, kd[None]]) * size, {**items, ITEM: kd.detach()}

    def _heard(self, student: HeadOutput, teacher: HeadOutput) -> Tensor:
        assert self.methods is not None
        total: Tensor = self.methods(student, teacher)[0]
        return total

    def _zones(self, raw: dict[str, Any], batch: dict[str, Any]) -> tuple[Tensor, Tensor] | None:
        """Doubtful locations (B, A) and unknown classes (B, A, nc), see `_Deaf`; None if there are none at all."""
        doubtful, unknown = batch.get("ignored", ()), batch.get("unknown", ())
        if not any(len(each) for each in (*doubtful, *unknown)):
            return None
        height, width = (side * self.strides[0] for side in raw["feats"][0].shape[2:])
        grid = HeadOutput.from_raw(raw, self.strides)
        centres = grid.anchors * grid.strides / grid.anchors.new_tensor([width, height])
        hidden = [_inside(centres, each.to(centres.device)).any(-1) for each in doubtful]
        placed = [each.to(centres.device) for each in unknown]
        flags = [_inside(centres, each).float() @ each[:, 4:] > 0 for each in placed]
        return torch.stack(hidden), torch.stack(flags)

    def _replayed(
        self,
        raw: dict[str, Any],
        batch: dict[str, Any],
        foreground: Tensor,
        target: Tensor,
        anchors: Tensor,
        strides: Tensor,
    ) -> Tensor:
        """Distillation where the teacher's boxes were carried through the loader.

        The methods hear of the locations that the assigner gave to a label the teacher had a box for, as one image of
        so many locations. There the teacher is taken to say what it said of that box: at the location that fits it
        best the class probabilities as they are, at the others less in the ratio of the assigner's scores; and sides
        where they came to lie, as sure as it was.
        """
        told = _padded(batch["teacher"], anchors.device)
        image, location = foreground.nonzero(as_tuple=True)
        # Of a batch without any label the assigner gives fractions, none of which is looked at.
        label = image * told.shape[1] + target[image, location].long()
        rows = told.flatten(0, 1)[label]
        known = rows[:, self.nc :].isfinite().all(1)
        if not known.any():
            nothing: Tensor = raw["scores"].sum() * 0
            return nothing
        align = self.assigner.scores[image, location].sum(-1)
        best = align.new_zeros(told.shape[0] * told.shape[1]).scatter_reduce(0, label, align, "amax")
        share = align / best[label].clamp(min=1e-9)
        image, location, rows, share = image[known], location[known], rows[known], share[known]
        probs, spread, corners = rows[:, : self.nc], rows[:, self.nc : -4], rows[:, -4:]
        at, cell = anchors[location], strides[location]
        size = corners.new_tensor([raw["feats"][0].shape[3], raw["feats"][0].shape[2]] * 2) * self.strides[0]
        unknown, probs = probs.isnan(), probs.nan_to_num(0)
        teacher = HeadOutput(
            scores=(probs * share[:, None]).logit(eps=1e-4).T[None],
            boxes=_bins(corners * size, spread, at, cell, self.reg_max).T[None],
            features=(),
            anchors=at,
            strides=cell,
            known=~unknown.T[None] if unknown.any() else None,
        )
        student = HeadOutput(
            scores=raw["scores"][image, :, location].T[None],
            boxes=raw["boxes"][image, :, location].T[None],
            features=(),
            anchors=at,
            strides=cell,
        )
        return self._heard(student, teacher)


def _inside(centres: Tensor, boxes: Tensor) -> Tensor:
    """(A, k) booleans: which of the points (A, 2) lie in which of the boxes (k, 4 or more), given by their corners."""
    after = (centres[:, None] > boxes[None, :, :2]).all(-1)
    return after & (centres[:, None] < boxes[None, :, 2:4]).all(-1)


def _padded(rows: Sequence[Tensor], device: torch.device) -> Tensor:
    """Rows of all images as (B, most, columns), in the order of the labels; NaN where an image has fewer."""
    most = max(len(each) for each in rows)
    padded = torch.full((len(rows), most, rows[0].shape[1]), torch.nan, device=device)
    for image, each in enumerate(rows):
        padded[image, : len(each)] = each.to(device)
    return padded


def _bins(xyxy: Tensor, spread: Tensor, anchors: Tensor, cells: Tensor, reg_max: int) -> Tensor:
    """Logits (F, 4 * reg_max) of a teacher's sides as seen from locations (F, 2).

    A side at distance d cells and of standard deviation s becomes a triangle over the bins, its peak at d and its half
    width max(1, sqrt(6) s): the triangle of that variance, and for a sure teacher exactly the two neighbouring bins
    that DFL teaches (Li et al., "Generalized Focal Loss", NeurIPS 2020, eq. 6). The teacher's own distribution cannot
    be kept, because the place it was seen from does not exist any more after the augmentation.

    Args:
        xyxy: Corners (F, 4) in px.
        spread: Standard deviation (F, 4) of left, top, right, bottom; shares of width and height.
        anchors: Locations (F, 2) in cells.
        cells: Cell size (F, 1) in px.
        reg_max: Number of bins.
    """
    corners = xyxy / cells
    distance = torch.cat([anchors - corners[:, :2], corners[:, 2:] - anchors], 1).clamp(0, reg_max - 1.01)
    sides = (corners[:, 2:] - corners[:, :2]).repeat(1, 2)
    half = (6**0.5 * spread * sides).clamp(min=1)
    bins = torch.arange(reg_max, device=xyxy.device, dtype=xyxy.dtype)
    height = (1 - (bins - distance[..., None]).abs() / half[..., None]).clamp(min=0)
    return (height / height.sum(-1, keepdim=True)).clamp(min=1e-6).log().flatten(1)


def _compare(task: Tensor, kd: Tensor, outputs: Sequence[Tensor]) -> tuple[float, float, float]:
    """Length of the gradients of both losses with respect to the head's inputs, and the cosine between them."""
    ours, theirs = (
        torch.cat(
            [g.float().flatten() for g in torch.autograd.grad(loss, outputs, retain_graph=True, materialize_grads=True)]
        )
        for loss in (task, kd)
    )
    lengths = ours.norm(), theirs.norm()
    cosine = torch.dot(ours, theirs) / (lengths[0] * lengths[1]).clamp(min=1e-12)
    return float(lengths[0]), float(lengths[1]), float(cosine)
