"""What a training is asked to do."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kdyolo.config import RuntimeSettings, TrainSettings


@dataclass(frozen=True)
class TrainJob:
    """What to train on what.

    Attributes:
        folder: Where ``results.csv`` and, under ``weights``, the resumable checkpoints go.
        train: Folder of training images, with labels in the parallel ``labels`` folder.
        val: Folder of validation images.
        class_names: Names in class order.
        settings: The recipe.
        start: Checkpoint to start from; None: random weights.
        seed: Seed of weights, shuffling and augmentation.
        runtime: Device, threads, precision.
        title: What the progress bar is called.
        log: File for what ultralytics has to say.
    """

    folder: Path
    train: Path
    val: Path
    class_names: tuple[str, ...]
    settings: TrainSettings
    start: Path | None
    seed: int
    runtime: RuntimeSettings
    title: str
    log: Path
