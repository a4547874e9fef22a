"""How strongly the student listens to the teacher over a training, and how that is found out by itself."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Shape = Literal["cosine", "constant"]


@dataclass(frozen=True)
class Schedule:
    """The course of the distillation weight.

    Attributes:
        weight: At its highest.
        shape: ``constant``, or ``cosine``: from 1 down to 1 % (YOLOv6's course: Li et al., 2023, section 2.4).
        epochs: Of the whole training.
        warmup: Epochs of a linear rise from 0, while adapters that start at random learn to translate.
        tail: Last epochs without distillation: those without mosaics, where the student learns images as they are.
    """

    weight: float
    shape: Shape
    epochs: int
    warmup: float
    tail: int

    @property
    def epochs_heard(self) -> int:
        """Epochs in which the teacher has a say."""
        return max(0, self.epochs - self.tail)

    def at(self, epoch: float) -> float:
        """Weight at an epoch, counted from 0; fractions are allowed."""
        end = self.epochs_heard
        if epoch >= end:
            return 0.0
        rise = min(1.0, epoch / self.warmup) if self.warmup > 0 else 1.0
        fall = 1 + (0.01 - 1) * (1 - math.cos(math.pi * epoch / end)) / 2 if self.shape == "cosine" else 1.0
        return self.weight * rise * fall


class Balance:
    """The distillation weight that gives the gradients of teacher and task a wanted ratio.

    Both gradients are taken with respect to the maps that enter the head. While they point apart, the teacher's voice
    is lowered: the weight is multiplied by 1 + cosine, never below a quarter.

    Args:
        ratio: Wanted length of the weighted distillation gradient as a share of the task's.
        steps: So many looks, one a step, before the first answer; until then the weight is 0.
        memory: Of the averages, per look after that.
        most: The weight never exceeds this, however small the distillation gradient becomes.
    """

    def __init__(self, ratio: float, steps: int = 100, memory: float = 0.98, most: float = 20.0) -> None:
        self.ratio, self.steps, self.memory, self.most = ratio, steps, memory, most
        self.looks = 0
        self.task = self.kd = self.cosine = 0.0

    def look(self, task: float, kd: float, cosine: float) -> None:
        """Take in the lengths of both gradients (the distillation's unweighted) and the cosine between them."""
        if not all(map(math.isfinite, (task, kd, cosine))):
            return
        self.looks += 1
        memory = min(self.memory, 1 - 1 / self.looks)  # a plain mean at first
        self.task = memory * self.task + (1 - memory) * task
        self.kd = memory * self.kd + (1 - memory) * kd
        self.cosine = memory * self.cosine + (1 - memory) * cosine

    def begin_within(self, steps: int) -> None:
        """Answer after a quarter of so many steps at the latest; in a short training the teacher is heard as well."""
        self.steps = max(1, min(self.steps, steps // 4))

    @property
    def weight(self) -> float:
        """The weight now."""
        if self.looks < self.steps or self.kd <= 0:
            return 0.0
        return min(self.most, self.ratio * self.task / self.kd) * max(0.25, 1 + min(0.0, self.cosine))

    def state(self) -> dict[str, float]:
        """What to keep, so that a resumed training goes on with the same weight."""
        return {"looks": self.looks, "task": self.task, "kd": self.kd, "cosine": self.cosine}

    def restore(self, state: dict[str, float]) -> None:
        """Take back what `state` gave."""
        self.looks = int(state["looks"])
        self.task, self.kd, self.cosine = state["task"], state["kd"], state["cosine"]
