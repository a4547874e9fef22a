"""The settings of a run: those it was started with, then a file, then single values."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from kdyolo.config import Config, load_config
from kdyolo.errors import ConfigError, KdyoloError
from kdyolo.storage import RunDir

_OF_A_RUN = ("config.yaml", "manifest.json", "log", "split", "budgets", "assistant", ".lock")
_ONLY_OF_ADOPTED = ("teacher.more", "teacher.map_classes", "teacher.trained_on", "teacher.allow_seen_test")
_USED_OF_ADOPTED = ("teacher.checkpoint", "teacher.imgsz", *_ONLY_OF_ADOPTED)


def resolve(
    run: RunDir,
    *,
    file: Path | None = None,
    assignments: Iterable[str] = (),
    overrides: Mapping[str, Any] | None = None,
    fresh: bool = False,
    preset: Path | None = None,
) -> Config:
    """Resolve the settings of a run; paths come out absolute, so that a run goes on from any folder.

    Args:
        run: Its ``config.yaml``, where there is one, is what the rest is laid over.
        file: YAML file.
        assignments: ``key.path=value`` texts.
        overrides: dotted key -> value; None values are left out.
        fresh: Start from the defaults even if the run has a ``config.yaml``.
        preset: YAML file that stands for the defaults.

    Raises:
        ConfigError: A setting is wrong or would be ignored, or nothing says where the data set is, or it and the run
            lie inside each other.
    """
    assignments = list(assignments)
    start = run.config if run.config.exists() and not fresh else preset
    config = load_config(file, assignments, overrides, load_config(start) if start else None)
    _absolute(config)
    if config.data.source is None:
        if run.manifest.is_file():
            run.require_begun()
        raise ConfigError(
            f"There is no run at {run.root} yet, and no data set is given.",
            "Start one with `kdyolo run DATASET --run FOLDER`, or try `kdyolo demo`.",
        )
    _refuse_ignored(config, assignments, overrides or {})
    _refuse_nesting(config, config.data.source, run)
    _refuse_foreign(run)
    return config


def _absolute(section: BaseModel) -> None:
    for name in type(section).model_fields:
        value = getattr(section, name)
        if isinstance(value, BaseModel):
            _absolute(value)
        elif isinstance(value, Path):
            setattr(section, name, value.resolve())
        elif isinstance(value, tuple) and any(isinstance(part, Path) for part in value):
            setattr(section, name, tuple(part.resolve() for part in value))


def _refuse_foreign(run: RunDir) -> None:
    """Stop before a run is laid into a folder of somebody else's."""
    if not run.root.is_dir() or any((run.root / name).exists() for name in _OF_A_RUN):
        return
    if found := next((path for path in run.root.iterdir() if not path.name.startswith(".")), None):
        raise ConfigError(
            f"{run.root} is no run, and not empty: it holds {found.name}.", "Give --run a new folder, or an empty one."
        )


def _refuse_ignored(config: Config, assignments: Iterable[str], overrides: Mapping[str, Any]) -> None:
    """Stop where a value that was just given would decide nothing, because a teacher is adopted, or because none is."""
    given = {key.strip(): value for key, _, value in (text.partition("=") for text in assignments)}
    given |= {key: value for key, value in overrides.items() if value is not None}
    adopted = config.teacher.checkpoint
    for key, value in given.items():
        section, _, leaf = key.partition(".")
        if section != "teacher" or not getattr(config.teacher, leaf.split(".")[0]):  # not a teacher's, or taken back
            continue
        twin = given.get(f"student.{leaf}")
        if twin is not None and (twin == value or leaf != "model"):  # given for both models
            continue
        if adopted and not key.startswith(_USED_OF_ADOPTED):
            raise ConfigError(
                f"{key} would be ignored: the run adopts the teacher {adopted.name} and trains none.",
                "Leave it out, or take the adopted teacher back: -S teacher.checkpoint=null",
            )
        if not adopted and key.startswith(_ONLY_OF_ADOPTED):
            raise ConfigError(
                f"{key} would be ignored: the run trains its own teacher, on the data set's classes and images.",
                "Leave it out, or adopt a teacher: --teacher FILE",
            )


def _refuse_nesting(config: Config, source: Path, run: RunDir) -> None:
    """Stop before anything is written into the data set, or could be moved aside with the run."""
    from kdyolo.datasets.formats.detect import locate

    folders = [source]
    with contextlib.suppress(KdyoloError):  # what is wrong with the data set is the split's to say
        root, described = locate(source, config.data)
        folders = [root, *(place for places in (described.splits if described else {}).values() for place in places)]
    if config.pseudo.images is not None:
        folders.append(config.pseudo.images)
    place = run.root.resolve()
    for folder in folders:
        if folder.is_dir() and place.is_relative_to(folder):
            raise ConfigError(
                f"The run {run.root} would lie inside the data set's folder {folder}, which kdyolo never writes to.",
                "Give --run a folder outside of it.",
            )
        if folder.is_relative_to(place):
            raise ConfigError(
                f"The data set's {folder} lies inside the run {run.root}, whose files kdyolo moves.",
                "Give --run a folder of its own.",
            )
