"""The settings of a run: those it was started with, then a file, then single values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from kdyolo.config import Config, load_config
from kdyolo.errors import ConfigError
from kdyolo.storage import RunDir


def resolve(
    run: RunDir,
    *,
    file: Path | None = None,
    assignments: Iterable[str] = (),
    overrides: Mapping[str, Any] | None = None,
    fresh: bool = False,
) -> Config:
    """Resolve the settings of a run; paths come out absolute, so that a run goes on from any folder.

    Args:
        run: Its ``config.yaml``, where there is one, is what the rest is laid over.
        file: YAML file.
        assignments: ``key.path=value`` texts.
        overrides: dotted key -> value; None values are left out.
        fresh: Start from the defaults even if the run has a ``config.yaml``.

    Raises:
        ConfigError: A setting is wrong, or nothing says where the data set is.
    """
    base = load_config(run.config) if run.config.exists() and not fresh else None
    config = load_config(file, assignments, overrides, base)
    _absolute(config)
    if config.data.source is None:
        raise ConfigError(
            f"There is no run at {run.root} yet, and no data set is given.",
            "Start one with `kdyolo run DATASET --run FOLDER`, or try `kdyolo demo`.",
        )
    source = config.data.source
    if source.is_dir() and run.root.resolve().is_relative_to(source.resolve()):
        raise ConfigError(
            f"The run {run.root} would lie inside the data set {source}, which kdyolo never writes to.",
            "Give --run a folder outside of it.",
        )
    return config


def _absolute(section: BaseModel) -> None:
    for name in type(section).model_fields:
        value = getattr(section, name)
        if isinstance(value, BaseModel):
            _absolute(value)
        elif isinstance(value, Path):
            setattr(section, name, value.resolve())
