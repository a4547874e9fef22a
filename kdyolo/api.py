"""The Python API: one function per command, with the same meaning and the same errors (`kdyolo.errors`)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kdyolo.errors import RunExistsError, StageError
from kdyolo.pipeline import chain, execute, resolve
from kdyolo.progress import Progress, Silent
from kdyolo.storage import RunDir, StageRecord, free_name, write_text

DEMO_PRESET = Path(__file__).with_name("presets") / "demo.yaml"


def run(
    source: str | Path | None = None,
    run: str | Path = "runs/run",
    *,
    config: Path | None = None,
    settings: Mapping[str, Any] | None = None,
    resume: bool = False,
    force: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Run the whole chain; what is finished and unchanged is skipped.

    Args:
        source: Data set: a folder or a data.yaml. None: that of the existing run.
        run: Run directory. An existing run keeps its settings where the arguments say nothing else.
        config: YAML file of settings.
        settings: Dotted key -> value, for example ``{"student.epochs": 50}``; wins over `config`.
        resume: Redo finished stages whose settings, data or packages changed.
        force: Move an old run aside and start anew.
        progress: Whom to tell; nobody by default.

    Returns:
        What ``report/summary.json`` says.

    Raises:
        KdyoloError: See `kdyolo.errors`.
    """
    return _chain(source, run, config, settings, resume, force, progress)


def split(
    source: str | Path | None = None,
    run: str | Path = "runs/run",
    *,
    config: Path | None = None,
    settings: Mapping[str, Any] | None = None,
    resume: bool = False,
    force: bool = False,
    progress: Progress | None = None,
) -> StageRecord:
    """Check a data set and divide it into train, val and test. Arguments and errors as for `run`."""
    values = {**(settings or {}), **_source(source)}
    return _stage("split", run, config, values, resume, force, progress)


def train_teacher(
    run: str | Path,
    *,
    config: Path | None = None,
    settings: Mapping[str, Any] | None = None,
    resume: bool = False,
    force: bool = False,
    progress: Progress | None = None,
) -> StageRecord:
    """Train the large model, or adopt ``teacher.checkpoint``. Arguments and errors as for `run`."""
    return _stage("teacher", run, config, settings, resume, force, progress)


def pseudo_label(
    run: str | Path,
    *,
    config: Path | None = None,
    settings: Mapping[str, Any] | None = None,
    resume: bool = False,
    force: bool = False,
    progress: Progress | None = None,
) -> StageRecord:
    """Let the teacher label the training images. With `force` even a weak one does. Else as for `run`."""
    return _stage("pseudo", run, config, settings, resume, force, progress)


def train_student(
    run: str | Path,
    *,
    baseline: bool = False,
    config: Path | None = None,
    settings: Mapping[str, Any] | None = None,
    resume: bool = False,
    force: bool = False,
    progress: Progress | None = None,
) -> StageRecord:
    """Train the small model, or with `baseline` its control, which never meets the teacher. Else as for `run`."""
    return _stage("baseline" if baseline else "student", run, config, settings, resume, force, progress)


def compare(
    run: str | Path,
    *,
    config: Path | None = None,
    settings: Mapping[str, Any] | None = None,
    resume: bool = False,
    force: bool = False,
    progress: Progress | None = None,
) -> StageRecord:
    """Measure all models on the test split and build the report. Arguments and errors as for `run`."""
    return _stage("compare", run, config, settings, resume, force, progress)


def demo(
    run: str | Path = "runs/demo",
    *,
    config: Path | None = None,
    settings: Mapping[str, Any] | None = None,
    resume: bool = False,
    force: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Draw the demo data set beside the run and run the chain on it. Arguments and errors as for `run`."""
    return _chain(demo_data(RunDir(run)), run, config, settings, resume, force, progress, DEMO_PRESET)


def status(run: str | Path) -> dict[str, Any]:
    """How far a run is: what its stages found, who is working on it, its report and the next command.

    Raises:
        ConfigError: There is no run.
    """
    from kdyolo.pipeline.status import describe

    return describe(RunDir(run), chain())


def doctor() -> dict[str, Any]:
    """Facts about the installation and the machine; what is broken is listed under ``faults``."""
    from kdyolo.health import examine

    return examine()


def init(file: str | Path = "kdyolo.yaml", *, force: bool = False, progress: Progress | None = None) -> Path:
    """Write a settings file with every setting, its default and its meaning; returns its path.

    Args:
        file: The file.
        force: Move an existing one aside.
        progress: Whom to tell; nobody by default.

    Raises:
        RunExistsError: The file exists.
        EnvironmentFault: It cannot be written.
    """
    from kdyolo.template import settings_template

    path = Path(file)
    if path.exists():
        if not force:
            raise RunExistsError(f"{path} exists.", "--force moves it aside; or give another name.")
        aside = free_name(path)
        path.rename(aside)
        (progress or Silent()).note(f"The old file is now {aside}.")
    write_text(path, settings_template())
    return path


def demo_folder(run: RunDir) -> Path:
    """Where the demo data set of a run is, or will be."""
    return run.root.with_name(f"{run.root.name}-data")


def demo_data(run: RunDir) -> Path:
    """The demo data set of a run, drawn if it is not there yet. Errors as `kdyolo.datasets.demo_set.ensure`."""
    from kdyolo.datasets.demo_set import ensure

    return ensure(demo_folder(run))


def read_summary(run: RunDir) -> dict[str, Any]:
    """What ``report/summary.json`` says.

    Raises:
        StageError: There is no report, or it cannot be read.
    """
    try:
        data = json.loads((run.root / "report" / "summary.json").read_bytes())
    except (OSError, ValueError) as error:
        raise StageError(f"{run.root} has no readable report.", "`kdyolo compare` builds it anew.") from error
    if not isinstance(data, dict):
        raise StageError(f"The report of {run.root} is not one of ours.", "`kdyolo compare` builds it anew.")
    return data


def _source(source: str | Path | None) -> dict[str, Any]:
    return {} if source is None else {"data.source": Path(source)}


def _chain(
    source: str | Path | None,
    run: str | Path,
    config: Path | None,
    settings: Mapping[str, Any] | None,
    resume: bool,
    force: bool,
    progress: Progress | None,
    preset: Path | None = None,
) -> dict[str, Any]:
    folder = RunDir(run)
    values = {**(settings or {}), **_source(source)}
    resolved = resolve(folder, file=config, overrides=values, fresh=force and source is not None, preset=preset)
    execute(folder, resolved, chain(), progress, resume=resume, force=force)
    return read_summary(folder)


def _stage(
    name: str,
    run: str | Path,
    config: Path | None,
    settings: Mapping[str, Any] | None,
    resume: bool,
    force: bool,
    progress: Progress | None,
) -> StageRecord:
    folder = RunDir(run)
    resolved = resolve(folder, file=config, overrides=settings)
    execute(folder, resolved, chain(), progress, only=name, resume=resume, force=force)
    return folder.require(name)
