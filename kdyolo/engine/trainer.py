"""Ultralytics' trainer, made fast on a CPU and safe to kill. Imported only after `environment.harden`."""

from __future__ import annotations

import hashlib
import math
import os
import shutil
import threading
from copy import copy
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import torch
import torch.utils.deterministic
import ultralytics.engine.trainer
from ultralytics.models.yolo.detect import DetectionTrainer
from ultralytics.utils.torch_utils import unwrap_model

from kdyolo.engine import checkpoints, collective, environment, state
from kdyolo.engine.job import TrainJob
from kdyolo.engine.precision import Fp32DetectionLoss
from kdyolo.engine.validator import Validator
from kdyolo.errors import Interrupted, StageError
from kdyolo.progress import Progress
from kdyolo.storage import sha256_by_name, write_text

# Its trial of mixed precision fetches another model from the network.
ultralytics.engine.trainer.check_amp = lambda model: True


class Trainer(DetectionTrainer):  # type: ignore[misc] # the base is untyped
    """A `DetectionTrainer` on a clean view of a data set.

    The student stays a stock model: mixed precision and memory format are switched on around it, so checkpoints,
    averaging and export need no special case.
    """

    model: Any
    amp: bool
    loss: Any
    optimizer: Any
    last: Path
    best: Path
    best_fitness: float

    def __init__(self, overrides: dict[str, Any], job: TrainJob, progress: Progress, stop: threading.Event) -> None:
        self.job, self.progress, self.stop_request = job, progress, stop
        self.precision = environment.resolve_precision(job.runtime)
        self.optimizer_steps = self.steps_of_epochs = 0
        self.seconds_before = 0.0
        self.initial_sha256 = ""
        self.headline: dict[str, float] = {}
        super().__init__(overrides=overrides)
        self.cpu_bf16 = self.device.type == "cpu" and self.precision == "bf16"
        # Determinism by itself also fills every new tensor with NaN, to expose reads of uninitialised memory.
        setattr(torch.utils.deterministic, "fill_uninitialized_memory", False)  # noqa: B010 - a property of the module
        self.add_callback("on_train_start", Trainer._on_start)
        self.add_callback("on_train_epoch_start", Trainer._on_epoch_start)
        self.add_callback("on_train_batch_end", Trainer._on_batch)
        self.add_callback("on_fit_epoch_end", Trainer._on_epoch)

    def get_dataset(self) -> dict[str, Any]:
        """The view's folders as ultralytics' data dictionary; its own reader would fetch fonts and run `download:`."""
        names = dict(enumerate(self.job.class_names))
        self._remove_caches()
        return {
            "path": self.job.train.parent.parent,
            "train": str(self.job.train),
            "val": str(self.job.val),
            "names": names,
            "nc": len(names),
            "channels": 3,
        }

    def setup_model(self) -> Any:
        """Build the student and fingerprint its initial weights, so that two arms can prove an equal start."""
        if collective.size() > 1:
            torch.manual_seed(self.job.seed)  # ultralytics gives each process a seed of its own
        checkpoint = super().setup_model()
        noted = self.save_dir / "initial.sha256"
        if self.resume:  # the model now has the weights of the last epoch, not its first ones
            self.initial_sha256 = noted.read_text() if noted.is_file() else ""
            return checkpoint
        digest = hashlib.sha256()
        for name, tensor in self.model.state_dict().items():
            if name.startswith(checkpoints.ADAPTERS):
                continue  # no part of the student
            digest.update(name.encode() + tensor.detach().cpu().contiguous().float().numpy().tobytes())
        self.initial_sha256 = digest.hexdigest()
        if collective.rank() == 0:
            write_text(noted, self.initial_sha256)
        return checkpoint

    def build_optimizer(self, *args: Any, **kwargs: Any) -> torch.optim.Optimizer:
        """Ultralytics' optimiser, stepping all weights in one call on a CPU where torch can."""
        optimizer: torch.optim.Optimizer = super().build_optimizer(*args, **kwargs)
        if self.device.type == "cpu" and "fused" in optimizer.defaults:
            for group in optimizer.param_groups:
                group.update(fused=True, foreach=False)
        return optimizer

    def build_dataset(self, img_path: str, mode: str = "train", batch: int | None = None) -> Any:
        """The view as a data set, kept decoded in memory where it takes at most an eighth of it in all processes.

        Mosaics are made of other images then, so the choice must not depend on what else the machine is doing.
        """
        decoded = sum(1 for _ in Path(img_path).iterdir()) * self.args.imgsz**2 * 3
        self.args.cache = "ram" if 8 * decoded * collective.size() < psutil.virtual_memory().total else None
        dataset = super().build_dataset(img_path, mode, batch)
        if mode == "train":
            self.labels = _read_labels(dataset)
        return dataset

    def _build_train_pipeline(self) -> None:
        """As the base class does; from here on the model is that of all processes, where there are several.

        To ultralytics each of them was a training on one device so far: it can neither share a CPU nor start trainers
        like this one.
        """
        if collective.size() > 1:
            if self.device.type == "cpu":
                self.model = self.model.to(memory_format=torch.channels_last)
            self.model = collective.wrap(self.model, self.device)
            self.world_size = collective.size()
        super()._build_train_pipeline()
        if collective.size() > 1:
            self.train_loader.sampler.seed = self.job.seed  # all deal out the same shuffled images

    def _setup_train(self) -> None:
        super()._setup_train()
        collective.wait()  # the others may still read what the first one found out about the labels
        self._remove_caches()
        self._require_all_images()
        if self.device.type == "cpu":
            environment.prepare_cpu(self.job.runtime.threads, collective.size())
            self.model = self.model.to(memory_format=torch.channels_last)
            self.ema.ema = self.ema.ema.to(memory_format=torch.channels_last)
        # The loop wraps the forward pass in autocast when this is set; the loss scaler stays off for bf16.
        self.amp = self.amp or self.cpu_bf16
        for model in (self.model, self.ema.ema):
            unwrap_model(model).criterion = Fp32DetectionLoss(unwrap_model(model))

    def _remove_caches(self) -> None:
        """Label caches are unpickled when read, so none may be there before, and none is left."""
        for folder in (self.job.train, self.job.val):
            for cache in folder.parent.parent.glob("labels/*.cache"):
                cache.unlink(missing_ok=True)  # other processes do the same

    def _require_all_images(self) -> None:
        """Ultralytics silently leaves out what it cannot read; an arm that lacks images is not comparable."""
        for loader, folder in ((self.train_loader, self.job.train), (self.test_loader, self.job.val)):
            given, read = sum(1 for _ in folder.iterdir()), len(loader.dataset)
            if read != given:
                raise StageError(
                    f"{self.job.title}: only {read} of {given} images in {folder} can be read.",
                    "An image or label in the run directory was changed; run `kdyolo split` again with --force.",
                )

    def preprocess_batch(self, batch: dict[str, Any]) -> dict[str, Any]:
        """As ultralytics does, with images in the memory format the model has."""
        batch = super().preprocess_batch(batch)
        batch["img"] = batch["img"].contiguous(memory_format=torch.channels_last)
        return batch

    def optimizer_step(self) -> None:
        """Count the steps: two arms are comparable only when they take equally many."""
        super().optimizer_step()
        self.optimizer_steps += 1

    def get_validator(self) -> Validator:
        """A validator that runs in the same precision as the training."""
        validator = Validator(self.test_loader, save_dir=self.save_dir, args=copy(self.args), _callbacks=self.callbacks)
        validator.cpu_bf16, validator.before_batch = self.cpu_bf16, self._obey_stop
        return validator

    def save_model(self) -> bool:
        """Save so that a crash at any moment leaves a checkpoint that loads.

        What a resumed training needs lies beside it, see `state`, so the checkpoint has no optimiser. Files are written
        under temporary names, synced and renamed, the state and the best one first. An epoch that is trained again
        takes its place only if it is better, see `resume_training`. The best one is a second name of the same file, for
        no file is ever written to under its final name.
        """
        last, best = self.last, self.best
        new_last, new_best = last.with_name(".last.pt.tmp"), best.with_name(".best.pt.tmp")
        self.last, self.best = new_last, Path(os.devnull)
        optimizer, self.optimizer = self.optimizer, _NoOptimizer()
        try:
            saved: bool = super().save_model()
        finally:
            self.last, self.best, self.optimizer = last, best, optimizer
        state.save(self, last.parent)
        with new_last.open("rb+") as file:
            os.fsync(file.fileno())
        new_best.unlink(missing_ok=True)  # left by a crash
        if self.best_fitness == self.fitness:
            _second_name(new_last, new_best)
            os.replace(new_best, best)
        if last.exists():
            os.replace(last, last.with_name("last-good.pt"))
        os.replace(new_last, last)
        return saved

    def final_eval(self) -> None:
        """Nothing: the best checkpoint is measured by the compare stage, on the test split."""

    def resume_training(self, ckpt: dict[str, Any] | None) -> None:
        """Resume, and drop rows of epochs whose checkpoint was lost, so that no epoch stands twice in the table."""
        super().resume_training(ckpt)
        if ckpt is not None and self.resume and self.csv.is_file() and collective.rank() == 0:
            table = pd.read_csv(self.csv)
            table = table.head(self.start_epoch)  # one row an epoch, the first one's first
            temporary = self.csv.with_name(f".{self.csv.name}.tmp")
            table.to_csv(temporary, index=False)
            os.replace(temporary, self.csv)
            if len(table):
                self.seconds_before = float(table["time"].iloc[-1])
                self.steps_of_epochs = int(table["optimizer_steps"].iloc[-1])
            # The best checkpoint may be that of an epoch whose own checkpoint was lost, or lost itself.
            try:
                best = self._best()
            except checkpoints.DamagedFileError:
                self.best.unlink(missing_ok=True)
                _second_name(Path(self.args.model), self.best)
                best = ckpt
            self.best_fitness = float(best["train_metrics"]["fitness"])

    def learners(self) -> list[torch.nn.Module]:
        """The models that this training changes."""
        return [unwrap_model(self.model)]

    def _handle_nan_recovery(self, epoch: int) -> bool:
        """As the base class does, whichever process had a loss that was not finite; nothing of it is ever saved.

        Raises:
            StageError: There is nothing to go back to, or going back did not help.
        """
        self.loss = collective.total(self.loss)
        try:
            recovered: bool = super()._handle_nan_recovery(epoch)
        except RuntimeError as error:
            raise self._not_finite(epoch) from error
        if recovered:
            self.batches_done = epoch * len(self.train_loader)
            self.progress.warn(
                f"{self.job.title}: loss or metrics were not finite in epoch {epoch + 1}; "
                f"it is done again from the weights before it ({self.nan_recovery_attempts}. time, at most 3)."
            )
        elif not self._is_finite():
            raise self._not_finite(epoch)
        return recovered

    def _is_finite(self) -> bool:
        fitness = 0.0 if self.fitness is None and collective.rank() > 0 else self.fitness
        return fitness is not None and math.isfinite(fitness) and bool(self.loss.isfinite())

    def _not_finite(self, epoch: int) -> StageError:
        good = f"the last good weights are {self.last}" if self.last.exists() else "there are no good weights yet"
        return StageError(
            f"The loss or the metrics of {self.job.title} are not finite after epoch {epoch + 1}.",
            f"Lower lr0, or use --precision fp32; {good}.",
        )

    def _load_checkpoint_state(self, ckpt: dict[str, Any]) -> None:
        """As ultralytics does, but weights and moments in full precision; also after a loss that was not finite."""
        super()._load_checkpoint_state({**ckpt, "optimizer": None})
        try:
            state.restore(self, self.wdir, ckpt["epoch"])
        except checkpoints.DamagedFileError as error:
            self.progress.warn(f"{error.message} The training goes on from its averaged weights.")

    def more_state(self) -> dict[str, Any]:
        """What else a resumed training needs: plain data and tensors."""
        return {}

    def restore_more(self, held: dict[str, Any]) -> None:
        """Take back what `more_state` gave."""

    def save_metrics(self, metrics: dict[str, Any]) -> None:
        """Add a row to ``results.csv``, with the optimiser steps so far."""
        self.steps_of_epochs = self.optimizer_steps
        super().save_metrics({**metrics, "optimizer_steps": self.optimizer_steps})

    def facts(self) -> dict[str, Any]:
        """What the stage record keeps of this training."""
        table, best = pd.read_csv(self.csv), self._best()
        return {
            "images": len(self.train_loader.dataset),
            "epochs": len(table),
            "best_epoch": int(best["epoch"]) + 1,
            "val_mAP50_95": float(best["train_metrics"]["metrics/mAP50-95(B)"]),
            "optimizer_steps": self.steps_of_epochs,
            "train_seconds": round(float(table["time"].iloc[-1]), 2),
            "initial_sha256": self.initial_sha256,
            **self.labels,
            "cached": self.train_loader.dataset.cache == "ram",
            "device": str(self.device),
            "precision": self.precision,
            "threads": torch.get_num_threads(),
        }

    def _best(self) -> dict[str, Any]:
        _, checkpoint = checkpoints.load(self.best)
        return checkpoint

    def _obey_stop(self) -> None:
        if self.stop_request.is_set():
            message = f"Stopped {self.job.title} after {self.epoch} finished epochs."
            raise Interrupted(message, "Run the same command again to go on.")

    def _on_epoch_start(self) -> None:
        self.optimizer_steps = self.steps_of_epochs  # an epoch may be redone after its loss was not finite
        collective.share_buffers(self.learners())  # of all the first process's alone are kept, for a resumed training
        attempt, rank = self.nan_recovery_attempts, collective.rank()
        state.begin_epoch(self.job.seed, self.epoch, attempt, self.train_loader, rank)

    def _on_start(self) -> None:
        self.train_time_start -= self.seconds_before
        self.batches_done = self.start_epoch * len(self.train_loader)
        self.progress.start(self.job.title, self.epochs * len(self.train_loader))

    def _on_batch(self) -> None:
        self._obey_stop()
        self.batches_done += 1
        losses = {name.removesuffix("_loss"): float(value) for name, value in self.tloss.items()}
        self.progress.update(self.batches_done, epoch=f"{self.epoch + 1}/{self.epochs}", **losses, **self.headline)

    def _on_epoch(self) -> None:
        if collective.rank() > 0:
            return  # only the first process has metrics
        self.headline = {
            "mAP50": self.metrics["metrics/mAP50(B)"],
            "mAP50-95": self.metrics["metrics/mAP50-95(B)"],
        }
        self.progress.update(self.batches_done, epoch=f"{self.epoch + 1}/{self.epochs}", **self.headline)


class _NoOptimizer:
    """Stands for the optimiser while ultralytics saves; with it the checkpoint would be three times as large."""

    def state_dict(self) -> dict[str, Any]:
        return {"state": {}}


def _second_name(file: Path, name: Path) -> None:
    try:
        os.link(file, name)
    except OSError:  # a file system without links
        shutil.copyfile(file, name)


def _read_labels(dataset: Any) -> dict[str, Any]:
    """What the loader has just read: the sha256 of its label files, and how many boxes it took from them."""
    files = {Path(name) for name in dataset.label_files}
    return {
        "labels_sha256": sha256_by_name(path for path in files if path.is_file()),
        "label_boxes": int(sum(len(label["cls"]) for label in dataset.labels)),
    }
