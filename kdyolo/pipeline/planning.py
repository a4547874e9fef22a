"""Looks at a run directory and says what each stage has to do. Writes nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from kdyolo.config import Config
from kdyolo.errors import ConfigError, RunExistsError
from kdyolo.pipeline.keys import differences, identify
from kdyolo.pipeline.order import ancestors
from kdyolo.stages.base import Stage
from kdyolo.storage import RunDir, StageRecord

Action = Literal["run", "resume", "skip", "redo"]
Fingerprints = Mapping[str, Mapping[str, str]]


@dataclass(frozen=True)
class Step:
    """What is to be done about one stage.

    Attributes:
        stage: Its name.
        action: ``run`` in a new folder, ``resume`` in the folder as it was left, ``skip``, or ``redo``: move the old
            folder aside, then run.
        reason: Why, in a few words.
        seconds: What it took last time; None if it never finished.
        changes: What no longer is as it was when the stage finished; such work is redone only if the user says so.
    """

    stage: str
    action: Action
    reason: str
    seconds: float | None = None
    changes: tuple[str, ...] = ()


def fingerprints(config: Config, stages: Sequence[Stage], only: str | None = None) -> Fingerprints:
    """Stage -> its fingerprints of outside files. Looks at those files, so it also finds early what is missing."""
    return {stage.name: stage.inputs(config) for stage in _concerned(stages, only)}


def _concerned(stages: Sequence[Stage], only: str | None) -> Sequence[Stage]:
    """All stages, or one and those it builds on."""
    return stages if only is None else (*ancestors(stages, only), *(s for s in stages if s.name == only))


def plan(
    run: RunDir,
    config: Config,
    stages: Sequence[Stage],
    *,
    only: str | None = None,
    force: bool = False,
    prints: Fingerprints | None = None,
) -> list[Step]:
    """One step for each stage, in order.

    Args:
        run: The run directory; need not exist.
        config: Resolved settings.
        stages: The whole chain.
        only: Plan this stage alone; those it needs must be finished and unchanged.
        force: Everything planned is done anew.
        prints: What `fingerprints` said, where it is known already.

    Raises:
        ConfigError: `only` needs a stage that is not finished.
        RunExistsError: `only` needs a stage whose settings or data were changed since.
    """
    chosen = _concerned(stages, only)
    prints = fingerprints(config, stages, only) if prints is None else prints
    steps: list[Step] = []
    pending: set[str] = set()
    for stage in chosen:
        forced = force and only in (None, stage.name)
        step = _fresh(run, stage, only) if forced else decide(run, config, stage, prints[stage.name], pending)
        if step.action != "skip":
            pending.add(stage.name)
        steps.append(step)
    if only is None:
        return steps
    _check_needs(run, steps[:-1], {stage.name: stage.command for stage in chosen}, only)
    return steps[-1:]


def decide(
    run: RunDir, config: Config, stage: Stage, prints: Mapping[str, str], pending: Sequence[str] | set[str] = ()
) -> Step:
    """What to do about one stage, given that the stages in `pending` will run before it."""
    record = run.record(stage.name)
    if record is None:
        folder = run.stage(stage.name)
        if folder.is_dir() and any(folder.iterdir()):
            return Step(stage.name, "redo", "its stage.json is missing or cannot be read")
        return Step(stage.name, "run", "not done yet")
    waiting = frozenset(stage.needs) & frozenset(pending)
    changes = differences(record, identify(run, config, stage, prints), waiting)
    if record.status == "done":
        return _judge_done(run, record, changes, sorted(waiting))
    if changes:
        return Step(stage.name, "redo", f"was not finished, and {_listed(changes)}")
    if waiting:
        return Step(stage.name, "run", f"follows '{min(waiting)}'")
    left = (
        "was stopped"
        if record.status == "running"
        else {"failed": "failed", "interrupted": "was interrupted"}[record.status]
    )
    return Step(stage.name, "resume", f"{left} before it was done")


def _judge_done(run: RunDir, record: StageRecord, changes: list[str], waiting: list[str]) -> Step:
    if changes:
        return Step(record.stage, "redo", _listed(changes), record.seconds, tuple(changes))
    if waiting:
        return Step(record.stage, "redo", f"follows '{waiting[0]}'", record.seconds)
    if damaged := run.damaged_outputs(record):
        more = f" and {len(damaged) - 1} more" if len(damaged) > 1 else ""
        return Step(record.stage, "redo", f"{damaged[0]}{more} missing or changed by hand", record.seconds)
    return Step(record.stage, "skip", "done, unchanged", record.seconds)


def _listed(changes: Sequence[str], most: int = 5) -> str:
    more = [f"and {len(changes) - most} more"] if len(changes) > most else []
    return ", ".join([*changes[:most], *more])


def _fresh(run: RunDir, stage: Stage, only: str | None) -> Step:
    record = run.record(stage.name)
    seconds = record.seconds if record and record.status == "done" else None
    exists = run.stage(stage.name).exists()
    if only is None:
        return Step(stage.name, "run", "the old run is moved aside" if exists else "not done yet", seconds)
    return Step(stage.name, "redo" if exists else "run", "--force" if exists else "not done yet", seconds)


def _check_needs(run: RunDir, steps: Sequence[Step], commands: Mapping[str, str], only: str) -> None:
    for step in steps:
        if step.action in ("run", "resume"):
            raise ConfigError(
                f"'{only}' needs the stage '{step.stage}', which is not finished in {run.root}.",
                f"`kdyolo {commands[step.stage]} --run {run.shown}` first, or `kdyolo run --run {run.shown}`.",
            )
        if step.action == "redo":
            raise RunExistsError(
                f"'{only}' needs the stage '{step.stage}', which must be done again: {step.reason}.",
                f"`kdyolo run --run {run.shown} --resume` redoes it and what depends on it.",
            )


def refuse_changes(run: RunDir, steps: Sequence[Step]) -> None:
    """Stop where finished work would be redone without the user having said so.

    Raises:
        RunExistsError: Lists what changed.
    """
    changed = [step for step in steps if step.changes]
    if not changed:
        return
    listing = "; ".join(f"{step.stage}: {_listed(step.changes)}" for step in changed)
    raise RunExistsError(
        f"{run.root} holds finished work done otherwise ({listing}).",
        "--resume redoes what changed and what depends on it (the old stages go to old/); "
        "--force moves the old work aside and starts anew; or give another --run folder.",
    )
