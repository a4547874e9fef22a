"""One real batch before a distillation: does the teacher's word reach the student, and what will the training cost?"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from ultralytics.utils.torch_utils import autocast, unwrap_model

from kdyolo.engine import collective, resident
from kdyolo.errors import StageError

if TYPE_CHECKING:
    from kdyolo.distill.trainer import DistillTrainer

BATCHES = 8
"""Whole batches looked at before the teacher is said to have nothing to say; a small one may hold no object."""
_TIMED = 2  # steps of each kind; the quicker one counts
_SCALE = 1024.0  # against underflow of half-precision gradients


@dataclass(frozen=True)
class Preflight:
    """What one batch showed.

    Attributes:
        kd_loss: Of the distillation, weight 1, an image.
        gradient_ratio: Length of its gradient over that of the labels', both of all the student's parameters.
        reached: Share of the student's parameter tensors that this gradient reaches, in [0, 1].
        step_seconds: A training step with the teacher, without the optimiser's.
        plain_step_seconds: The same of a student without a teacher.
        seconds: Of this training, by these steps, plain ones where the teacher is not heard; validation is not counted.
        plain_seconds: The same of a training without a teacher.
        memory_mb: Most memory during the steps with the teacher, in 10^6 bytes: of the device, or on a CPU of this
            process with all that it holds. What the process took before and has given back does not count; nor do the
            optimiser's moments, which come with its first step.
    """

    kd_loss: float
    gradient_ratio: float
    reached: float
    step_seconds: float
    plain_step_seconds: float
    seconds: float
    plain_seconds: float
    memory_mb: float

    def to_json(self) -> dict[str, float]:
        """Plain data, rounded."""
        return {name: float(f"{value:.4g}") for name, value in asdict(self).items()}


def look(trainer: DistillTrainer) -> Preflight:
    """Take a batch through student and teacher, and leave both as they were.

    Args:
        trainer: Set up, not yet training.

    Raises:
        StageError: The distillation loss is not finite, 0 in all of the first `BATCHES`, or without gradient.
    """
    model = unwrap_model(trainer.model)
    learners = [model, *(trainer.teacher.learners if trainer.teacher else ())]
    held = [(value, value.clone()) for learner in learners for value in learner.buffers()]
    model.train()
    starts_equal = trainer.distillation.kind == "ema"  # it is its own teacher, which it does not differ from yet
    try:
        batches = _batches(trainer)
        while batches:
            batch = batches.pop(0)
            _, loss = _step(trainer, batch, 1.0)
            kd = float(loss[3].detach()) / len(batch["img"])
            if not torch.isfinite(loss).all():
                raise StageError(
                    f"The distillation loss of the first batch is {kd}.",
                    "Try --precision fp32, or another method: `kdyolo methods`.",
                )
            if kd > 0 or starts_equal:
                gradient = _gradient(trainer, loss)
                del loss  # with its graph, and the other batches: memory is measured
                batches.clear()
                return _measure(trainer, batch, kd, *gradient)
    finally:
        for value, before in held:
            value.copy_(before)
        for learner in learners:
            learner.zero_grad(set_to_none=True)
        trainer.train_loader.reset()
    if trainer.unanswered_now:
        raise StageError(
            f"The teacher's output is not finite on {trainer.unanswered_now} of the first {BATCHES} batches.",
            "Use --precision fp32, or another teacher: `kdyolo compare` measures one.",
        )
    raise StageError(
        f"The teacher has nothing to say about the first {BATCHES} batches: the distillation loss is 0.",
        "Does it know these classes, and does it find anything? See pseudo/predictions.csv, or lower --conf.",
    )


def _gradient(trainer: DistillTrainer, loss: Tensor) -> tuple[float, float]:
    """`gradient_ratio` and `reached` of a loss (4,)."""
    model = unwrap_model(trainer.model)
    parameters = [p for p in model.parameters() if p.requires_grad]
    theirs, ours = (_gradients(part, parameters) for part in (loss[3], loss[:3].sum()))
    lengths = [float(torch.stack([g.norm() for g in each if g is not None] or [loss.new_zeros(())]).norm())
               for each in (theirs, ours)]  # fmt: skip
    reached = sum(g is not None and bool(g.any()) for g in theirs) / len(parameters)
    if trainer.distillation.kind != "ema" and not (reached and lengths[0] > 0):
        raise StageError(
            "The gradient of the distillation loss does not reach the student.",
            "Choose another method: `kdyolo methods`.",
        )
    return lengths[0] / lengths[1] if lengths[1] else 0.0, reached


def _measure(
    trainer: DistillTrainer, batch: dict[str, Any], kd: float, gradient_ratio: float, reached: float
) -> Preflight:
    _forget_memory(trainer.device)
    with_teacher = min(_step(trainer, batch, 1.0, backward=True)[0] for _ in range(_TIMED))
    memory = _most_memory(trainer.device)
    plain = min(_step(trainer, batch, 0.0, backward=True)[0] for _ in range(_TIMED))
    steps, epochs = len(trainer.train_loader), trainer.epochs - trainer.start_epoch
    always = trainer.teacher is not None and trainer.teacher.must_answer
    heard = epochs if always else max(0, trainer.schedule.epochs_heard - trainer.start_epoch)
    return Preflight(
        kd_loss=kd,
        gradient_ratio=gradient_ratio,
        reached=reached,
        step_seconds=with_teacher,
        plain_step_seconds=plain,
        seconds=steps * (heard * with_teacher + (epochs - heard) * plain),
        plain_seconds=steps * epochs * plain,
        memory_mb=memory / 1e6,
    )


def _batches(trainer: DistillTrainer) -> list[dict[str, Any]]:
    found = []
    for batch in trainer.train_loader:
        found.append(batch)
        if len(found) == BATCHES * collective.size():  # as many images as one process would look at
            break
    return found


def _step(trainer: DistillTrainer, raw: dict[str, Any], weight: float, backward: bool = False) -> tuple[float, Tensor]:
    """Seconds of a forward pass (and with `backward` the one back), and the loss (4,); with weight 0 without a teacher.

    A teacher that learns from every answer would do so with weight 0 as well, so it is taken away meanwhile.
    """
    model, device, teacher = unwrap_model(trainer.model), trainer.device, trainer.teacher
    _synchronise(device)
    started = time.perf_counter()
    trainer.criterion.weight, trainer.criterion.watch = weight, False
    trainer.teacher = teacher if weight else None
    try:
        with autocast(torch.bfloat16 if trainer.args.amp == "bf16" else trainer.amp, device=device.type):
            loss, _ = model(trainer.with_answer(dict(raw), asked=True))
    finally:
        trainer.teacher = teacher
    if backward:
        # Not `backward`: where several processes train, each would take the adapters for used in its first step.
        _gradients(loss.sum(), [p for p in model.parameters() if p.requires_grad])
    _synchronise(device)
    return time.perf_counter() - started, loss


def _gradients(loss: Tensor, parameters: list[Any]) -> list[Tensor | None]:
    if not loss.requires_grad:
        return [None] * len(parameters)
    found = torch.autograd.grad(loss * _SCALE, parameters, retain_graph=True, allow_unused=True)
    return [None if g is None else g.float() / _SCALE for g in found]


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _forget_memory(device: torch.device) -> None:
    """Let `_most_memory` start anew: in a run, a teacher five times as large may have been trained in this process."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    else:
        resident.forget_peak()


def _most_memory(device: torch.device) -> int:
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else resident.peak_bytes()
