"""What a chain is doing at this moment, from the files of its run alone; looks only, takes no lock, hashes nothing."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kdyolo.config import Config, load_config
from kdyolo.pipeline.assistant import making
from kdyolo.pipeline.epochs import batch_of, modified, read_epochs, trainings
from kdyolo.pipeline.frame import Frame, RunState, Stage, StageState, Training
from kdyolo.pipeline.order import chain
from kdyolo.storage import RunDir, StageRecord

_TRAINED = ("teacher", "longer", "baseline", "student")
"""Stages that train; of those that are done, the last of these is shown."""
_ALIKE = {"baseline": "student", "student": "baseline"}
"""Stages that train the same model on as many images; what one took, the other will take."""


@dataclass(frozen=True)
class _Chain:
    """One chain of a run: that of a label budget, that of an assistant, or the only one."""

    prefix: str
    run: RunDir
    config: Config
    names: tuple[str, ...]
    records: dict[str, StageRecord]


def look(run: RunDir, now: float | None = None) -> Frame:
    """See what a run is doing.

    Args:
        run: Its directory; need not exist.
        now: Seconds since 1970; None: this moment.

    Raises:
        ConfigError: Its settings cannot be read.
    """
    if not run.config.is_file():
        return Frame(run.root, "missing")
    now = time.time() if now is None else now
    chains = _chains(run, load_config(run.config), "")
    holder = run.holder() or next((held for one in chains if (held := one.run.holder())), None)
    stages = [stage for one in chains for stage in _stages(one, chains, in_use=holder is not None, now=now)]
    report = run.root / "report" / "report.html"
    state = _state(stages, holder, report)
    todo = [stage for stage in stages if stage.state != "done"]
    known = [stage.left for stage in todo if stage.left is not None]
    return Frame(
        run=run.root,
        state=state,
        stages=tuple(stages),
        training=_training(chains, stages, now),
        holder=holder,
        silent=_silence(run, chains, now),
        left=sum(known) if known else None,
        unknown=tuple(stage.name for stage in todo if stage.left is None),
        verdict=_verdict(run) if state == "finished" else "",
        report=report if report.is_file() else None,
        next=None if state in ("running", "finished") else f"kdyolo run --run {run.shown}",
    )


def _chains(run: RunDir, config: Config, prefix: str) -> list[_Chain]:
    if shares := sorted(set(config.label_budgets)):
        parts = []
        for share in shares:
            child = RunDir(run.budgets / f"{share:g}")
            settings = load_config(child.config) if child.config.is_file() else config
            own = settings.model_copy(update={"label_budgets": ()})
            parts += _chains(child, own, f"{prefix}{share:g}/")
        return parts
    stages = chain(config)
    whole = _chain(run, config, stages, prefix)
    if config.distill.assistant is None:
        return [whole]
    helper, first, few = making(run, config, stages)
    return [_chain(helper, first, few, f"{prefix}{helper.root.name}/"), whole]


def _chain(run: RunDir, config: Config, stages: Iterable[Any], prefix: str) -> _Chain:
    names = tuple(stage.name for stage in stages)
    records = {name: record for name in names if (record := run.record(name)) is not None}
    return _Chain(prefix, run, config, names, records)


def _stages(one: _Chain, chains: Sequence[_Chain], *, in_use: bool, now: float) -> list[Stage]:
    found = []
    for name in one.names:
        record = one.records.get(name)
        state = _stage_state(record, in_use)
        seconds = None if record is None else record.seconds
        if record is not None and state == "running":
            seconds = record.seconds + max(now - (modified(one.run.stage(name) / "stage.json") or now), 0.0)
        left = 0.0 if state == "done" else _left(one, name, chains, now, in_use=in_use)
        error = record.error if record is not None and state != "done" else ""
        found.append(Stage(one.prefix + name, state, seconds, left, error))
    return found


def _stage_state(record: StageRecord | None, in_use: bool) -> StageState:
    if record is None:
        return "waiting"
    if (record.status == "running" and not in_use) or record.status == "interrupted":
        return "stopped"
    return record.status


def _left(one: _Chain, name: str, chains: Sequence[_Chain], now: float, *, in_use: bool) -> float | None:
    """Seconds a training will still take: from its own epochs, else from those of a stage like it."""
    if name not in _TRAINED:
        return None
    begun = trainings(one.run.stage(name)) if name in one.records else []
    if begun and begun[-1].pace is not None and begun[-1].planned is not None:
        one_of_them = begun[-1].planned * begun[-1].pace
        # What nobody works on gets no nearer to its end.
        left = begun[-1].left(now if in_use else begun[-1].changed or now)
        return (left or 0.0) + max(_trainings_of(one.config, name) - len(begun), 0) * one_of_them
    if name not in _ALIKE or one.config.distill.scheme not in ("labels", "cached"):
        return None
    for other, like in [(one, _ALIKE[name]), *((c, n) for c in chains for n in (name, _ALIKE[name]) if c is not one)]:
        if other.config.student == one.config.student and (total := _total(other, like, now)) is not None:
            return total
    return None


def _total(one: _Chain, name: str, now: float) -> float | None:
    """What a stage took, or will have taken at its pace; None where nobody can know."""
    record = one.records.get(name)
    if record is None:
        return None
    if record.status == "done":
        return record.seconds
    last = next(iter(trainings(one.run.stage(name))[-1:]), None)
    if last is None or last.pace is None or last.planned is None:
        return None
    return last.planned * last.pace * _trainings_of(one.config, name)


def _trainings_of(config: Config, name: str) -> int:
    """How many trainings a stage is made of."""
    if name == "teacher":
        return 1
    scheme = config.distill
    again = (
        scheme.generations
        if name == "student" and (scheme.scheme, scheme.self_teacher) == ("self", "born-again")
        else 0
    )
    return (1 + len(config.more_seeds)) * (1 + again)


def _training(chains: Sequence[_Chain], stages: Sequence[Stage], now: float) -> Training | None:
    """The last one of the stage that is at work if there is one, else the last of the run."""
    busy = {stage.name for stage in stages if stage.state in ("running", "stopped", "failed")}
    found = [
        ((one.prefix + name in busy, place, rank, epochs.begun), one, name, epochs)
        for place, one in enumerate(chains)
        for rank, name in enumerate(_TRAINED)
        if name in one.records
        for epochs in trainings(one.run.stage(name))
    ]
    if not found:
        return None
    _, one, name, epochs = max(found, key=lambda entry: entry[0])
    part = epochs.folder.relative_to(one.run.stage(name)).as_posix()
    part = "" if part == "." else part
    running = any(stage.name == one.prefix + name and stage.state == "running" for stage in stages)
    control = read_epochs(one.run.stage("baseline") / part) if name == "student" else None
    return Training(
        stage=one.prefix + name,
        part=part,
        epochs=epochs,
        control=control if control is not None and control.rows else None,
        batch=batch_of(one.run.log, epochs) if running else None,
        left=epochs.left(now) if running else None,
    )


def _state(stages: Sequence[Stage], holder: dict[str, Any] | None, report: Path) -> RunState:
    if holder is not None:
        return "running"
    if all(stage.state == "done" for stage in stages) and report.is_file():
        return "finished"
    return "failed" if any(stage.state == "failed" for stage in stages) else "stopped"


def _silence(run: RunDir, chains: Sequence[_Chain], now: float) -> float | None:
    files = [run.root / "lock.json", run.log, run.config]
    for one in chains:
        files += [one.run.log, *(one.run.stage(name) / "stage.json" for name in one.records)]
        files += [one.run.stage(name) / "results.csv" for name in _TRAINED if name in one.records]
    times = [time for file in files if (time := modified(file)) is not None]
    return max(now - max(times), 0.0) if times else None


def _verdict(run: RunDir) -> str:
    try:
        data = json.loads((run.root / "report" / "summary.json").read_bytes())
    except (OSError, ValueError):
        return ""
    return str(data.get("verdict", "")) if isinstance(data, dict) else ""
