"""Who the student listens to while it trains: frozen models, its own average, or a peer that learns beside it.

A teacher hangs on the trainer and not on the student, so that neither optimiser nor averaging nor checkpoints see it.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from ultralytics.utils.torch_utils import unwrap_model

from kdyolo.distill.criterion import DistillLoss
from kdyolo.distill.ensemble import average
from kdyolo.distill.outputs import HeadOutput
from kdyolo.engine import collective
from kdyolo.errors import ConfigError

if TYPE_CHECKING:
    from kdyolo.distill.trainer import DistillTrainer

_MOMENTUM = 0.999


class Teacher:
    """Answers for a batch, step by step.

    Attributes:
        must_answer: It is asked in steps in which nobody listens, too.
        frozen: It stays as it is; an answer that is not finite is its own fault, not that of the training.
        learners: Models of its own that change in the training.
    """

    must_answer = False
    frozen = False
    learners: tuple[nn.Module, ...] = ()

    def prepare(self, trainer: DistillTrainer) -> None:
        """Get ready: student, optimiser and device are what they will be."""

    def answer(self, pixels: torch.Tensor) -> HeadOutput:
        """What it says of images (B, 3, H, W), without a graph."""
        raise NotImplementedError

    def listen(self, student: HeadOutput, batch: dict[str, Any]) -> None:
        """Hear what the student said of the batch it has just answered for."""

    def step(self, trainer: DistillTrainer) -> None:
        """The student is about to take an optimiser step."""

    def state(self) -> dict[str, Any]:
        """What a resumed training needs."""
        return {}

    def restore(self, held: dict[str, Any]) -> None:
        """Take back what `state` gave."""


class FrozenTeacher(Teacher):
    """A trained model, in the precision of the training.

    Args:
        model: The checkpoint's.
        class_map: Its class id -> the student's; empty where they are the same.
        nc: Number of the student's classes.
    """

    frozen = True

    def __init__(self, model: Any, class_map: Mapping[int, int], nc: int) -> None:
        self.model = model
        given = class_map or {i: i for i in range(nc)}
        self.sources = [sorted(theirs for theirs, ours in given.items() if ours == i) for i in range(nc)]

    def prepare(self, trainer: DistillTrainer) -> None:
        """Put it where the student is.

        Raises:
            ConfigError: It has another grid than the student.
        """
        student, head = unwrap_model(trainer.model).model[-1], self.model.model[-1]
        if (student.stride.tolist(), student.reg_max) != (head.stride.tolist(), head.reg_max):
            raise ConfigError("Teacher and student have different grids.", "Both must be YOLOv5 (u) models.")
        self.dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "amp": torch.float16}[trainer.precision]
        self.model = self.model.fuse(verbose=False).eval().requires_grad_(False)
        self.model = self.model.to(trainer.device, self.dtype, memory_format=torch.channels_last)
        self.model.model[-1].training = True  # raw outputs, not decoded boxes

    def answer(self, pixels: torch.Tensor) -> HeadOutput:
        """See `Teacher.answer`; in the student's classes."""
        with torch.no_grad(), torch.autocast(pixels.device.type, enabled=False):
            raw = self.model(pixels.to(self.dtype))
        return _output(raw, self.model).select(self.sources)


class Ensemble(Teacher):
    """Several trained models that speak as one, see `ensemble.average`.

    Args:
        members: They.
        weights: (T, nc) how much each counts in each class.
    """

    frozen = True

    def __init__(self, members: Sequence[FrozenTeacher], weights: torch.Tensor) -> None:
        self.members, self.weights = members, weights

    def prepare(self, trainer: DistillTrainer) -> None:
        """Put them where the student is. Errors as of one."""
        for member in self.members:
            member.prepare(trainer)
        self.weights = self.weights.to(trainer.device)

    def answer(self, pixels: torch.Tensor) -> HeadOutput:
        """See `Teacher.answer`; without maps, for those of different models have no mean."""
        return average([member.answer(pixels) for member in self.members], self.weights)


