"""What the stages that train have in common: one job from the settings, on the run's own images and classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kdyolo.config import TrainSettings
from kdyolo.stages.base import StageContext


def train_model(context: StageContext, stage: str, settings: TrainSettings, images: Path) -> dict[str, Any]:
    """Train in the stage's folder, validated on the validation split; leaves ``best.pt`` and ``results.csv``.

    Args:
        context: Run, settings and whom to tell.
        stage: The stage.
        settings: Of the model.
        images: Training images; their labels lie as ultralytics looks for them.

    Returns:
        Facts for the record.

    Raises:
        EnvironmentFault: The official weights cannot be fetched.
        Interrupted: Stopped by the user; finished epochs are kept.
        StageError: See `engine.training.train`.
    """
    from kdyolo.datasets.view import load_view
    from kdyolo.engine import checkpoints
    from kdyolo.engine.job import TrainJob
    from kdyolo.engine.training import train_to_end

    config, view = context.config, load_view(context.run.stage("split"))
    job = TrainJob(
        folder=context.run.stage(stage),
        train=images,
        val=view.folder / "images" / "val",
        class_names=view.names,
        settings=settings,
        start=checkpoints.starting_point(settings, config.runtime.offline, settings.section),
        seed=config.seed,
        runtime=config.runtime,
        title=f"{stage} {settings.model}",
        log=context.run.log,
    )
    training = train_to_end(job, context.progress)
    return {"model": settings.model, "imgsz": settings.imgsz, **training}
