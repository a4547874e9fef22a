"""A training that also listens to a teacher. Imported only after `environment.harden`."""

from __future__ import annotations

import threading
from typing import Any

import torch
from torch import nn
from ultralytics.utils.torch_utils import unwrap_model

from kdyolo.distill import carry, preflight, registry
from kdyolo.distill.criterion import ITEM, DistillLoss
from kdyolo.distill.inside import DeepToShallow
from kdyolo.distill.outputs import HeadOutput
from kdyolo.distill.plan import Distillation
from kdyolo.distill.preflight import Preflight
from kdyolo.distill.schedule import Balance, Schedule
from kdyolo.distill.teachers import AveragedTeacher, Ensemble, FrozenTeacher, Peer, Teacher
from kdyolo.engine import checkpoints, collective
from kdyolo.engine.job import TrainJob
from kdyolo.engine.trainer import Trainer
from kdyolo.errors import StageError
from kdyolo.progress import Progress

_PEER = 1_000_003
"""Added to the seed for the other one of two students."""
_OF_GENERATIONS = ("val_mAP50_95", "train_seconds", "epochs", "batches_without_teacher")
_MOST_UNANSWERED = 0.01
_LOOK_EVERY = 4
"""Steps between two comparisons of gradients after the weight has been found; before, every step is looked at."""


