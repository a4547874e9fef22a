"""A training that also listens to a teacher. Imported only after `environment.harden`."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import torch
from torch import nn
from ultralytics.utils.torch_utils import unwrap_model

from kdyolo.distill import carry, registry
from kdyolo.distill.criterion import DistillLoss
from kdyolo.distill.outputs import HeadOutput
from kdyolo.distill.plan import Distillation
from kdyolo.distill.schedule import Balance, Schedule
from kdyolo.engine import checkpoints
from kdyolo.engine.job import TrainJob
from kdyolo.engine.trainer import Trainer
from kdyolo.errors import ConfigError
from kdyolo.progress import Progress
from kdyolo.storage import write_json

_LOOK_EVERY = 4
"""Steps between two comparisons of gradients after the weight has been found; before, every step is looked at."""


class DistillTrainer(Trainer):
    """A `Trainer` whose student hears a teacher beside its labels.

    The student is a stock model here too. A teacher that is asked at every step hangs on the trainer, not on the
    student, so that neither optimiser nor averaging nor checkpoints see it; adapters are plain convolutions on the
    student, which the final checkpoint lacks.
    """

    def __init__(
        self,
        distillation: Distillation,
        overrides: dict[str, Any],
        job: TrainJob,
        progress: Progress,
        stop: threading.Event,
    ) -> None:
        self.distillation, settings = distillation, distillation.settings
        self.teacher: Any = checkpoints.load(distillation.teacher)[0] if distillation.teacher else None
        self.balance = Balance(settings.ratio) if settings.weight == "auto" else None
        super().__init__(overrides, job, progress, stop)
        tail = int(self.args.close_mosaic) if settings.until_tail else 0
        weight = 1.0 if settings.weight == "auto" else settings.weight
        self.schedule = Schedule(weight, settings.schedule, job.settings.epochs, settings.warmup_epochs, tail)

    def get_model(self, cfg: Any = None, weights: Any = None, verbose: bool = True) -> Any:
        """The student as it would be without a teacher, then its adapters."""
        model = super().get_model(cfg, weights, verbose)
        head = model.model[-1]
        ours = _channels(model)
        theirs = ours if self.teacher is None else _channels(self.teacher)
        method = self.distillation.settings.method
        self.methods = registry.build(method, ours, theirs, head.nc, head.reg_max, self.job.seed)
        convolutions = [module for module in self.methods.modules() if isinstance(module, nn.Conv2d)]
        if convolutions:
            adapters = nn.ModuleList(convolutions)
            if self.resume and weights is not None:
                adapters.load_state_dict(getattr(weights, checkpoints.ADAPTERS).state_dict())
            setattr(model, checkpoints.ADAPTERS, adapters)
        return model

    def build_dataset(self, img_path: str, mode: str = "train", batch: int | None = None) -> Any:
        """The view as a data set; with the cached scheme what the teacher said goes with the labels."""
        dataset = super().build_dataset(img_path, mode, batch)
        if mode == "train" and self.distillation.hearsay:
            carry.attach(dataset, self.distillation.hearsay, len(self.job.class_names))
        return dataset

    def _setup_train(self) -> None:
        super()._setup_train()
        for model in (self.model, self.ema.ema):
            student = unwrap_model(model)
            student.criterion = DistillLoss(student, self.methods if model is self.model else None)
        self.criterion: DistillLoss = unwrap_model(self.model).criterion
        if self.teacher is not None:
            self._prepare_teacher()
        if self.balance is not None and self.resume and self._balance_file.is_file():
            self.balance.restore(json.loads(self._balance_file.read_text()))

    def _prepare_teacher(self) -> None:
        student, teacher = unwrap_model(self.model).model[-1], self.teacher.model[-1]
        if (student.stride.tolist(), student.reg_max) != (teacher.stride.tolist(), teacher.reg_max):
            raise ConfigError("Teacher and student have different grids.", "Both must be YOLOv5 (u) models.")
        dtype = torch.float32
        if self.amp:
            dtype = torch.bfloat16 if self.cpu_bf16 or self.precision == "bf16" else torch.float16
        self.teacher = self.teacher.fuse(verbose=False).eval().requires_grad_(False)
        self.teacher = self.teacher.to(self.device, dtype, memory_format=torch.channels_last)
        self.teacher.model[-1].training = True  # raw outputs, not decoded boxes
        names = range(len(self.job.class_names))
        given = self.distillation.class_map or {i: i for i in names}
        self.sources = [sorted(theirs for theirs, ours in given.items() if ours == i) for i in names]

    def preprocess_batch(self, batch: dict[str, Any]) -> dict[str, Any]:
        """As the base class does; a teacher sees the very same pixels."""
        batch = super().preprocess_batch(batch)
        if self.teacher is not None and self._listens():
            dtype = next(self.teacher.parameters()).dtype
            with torch.no_grad(), torch.autocast(self.device.type, enabled=False):
                raw = self.teacher(batch["img"].to(dtype))
            strides = self.teacher.model[-1].stride.tolist()
            batch["kd_teacher"] = HeadOutput.from_raw(raw, strides).select(self.sources).float()
        self._set_weight()
        return batch

    def _listens(self) -> bool:
        """Whether the teacher has a say in this step."""
        return self.schedule.at(self._when()) > 0 or self._when() == 0

    def _when(self) -> float:
        steps = max(1, len(self.train_loader))
        when: float = self.epoch + (self.batches_done % steps) / steps
        return when

    def _set_weight(self) -> None:
        course = self.schedule.at(self._when())
        if self.balance is None:
            self.criterion.weight = course
            return
        self._take_note()
        self.criterion.weight = course * self.balance.weight
        self.criterion.watch = self.balance.looks < self.balance.steps or self.batches_done % _LOOK_EVERY == 0

    def _take_note(self) -> None:
        """Learn from the gradients of the step before."""
        if self.criterion.gradients is not None and self.balance is not None:
            self.balance.look(*self.criterion.gradients)
            self.criterion.gradients = None

    def save_metrics(self, metrics: dict[str, Any]) -> None:
        """Add the distillation's weight, and with the automatic weight what decided it, to the row of the epoch."""
        told = {"kd_weight": round(self.criterion.weight, 6)}
        if self.balance is not None:
            share = self.criterion.weight * self.balance.kd / self.balance.task if self.balance.task else 0.0
            told |= {"kd_gradient_ratio": round(share, 6), "kd_gradient_cosine": round(self.balance.cosine, 6)}
        super().save_metrics({**metrics, **told})

    def save_model(self) -> bool:
        """As the base class does, after the balance of gradients, which a resumed training goes on with."""
        if self.balance is not None:
            write_json(self._balance_file, self.balance.state())
        return super().save_model()

    @property
    def _balance_file(self) -> Path:
        return Path(self.save_dir) / "weights" / "balance.json"

    def facts(self) -> dict[str, Any]:
        """What the stage record keeps, with the method."""
        settings = self.distillation.settings
        told = {"scheme": settings.scheme, "method": settings.method, "kd_weight": settings.weight}
        return {**super().facts(), **told}


def _channels(model: Any) -> list[int]:
    """Channels of the maps that enter a model's head, finest first."""
    firsts = (next(m for m in branch.modules() if isinstance(m, nn.Conv2d)) for branch in model.model[-1].cv2)
    return [int(first.in_channels) for first in firsts]
