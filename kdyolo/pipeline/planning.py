"""Looks at a run directory and says what each stage has to do. Writes nothing."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from kdyolo.config import Config, load_config
from kdyolo.errors import ConfigError, DatasetError, KdyoloError, RunExistsError
from kdyolo.pipeline.keys import differences, identify, recorded_fingerprints
from kdyolo.pipeline.order import ancestors
from kdyolo.stages.base import Stage
from kdyolo.storage import RunDir, StageRecord

Action = Literal["run", "resume", "skip", "redo"]


@dataclass(frozen=True)
class Outside:
    """What a stage depends on outside of the run.

    Attributes:
        prints: Name -> fingerprint.
        gone: Why they could not be looked at any more; `prints` then are those of the record.
    """

    prints: Mapping[str, str]
    gone: KdyoloError | None = None


Fingerprints = Mapping[str, Outside]


@dataclass(frozen=True)
class Step:
    """What is to be done about one stage.

    Attributes:
        stage: Its name.
        action: ``run`` in a new folder, ``resume`` in the folder as it was left, ``skip``, or ``redo``: move the old
            folder aside, then run.
        reason: Why, in a few words.
        seconds: What it took last time; None if it never finished.
        changes: What no longer is as it was when the stage finished, or trained its first epoch; such work is redone
            only if the user says so.
    """

    stage: str
    action: Action
    reason: str
    seconds: float | None = None
    changes: tuple[str, ...] = ()


def fingerprints(
    run: RunDir, config: Config, stages: Sequence[Stage], only: str | None = None, force: bool = False
) -> Fingerprints:
    """Stage -> its fingerprints of outside files. Looks at those files, so it also finds early what is missing.

    A finished stage does without them, as long as nobody names other files: then its record stands in.

    Raises:
        KdyoloError: What an unfinished stage needs is missing.
    """
    fresh = force and only is None
    return {stage.name: _look(run, config, stage, fresh) for stage in _concerned(stages, only)}


def _look(run: RunDir, config: Config, stage: Stage, fresh: bool) -> Outside:
    try:
        return Outside(stage.inputs(config))
    except (ConfigError, DatasetError) as error:
        record = None if fresh else run.record(stage.name)
        if record is None or record.status != "done" or not _known_to_lack(run, stage, error):
            raise
        return Outside(recorded_fingerprints(record), error)


def _known_to_lack(run: RunDir, stage: Stage, error: KdyoloError) -> bool:
    """Whether the run's own settings lead to the same gap; else somebody has just named a file that is not there."""
    if not run.config.is_file():
        return False
    try:
        stage.inputs(load_config(run.config))
    except KdyoloError as known:
        return known.message == error.message
    return False


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
        ConfigError: `only` needs a stage that is not finished, or what a stage to be done needs is gone.
        KdyoloError: What a stage to be done would fail of, as far as can be known now: see `Stage.check`.
        RunExistsError: `only` needs a stage whose settings or data were changed since.
    """
    chosen = _concerned(stages, only)
    prints = fingerprints(run, config, stages, only, force) if prints is None else prints
    steps: list[Step] = []
    pending: set[str] = set()
    for stage in chosen:
        forced = force and only in (None, stage.name)
        outside = prints[stage.name]
        step = _fresh(run, stage, only) if forced else decide(run, config, stage, outside.prints, pending)
        if step.action != "skip":
            if outside.gone:
                raise outside.gone
            stage.check(Ahead(run, pending), config)
            pending.add(stage.name)
        elif outside.gone:
            step = replace(step, reason=f"done, does without what is gone: {outside.gone.message}")
        steps.append(step)
    if only is None:
        return steps
    _check_needs(run, steps[:-1], {stage.name: stage.command for stage in chosen}, only)
    return steps[-1:]


class Ahead(RunDir):
    """A run as a stage will find it whose turn is yet to come.

    Args:
        run: The run as it is.
        pending: Stages that will work before; what their records say now will not hold then.
    """

    def __init__(self, run: RunDir, pending: Collection[str]) -> None:
        super().__init__(run.root)
        self._pending = frozenset(pending)

    def record(self, stage: str) -> StageRecord | None:
        """As of `RunDir`; None of a pending stage."""
        return None if stage in self._pending else super().record(stage)


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
        # An hour of training is not for us to discard, only because it was not the last one.
        at_stake = tuple(changes) if any(run.stage(stage.name).glob("**/weights/last.pt")) else ()
        return Step(stage.name, "redo", f"was not finished, and {_listed(changes)}", None, at_stake)
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
            own, whole = (f"`kdyolo {command} --run {run.shown}`" for command in (commands[step.stage], "run"))
            raise ConfigError(
                f"'{only}' needs the stage '{step.stage}', which is not finished in {run.root}.",
                f"{own} first." if commands[step.stage].startswith("run ") else f"{own} first, or {whole}.",
            )
        if step.action == "redo":
            raise RunExistsError(
                f"'{only}' needs the stage '{step.stage}', which must be done again: {step.reason}.",
                f"`kdyolo run --run {run.shown} --resume` redoes it and what depends on it.",
            )


def refuse_changes(run: RunDir, steps: Sequence[Step]) -> None:
    """Stop where finished or half-trained work would be redone without the user having said so.

    Raises:
        RunExistsError: Lists what changed.
    """
    changed = [step for step in steps if step.changes]
    if not changed:
        return
    listing = "; ".join(f"{step.stage}: {_listed(step.changes)}" for step in changed)
    raise RunExistsError(
        f"{run.root} holds work that was done otherwise ({listing}).",
        "--resume redoes what changed and what depends on it (the old stages go to old/); "
        "--force moves the old work aside and starts anew; or give another --run folder.",
    )
