"""Trainers that write down what one process of several does, for `engine.training.train`; found by PYTHONPATH."""

import errno
import functools
import hashlib
import json
from pathlib import Path

import torch
from ultralytics.utils.torch_utils import unwrap_model

from kdyolo.distill import schedule
from kdyolo.distill.trainer import DistillTrainer
from kdyolo.engine import checkpoints, collective
from kdyolo.engine.trainer import Trainer
from kdyolo.errors import StageError


def watching(folder, distillation=None, **arguments):
    """A trainer that appends to ``rank-<n>.jsonl`` of `folder` at each step, and keeps its first step in a ``.pt``."""
    if distillation is None:
        return _watch(Trainer(**arguments), Path(folder))
    schedule.Balance.__init__.__defaults__ = (3, 0.9, 20.0)  # looks at the gradients before there is a weight
    return _watch(DistillTrainer(distillation, **arguments), Path(folder))


def listening(folder, distillation):
    """Takes the place of `stages.training.listening`."""
    return functools.partial(watching, folder, distillation)


def deaf(distillation):
    """As `stages.training.listening`; in the second process nothing that the teacher says makes a difference."""
    return functools.partial(_deaf, distillation)


def _deaf(distillation, **arguments):
    trainer = DistillTrainer(distillation, **arguments)

    def shut(trainer):
        if collective.rank() == 1:
            trainer.criterion.methods = lambda student, teacher: (student.scores.sum() * 0, {})

    trainer.add_callback("on_pretrain_routine_end", shut)
    return trainer


def failing(kind, **arguments):
    """A trainer that fails before its first step, in the second process only."""
    trainer = Trainer(**arguments)
    faults = {
        "ours": StageError("The second process stops.", "Do this."),
        "disk": OSError(errno.ENOSPC, "No space left on device", "/run/weights/last.pt"),
        "bug": RuntimeError("a bug"),
    }

    def fail(trainer):
        if collective.rank() == 1:
            raise faults[kind]

    trainer.add_callback("on_train_start", fail)
    return trainer


def _watch(trainer, folder):
    rank, held = collective.rank(), {"steps": 0}
    file = folder / f"rank-{rank}.jsonl"
    prepare, step = trainer.preprocess_batch, trainer.optimizer_step

    def preprocess_batch(batch):
        held["raw"] = {name: value.clone() for name, value in batch.items() if isinstance(value, torch.Tensor)}
        held["files"] = [Path(name).name for name in batch["im_file"]]
        held["buffers"] = {name: b.clone() for name, b in unwrap_model(trainer.model).named_buffers()}
        return prepare(batch)

    def optimizer_step():
        model = unwrap_model(trainer.model)
        gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
        if not held["steps"]:
            parameters = {name: p.detach().clone() for name, p in model.named_parameters()}
            kept = {"raw": held["raw"], "gradients": gradients, "state": {**parameters, **held["buffers"]}}
            torch.save({**kept, "loss": trainer.loss.detach()}, folder / f"rank-{rank}.pt")
        held["steps"] += 1
        criterion = model.criterion
        told = {
            "epoch": trainer.epoch,
            "files": held["files"],
            "pixels": hashlib.sha256(held["raw"]["img"].numpy().tobytes()).hexdigest(),
            "gradients": _hash(gradients.values()),
            "losses": {name: float(value) for name, value in trainer.loss_items.items()},
            "adapters": _hash(g for name, g in gradients.items() if name.startswith(checkpoints.ADAPTERS)),
            "adapter_length": sum(float(g.norm()) for n, g in gradients.items() if n.startswith(checkpoints.ADAPTERS)),
            "weight": getattr(criterion, "weight", None),
            "compared": getattr(criterion, "gradients", None),
        }
        with file.open("a") as out:
            out.write(json.dumps(told) + "\n")
        step()

    trainer.preprocess_batch, trainer.optimizer_step = preprocess_batch, optimizer_step
    return trainer


def _hash(tensors):
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()


def steps(folder):
    """What each of two processes wrote, step by step."""
    files = [Path(folder) / f"rank-{rank}.jsonl" for rank in (0, 1)]
    return [[json.loads(line) for line in file.read_text().splitlines()] for file in files]
