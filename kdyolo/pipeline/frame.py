"""A run at one moment: what its stages do, the training that runs, and the time that is left."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from kdyolo.pipeline.epochs import MAP, Epochs

StageState = Literal["waiting", "running", "done", "stopped", "failed"]
RunState = Literal["missing", "running", "finished", "stopped", "failed"]


@dataclass(frozen=True)
class Stage:
    """One stage as it stands.

    Attributes:
        name: Its name, in a run of several chains with that of its chain: ``0.25/student``.
        state: What it does.
        seconds: What all its attempts took so far; None before it began.
        left: Seconds it will still take; None where nobody can know.
        error: Why it failed or stopped.
    """

    name: str
    state: StageState
    seconds: float | None = None
    left: float | None = None
    error: str = ""


@dataclass(frozen=True)
class Training:
    """The training that runs, or ran last.

    Attributes:
        stage: Its stage, named as in `Stage`.
        part: Its folder below that of the stage, such as ``seed-1``; empty for the stage's own.
        epochs: Its epochs.
        control: Those of the control of the same seed, if this is a student that has one.
        batch: Batches done and in all of the epoch that runs; None where the log does not say.
        left: Seconds to its end; None before its first epoch is over.
    """

    stage: str
    part: str
    epochs: Epochs
    control: Epochs | None
    batch: tuple[int, int] | None
    left: float | None


@dataclass(frozen=True)
class Frame:
    """A run at one moment.

    Attributes:
        run: Its directory.
        state: What it does as a whole.
        stages: Its stages in order; none where there is no run yet.
        training: The training that runs, or ran last; None before the first.
        holder: Who works on it, see `RunDir.holder`.
        silent: Seconds since one of its files changed; None where there is none.
        left: Seconds to its end as far as they are known; None where nothing is.
        unknown: Stages still to come of which nobody can know how long they take.
        verdict: What its report says, once it is finished.
        report: The page, once it is there.
        next: The command that goes on, where nobody works on it.
    """

    run: Path
    state: RunState
    stages: tuple[Stage, ...] = ()
    training: Training | None = None
    holder: dict[str, Any] | None = None
    silent: float | None = None
    left: float | None = None
    unknown: tuple[str, ...] = ()
    verdict: str = ""
    report: Path | None = None
    next: str | None = None


def as_data(frame: Frame) -> dict[str, Any]:
    """A frame as plain data, None for n/a; ``training`` has the figures of every epoch."""
    training = frame.training
    return {
        **{name: getattr(frame, name) for name in ("state", "holder", "left", "verdict", "next")},
        "run": str(frame.run),
        "report": None if frame.report is None else str(frame.report),
        "silent": frame.silent,
        "unknown": list(frame.unknown),
        "stages": [vars(stage) for stage in frame.stages],
        "training": None if training is None else _training_data(training),
    }


def _training_data(training: Training) -> dict[str, Any]:
    epochs, control = training.epochs, training.control
    best = epochs.best
    return {
        "stage": training.stage,
        "part": training.part,
        "epoch": len(epochs.rows),
        "epochs": epochs.planned,
        "batch": training.batch,
        "seconds_an_epoch": epochs.pace,
        "left": training.left,
        "best": None if best is None else {"epoch": best[0], "mAP50_95": best[1]},
        "last": _finite(epochs.rows[-1]) if epochs.rows else None,
        "mAP50_95": _plain(epochs.column(MAP)),
        "loss": _plain(epochs.loss("train")),
        "control_mAP50_95": None if control is None else _plain(control.column(MAP)),
    }


def _plain(values: Iterable[float]) -> list[float | None]:
    return [value if math.isfinite(value) else None for value in values]


def _finite(row: dict[str, float]) -> dict[str, float | None]:
    return dict(zip(row, _plain(row.values()), strict=True))