class AveragedTeacher(Teacher):
    """The running average of the student's own weights.

    Tarvainen and Valpola, "Mean teachers are better role models", NeurIPS 2017, section 2: w' = a w' + (1 - a) w after
    every step, a = min(1 - 1 / (step + 1), 0.999).
    """

    def prepare(self, trainer: DistillTrainer) -> None:
        """Begin with the student as it is."""
        student = unwrap_model(trainer.model)
        self.model, self.steps = copy.deepcopy(student).eval().requires_grad_(False), 0
        self.model = self.model.to(memory_format=torch.channels_last)
        self.model.model[-1].training = True
        self.learners = (self.model,)

    def answer(self, pixels: torch.Tensor) -> HeadOutput:
        """See `Teacher.answer`."""
        with torch.no_grad():
            return _output(self.model(pixels), self.model)

    def step(self, trainer: DistillTrainer) -> None:
        """Follow the student; what it learns in this step shows after the next."""
        self.steps += 1
        keep = min(1 - 1 / (self.steps + 1), _MOMENTUM)
        now = unwrap_model(trainer.model).state_dict()
        with torch.no_grad():
            for name, value in self.model.state_dict().items():
                if value.dtype.is_floating_point:
                    value.mul_(keep).add_(now[name].detach().to(value.dtype), alpha=1 - keep)

    def state(self) -> dict[str, Any]:
        """See `Teacher.state`."""
        return {"model": self.model.state_dict(), "steps": self.steps}

    def restore(self, held: dict[str, Any]) -> None:
        """See `Teacher.restore`."""
        self.model.load_state_dict(held["model"])
        self.steps = held["steps"]


class Peer(Teacher):
    """A second student of another start, taught by the first as it teaches the first.

    Zhang et al., "Deep Mutual Learning", CVPR 2018, section 2.2: each minimises its own loss and its divergence from
    the other's present answer. Both hear the answers of before the step.

    Args:
        model: The peer as it starts.
        methods: What it learns by; not the student's modules, for adapters have weights.
    """

    must_answer = True

    def __init__(self, model: Any, methods: nn.Module) -> None:
        self.model, self.methods = model, methods

    def prepare(self, trainer: DistillTrainer) -> None:
        """Give it an optimiser and a loss like the student's.

        Raises:
            ConfigError: Both start alike, were it only in part: neither has anything to tell the other.
        """
        student = unwrap_model(trainer.model)
        self.model = self.model.to(trainer.device, memory_format=torch.channels_last).train()
        self.learners = (self.model,)
        for attribute in ("nc", "names", "args"):
            setattr(self.model, attribute, getattr(student, attribute))
        for name, value in self.model.named_parameters():
            value.requires_grad = ".dfl" not in name
        ours = student.state_dict()  # of weights that are drawn, none is the other's by chance
        drawn = [(name, p) for name, p in self.model.named_parameters() if p.requires_grad and p.ndim > 1]
        if any(torch.equal(value, ours[name]) for name, value in drawn):
            raise ConfigError(
                "Both students of the mutual scheme start from the same weights, wholly or in part, so neither has "
                "much to tell the other.",
                "Add --from-scratch: then each starts from random weights of its own.",
            )
        self.optimizer = trainer.build_optimizer(self.model, **trainer.optimizer_recipe)
        self.criterion = DistillLoss(self.model, self.methods)
        self.model.criterion = self.criterion
        self.trainer = trainer

    def answer(self, pixels: torch.Tensor) -> HeadOutput:
        """See `Teacher.answer`; its graph is kept until it has heard the student."""
        self.raw = self.model(pixels)
        return _output(self.raw, self.model).detach()

    def listen(self, student: HeadOutput, batch: dict[str, Any]) -> None:
        """Collect the gradients of its own loss and of its distance from the student."""
        self.criterion.weight = self.trainer.criterion.weight
        loss, _ = self.criterion.loss(self.raw, {**batch, "kd_teacher": student.detach()})
        self.trainer.scaler.scale(loss.sum()).backward()
        self.raw = None

    def step(self, trainer: DistillTrainer) -> None:
        """Step beside the student, with its learning rate."""
        for mine, theirs in zip(self.optimizer.param_groups, trainer.optimizer.param_groups, strict=True):
            mine.update({name: theirs[name] for name in ("lr", "momentum", "betas") if name in theirs})
        collective.sum_gradients(self.model)  # no wrapper as the student's: its loss is taken outside of its forward
        trainer.scaler.unscale_(self.optimizer)
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), max_norm=10.0)  # as ultralytics clips the student's
        trainer.scaler.step(self.optimizer)
        self.optimizer.zero_grad()

    def state(self) -> dict[str, Any]:
        """See `Teacher.state`."""
        return {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}

    def restore(self, held: dict[str, Any]) -> None:
        """See `Teacher.restore`."""
        self.model.load_state_dict(held["model"])
        self.optimizer.load_state_dict(held["optimizer"])


def _output(raw: Any, model: Any) -> HeadOutput:
    strides: Sequence[float] = model.model[-1].stride.tolist()
    return HeadOutput.from_raw(raw, strides).float()
