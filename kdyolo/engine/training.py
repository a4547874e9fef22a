"""One training: a stock ultralytics model and loop, fast on a CPU, safe to interrupt, exact about what it read."""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from kdyolo.engine import checkpoints, environment, ranks
from kdyolo.engine.job import TrainJob
from kdyolo.errors import Interrupted, StageError
from kdyolo.progress import Progress
from kdyolo.storage import write_json

if TYPE_CHECKING:
    from kdyolo.engine.trainer import Trainer


@dataclass(frozen=True)
class TrainOutcome:
    """What came of it. `facts` go into the stage record: counts, hashes, seconds, device."""

    best: Path
    results: Path
    facts: dict[str, Any]


def train(job: TrainJob, progress: Progress, make: Callable[..., Trainer] | None = None) -> TrainOutcome:
    """Train, or go on where an interrupted training in `job.folder` stopped.

    Args:
        job: What to train on what.
        progress: Whom to tell.
        make: Makes another kind of `Trainer` of the same arguments; called when ultralytics may be imported. Where the
            training takes several processes it is pickled.

    Raises:
        ConfigError: See `ranks.require_alone`.
        Interrupted: Ctrl-C or a termination signal; the last finished epoch is on disk.
        StageError: The metrics are not finite, or an image cannot be read.
        UntrustedFileError: A checkpoint in `job.folder` is not one that a training left.
    """
    ranks.require_alone()
    environment.harden(job.runtime.track)
    resume = _last_good(job, progress)
    if resume is None:
        (job.folder / "results.csv").unlink(missing_ok=True)
        shutil.rmtree(job.folder / "weights", ignore_errors=True)
    overrides = _overrides(job, resume)
    alone = len(environment.share_out(job.runtime)) == 1
    with _stop_signals() as stop:
        outcome = (_train_here if alone else _train_apart)(job, overrides, progress, stop, make)
    progress.finish()
    if not outcome.best.is_file():
        raise StageError("The training left no checkpoint.", f"See {job.log}.")
    if stop.is_set():
        raise Interrupted(f"Stopped {job.title} at its end.", "Run the same command again to go on.")
    return outcome


def _train_here(
    job: TrainJob, overrides: dict[str, Any], progress: Progress, stop: threading.Event, make: Callable[..., Any] | None
) -> TrainOutcome:
    from kdyolo.engine.trainer import Trainer

    with environment.noise_to(job.log):
        trainer = (make or Trainer)(overrides=overrides, job=job, progress=progress, stop=stop)
        trainer.train()
    facts = trainer.facts() if trainer.best.is_file() else {}
    return TrainOutcome(best=trainer.best, results=trainer.csv, facts=facts)


def _train_apart(
    job: TrainJob, overrides: dict[str, Any], progress: Progress, stop: threading.Event, make: Callable[..., Any] | None
) -> TrainOutcome:
    environment.require_batch(job.runtime, job.settings.batch)
    found = ranks.train(job, overrides, progress, stop, make)
    return TrainOutcome(best=Path(found["best"]), results=Path(found["results"]), facts=found["facts"])


@contextlib.contextmanager
def trial(job: TrainJob, progress: Progress, make: Callable[..., Any]) -> Iterator[Any]:
    """A trainer that is set up and does not train. Arguments and errors as for `train`."""
    environment.harden()
    with _stop_signals() as stop, environment.noise_to(job.log):
        trainer = make(overrides=_overrides(job, None), job=job, progress=progress, stop=stop)
        trainer._setup_train()
        yield trainer


def train_to_end(job: TrainJob, progress: Progress, make: Callable[..., Trainer] | None = None) -> dict[str, Any]:
    """Train and leave ``best.pt``, a stock checkpoint, and ``results.csv`` in `job.folder`; returns the facts.

    The facts are on disk before the resumable checkpoints go, so a crash at any moment costs an epoch at most.

    Arguments and errors as for `train`.
    """
    facts = job.folder / "training.json"
    if not facts.is_file():
        outcome = train(job, progress, make)
        checkpoints.save_stripped(outcome.best, job.folder / "best.pt")
        write_json(facts, outcome.facts)
    shutil.rmtree(job.folder / "weights", ignore_errors=True)
    found: dict[str, Any] = json.loads(facts.read_text(encoding="utf-8"))
    return found


def _overrides(job: TrainJob, resume: Path | None) -> dict[str, Any]:
    """Ultralytics' settings of a job; on resume it takes them from the checkpoint and only the paths are ours."""
    s = job.settings
    device, precision = environment.resolve_device(job.runtime.device), environment.resolve_precision(job.runtime)
    return {
        "task": "detect",
        "mode": "train",
        "model": str(resume or job.start or checkpoints.architecture(s.model)),
        "pretrained": job.start is not None,
        "resume": str(resume) if resume else False,
        "data": str(job.train),
        "save_dir": str(job.folder),
        "device": device,
        "workers": job.runtime.workers,
        "amp": {"amp": True, "fp32": False, "bf16": device != "cpu" and "bf16"}[precision],
        "seed": job.seed,
        "deterministic": True,
        "plots": False,
        "exist_ok": True,
        "close_mosaic": s.tail_epochs,
        "nbs": s.nbs or s.batch,
        "patience": s.patience or s.epochs + 1,
        **s.model_dump(include={"epochs", "imgsz", "batch", "optimizer", "lr0", "lrf", "cos_lr", "momentum"}),
        **s.model_dump(include={"weight_decay", "warmup_epochs"}),
        **s.augment.model_dump(),
    }


def _last_good(job: TrainJob, progress: Progress) -> Path | None:
    """The newest checkpoint to go on from: a crash or a full disk may have cut the last one short.

    That of the very last epoch is passed over as well: with no epoch left, ultralytics refuses to resume.
    """
    damaged = False
    for name in ("last.pt", "last-good.pt"):
        path = job.folder / "weights" / name
        if not path.is_file():
            continue
        try:
            _, checkpoint = checkpoints.load(path)
        except checkpoints.DamagedFileError as error:
            progress.warn(error.message)
            damaged = True
            continue
        if checkpoint.get("optimizer") is not None and checkpoint["epoch"] + 1 < job.settings.epochs:
            if damaged:
                progress.warn("Going back to the copy before it: one epoch is trained again.")
            return path
    if damaged:
        progress.warn(f"No older copy can be used: {job.title} starts from its first epoch.")
    return None


@contextlib.contextmanager
def _stop_signals() -> Iterator[threading.Event]:
    """An event set by the first SIGINT or SIGTERM; the second one ends the process at once."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    signals = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in signals}

    def on_signal(number: int, frame: FrameType | None) -> None:
        if stop.is_set():
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        stop.set()

    for number in signals:
        signal.signal(number, on_signal)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