class DistillTrainer(Trainer):
    """A `Trainer` whose student hears a teacher beside its labels.

    The student is a stock model here too; adapters are plain convolutions on it, which the final checkpoint lacks.
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
        self.teacher: Teacher | None = None
        self.balance = Balance(settings.ratio) if settings.weight == "auto" else None
        self.unanswered = self.unanswered_now = 0
        self.looked_ahead = False
        super().__init__(overrides, job, progress, stop)
        tail = int(self.args.close_mosaic) if settings.until_tail else 0
        weight = 1.0 if settings.weight == "auto" else settings.weight
        self.preflight: Preflight | None = None
        self.add_callback("on_train_start", DistillTrainer._look_ahead)
        self.add_callback("on_train_epoch_end", DistillTrainer._take_note)
        self.add_callback("on_train_epoch_end", DistillTrainer._count_unanswered)
        self.schedule = Schedule(weight, settings.schedule, job.settings.epochs, settings.warmup_epochs, tail)

    def get_model(self, cfg: Any = None, weights: Any = None, verbose: bool = True) -> Any:
        """The student as it would be without a teacher, then its adapters; and the teacher."""
        model = super().get_model(cfg, weights, verbose)
        nc, told = model.model[-1].nc, self.distillation
        frozen = [FrozenTeacher(checkpoints.load(path)[0], class_map, nc) for path, class_map in told.teachers]
        if frozen:
            self.teacher = frozen[0] if len(frozen) == 1 else Ensemble(frozen, torch.tensor(told.weights))
        self.methods = self._add_methods(model, frozen[0].model if len(frozen) == 1 else model, self.job.seed)
        if self.distillation.kind == "ema":
            self.teacher = AveragedTeacher()
        elif self.distillation.kind == "mutual":
            self.teacher = self._peer(cfg, weights)
        return model

    def _add_methods(self, model: Any, teacher: Any, seed: int) -> nn.Module:
        """What a model learns by; the convolutions of it become part of the model."""
        if self.distillation.kind == "deep":
            return DeepToShallow()
        head = model.model[-1]
        method, ours, theirs = self.distillation.settings.method, _channels(model), _channels(teacher)
        methods = registry.build(method, ours, theirs, head.nc, head.reg_max, seed)
        convolutions = [module for module in methods.modules() if isinstance(module, nn.Conv2d)]
        if convolutions:
            setattr(model, checkpoints.ADAPTERS, nn.ModuleList(convolutions))
        return methods

    def _peer(self, cfg: Any, weights: Any) -> Peer:
        seed = self.job.seed + _PEER
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            model = super().get_model(cfg, None if self.resume else weights, verbose=False)
        return Peer(model, self._add_methods(model, model, seed))

    def build_dataset(self, img_path: str, mode: str = "train", batch: int | None = None) -> Any:
        """The view as a data set; with the cached scheme what the teacher said goes with the labels."""
        dataset = super().build_dataset(img_path, mode, batch)
        if mode == "train" and self.distillation.hearsay:
            carry.attach(dataset, self.distillation.hearsay, len(self.job.class_names))
        return dataset

    def build_optimizer(self, model: Any, **recipe: Any) -> torch.optim.Optimizer:
        """As the base class does; a peer gets one of the same recipe."""
        self.optimizer_recipe = recipe
        return super().build_optimizer(model, **recipe)

    def resume_training(self, ckpt: dict[str, Any] | None) -> None:
        """As the base class does, when the teacher is there to take its own state back."""
        self.criterion = DistillLoss(unwrap_model(self.model), self.methods)
        self.criterion.refuses = self._refuses
        if self.teacher is not None:
            self.teacher.prepare(self)
            self.criterion.reply = self.teacher.listen
        self.criterion.own = self.distillation.kind == "deep"
        super().resume_training(ckpt)

    def _setup_train(self) -> None:
        super()._setup_train()
        unwrap_model(self.model).criterion = self.criterion
        self._give_average_a_loss()
        if self.balance is not None:
            self.balance.begin_within(self.schedule.epochs_heard * len(self.train_loader))

    def _give_average_a_loss(self) -> None:
        average = unwrap_model(self.ema.ema)
        average.criterion = DistillLoss(average, None)

    def _load_checkpoint_state(self, ckpt: dict[str, Any]) -> None:
        """As the base class does; the average, made anew as a copy of the student, gets no copy of its teacher."""
        student = unwrap_model(self.model)
        held, student.criterion = getattr(student, "criterion", None), None
        super()._load_checkpoint_state(ckpt)
        student.criterion = held
        self._give_average_a_loss()
        for learner in self.teacher.learners if self.teacher else ():
            learner.zero_grad(set_to_none=True)

    def learners(self) -> list[nn.Module]:
        """As of the base class, and what changes of the teacher."""
        return [*super().learners(), *(self.teacher.learners if self.teacher else ())]

    def more_state(self) -> dict[str, Any]:
        """The balance of gradients, and the teacher where it changes."""
        return {
            "balance": self.balance.state() if self.balance else {},
            "unanswered": self.unanswered,
            "teacher": self.teacher.state() if self.teacher else {},
        }

    def restore_more(self, held: dict[str, Any]) -> None:
        """Take back what `more_state` gave."""
        self.unanswered, self.unanswered_now = held.get("unanswered", 0), 0
        if self.balance and held.get("balance"):
            self.balance.restore(held["balance"])
        if self.teacher and held.get("teacher"):
            self.teacher.restore(held["teacher"])

    def preprocess_batch(self, batch: dict[str, Any]) -> dict[str, Any]:
        """As the base class does; a teacher sees the very same pixels."""
        batch = self.with_answer(batch, asked=self._listens())
        self._set_weight()
        return batch

    def with_answer(self, batch: dict[str, Any], asked: bool) -> dict[str, Any]:
        """A batch of the loader made ready, with what the teacher says of it where it is asked or must be."""
        batch = super().preprocess_batch(batch)
        if self.teacher is not None and (asked or self.teacher.must_answer):
            batch["kd_teacher"] = self.teacher.answer(batch["img"])
        return batch

    def _refuses(self, answer: HeadOutput) -> bool:
        """Whether a frozen teacher's answer is not finite: then the student learns the batch from its labels alone.

        Raises:
            StageError: That are more than one in a hundred of a training.
        """
        if self.teacher is None or not self.teacher.frozen or answer.is_finite():
            return False
        self.unanswered_now += 1
        so_far, batches = self.unanswered + self.unanswered_now, self.epochs * len(self.train_loader)
        if self.looked_ahead and so_far > _MOST_UNANSWERED * batches * collective.size():
            raise StageError(
                f"The teacher's output is not finite on {so_far} batches, more than 1 % of the training.",
                "Use --precision fp32, or another teacher: `kdyolo compare` measures one.",
            )
        return True

    def _count_unanswered(self) -> None:
        now = torch.tensor(self.unanswered_now, device=self.device)
        self.unanswered, self.unanswered_now = self.unanswered + int(collective.total(now)), 0

    def _look_ahead(self) -> None:
        """Before the first step, in each process of a distributed training."""
        if self.distillation.settings.weight:
            self.preflight = preflight.look(self)
        self.unanswered_now, self.looked_ahead = 0, True

    def optimizer_step(self) -> None:
        """Step, the teacher first where it learns as well: both have heard each other by now."""
        if self.teacher is not None:
            self.teacher.step(self)
        super().optimizer_step()

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
        """Learn from the gradients of the step before, if they were compared; all processes learn the same."""
        if self.balance is None or not self.criterion.watch:
            return
        told = collective.mean(self.criterion.gradients, 3, self.device)
        self.criterion.gradients, self.criterion.watch = None, False
        if told is not None:
            self.balance.look(*told)

    def save_metrics(self, metrics: dict[str, Any]) -> None:
        """Add the distillation's weight, and with the automatic weight what decided it, to the row of the epoch.

        With the scheme ``labels`` nobody is heard: its row is that of a plain training.
        """
        if self.distillation.settings.scheme == "labels":
            super().save_metrics({name: value for name, value in metrics.items() if not name.endswith(f"/{ITEM}")})
            return
        told = {"kd_weight": round(self.criterion.weight, 6)}
        if self.balance is not None:
            share = self.criterion.weight * self.balance.kd / self.balance.task if self.balance.task else 0.0
            told |= {"kd_gradient_ratio": round(share, 6), "kd_gradient_cosine": round(self.balance.cosine, 6)}
        super().save_metrics({**metrics, **told})

    def facts(self) -> dict[str, Any]:
        """What the stage record keeps, with the method."""
        settings = self.distillation.settings
        if settings.scheme == "labels":
            return super().facts()
        told = {"scheme": settings.scheme, "method": settings.method, "kd_weight": settings.weight}
        found = {**super().facts(), **told}
        if self.unanswered:
            found["batches_without_teacher"] = self.unanswered
        if self.preflight is not None:
            found["preflight"] = self.preflight.to_json()
        if before := self.distillation.generations:
            found["generations"] = [
                {name: facts[name] for name in _OF_GENERATIONS if name in facts} for facts in before
            ]
            found["train_seconds"] += sum(facts["train_seconds"] for facts in before)
        return found


def _channels(model: Any) -> list[int]:
    """Channels of the maps that enter a model's head, finest first."""
    firsts = (next(m for m in branch.modules() if isinstance(m, nn.Conv2d)) for branch in model.model[-1].cv2)
    return [int(first.in_channels) for first in firsts]
