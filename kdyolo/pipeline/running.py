"""Runs stages: holds the lock, decides at each one, writes records so that any moment may be the last."""

from __future__ import annotations

import contextlib
import datetime
import errno
import json
import os
import shlex
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kdyolo.config import Config, changed_keys, load_config
from kdyolo.errors import ConfigError, DatasetError, Interrupted, KdyoloError, StageError, UntrustedFileError
from kdyolo.pipeline.keys import identify
from kdyolo.pipeline.manifest import report_is_current, write_manifest
from kdyolo.pipeline.planning import Ahead, Fingerprints, Step, decide, fingerprints, plan, refuse_changes
from kdyolo.progress import Progress, Silent
from kdyolo.stages.base import Stage, StageContext
from kdyolo.storage import RunDir, StageRecord, free_name, storage_fault, write_text
from kdyolo.yamlio import dump_yaml

_NO_ROOM = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.EROFS)
_FORBIDDEN = (errno.EACCES, errno.EPERM)


@dataclass
class Outcome:
    """What `run_chain` did.

    Attributes:
        ran: Stages that ran, in order.
        skipped: Stages that were done already.
        report: Whether the report was built anew.
    """

    ran: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    report: bool = False


def run_chain(
    run: RunDir,
    config: Config,
    stages: Sequence[Stage],
    progress: Progress | None = None,
    *,
    only: str | None = None,
    resume: bool = False,
    force: bool = False,
    asked: Config | None = None,
) -> Outcome:
    """Bring a run up to date; where nothing is to do, nothing is touched.

    Args:
        run: The run directory.
        config: Resolved settings.
        stages: The whole chain.
        progress: Whom to tell.
        only: Run this stage alone.
        resume: Redo finished stages whose settings, data or packages changed.
        force: Move the old run aside (with `only`: that stage) and start anew.
        asked: The settings as the user gave them, which the run keeps, where `config` was made of them.

    Raises:
        RunExistsError: Another process holds the run, or finished work would have to be redone.
        Interrupted: The user stopped it; the hint is the command that goes on.
        StageError: A stage failed in a way it did not foresee; the log has the traceback.
        KdyoloError: What a stage foresaw.
    """
    prints = fingerprints(run, config, stages, only, force)
    work = _Work(run, config, asked or config, tuple(stages), progress or Silent(), only, force, prints)
    if not force and _all_recorded(run, stages, only) and work.nothing_to_do():
        for outside in prints.values():
            if outside.gone:
                work.progress.note(f"{outside.gone.message} What is finished does without it.")
        what = f"'{only}' of {run.root}" if only else str(run.root)
        work.progress.note(f"Nothing to do: {what} is finished and unchanged.")
        return Outcome(skipped=[stage.name for stage in stages if only in (None, stage.name)])
    if (force and only is None) or not run.root.exists():
        work.plan()  # finds what would fail before anything is moved or made
    if force and only is None:
        set_run_aside(run, work.progress)
    with run.locked(work.progress.warn):
        _remove_strays(run)
        try:
            return work.go(resume=resume)
        except KeyboardInterrupt as error:  # between two stages
            raise Interrupted("Stopped; finished work is kept.", work.go_on()) from error


@dataclass
class _Work:
    run: RunDir
    config: Config
    asked: Config
    stages: tuple[Stage, ...]
    progress: Progress
    only: str | None
    force: bool
    prints: Fingerprints

    def plan(self) -> list[Step]:
        return plan(self.run, self.config, self.stages, only=self.only, force=self.force, prints=self.prints)

    def nothing_to_do(self) -> bool:
        return all(step.action == "skip" for step in self.plan()) and not self.report_is_due()

    def report_is_due(self) -> bool:
        last = "compare"
        finished = self.only in (None, last) and self.run.finished(last) is not None
        return finished and not report_is_current(self.run, self.stages, self.config.report.lang)

    def go(self, *, resume: bool) -> Outcome:
        steps = self.plan()
        if not (resume or self.force):
            refuse_changes(self.run, steps)
        before = load_config(self.run.config) if self.run.config.is_file() else Config()
        self.write_settings()
        outcome = Outcome()
        by_name = {stage.name: stage for stage in self.stages}
        for number, planned in enumerate(steps, 1):
            stage = by_name[planned.stage]
            step = planned
            if planned.action != "skip" and not self.force:  # what it follows may have come out as it was
                step = decide(self.run, self.config, stage, self.prints[stage.name].prints)
            place = f"[{number}/{len(steps)}] {stage.name}"
            if step.action == "skip":
                self.progress.note(f"{place}: {step.reason}")
                outcome.skipped.append(stage.name)
                continue
            self.progress.note(place if step.action == "run" else f"{place}: {step.action}, {step.reason}")
            self.check(before, [by_name[left.stage] for left in steps[number - 1 :] if left.action != "skip"])
            with self.taken_back(before, stage):
                self.perform(stage, step)
            outcome.ran.append(stage.name)
        if self.report_is_due():
            self.build_report()
            outcome.report = True
        return outcome

    def write_settings(self) -> None:
        write_settings(self.run, self.asked)
        write_manifest(self.run, self.config, self.stages)

    def check(self, before: Config, stages: Sequence[Stage]) -> None:
        """Check all that is left to do: what was done since the plan may tell more than it could know."""
        for number, stage in enumerate(stages):
            with self.taken_back(before, stage):
                stage.check(Ahead(self.run, [earlier.name for earlier in stages[:number]]), self.config)

    @contextlib.contextmanager
    def taken_back(self, before: Config, stage: Stage) -> Iterator[None]:
        """Let what a stage refuses come with the words that take back what was just set for it."""
        try:
            yield
        except (ConfigError, DatasetError, UntrustedFileError) as error:
            error.hint += _how_to_take_back(before, self.asked, stage)
            raise

    def perform(self, stage: Stage, step: Step) -> None:
        """Run one stage; its record says `running` before the first byte and `done` after the last."""
        if step.action == "redo" and (old := self.run.move_aside(stage.name)):
            self.progress.note(f"The old {stage.name}/ is now {old.relative_to(self.run.root)}/.")
        earlier = self.run.record(stage.name)
        identity = identify(self.run, self.config, stage, self.prints[stage.name].prints)
        record = StageRecord(
            stage=stage.name,
            status="running",
            key=identity.key,
            sequence=self.next_sequence(),
            settings=identity.settings,
            inputs=identity.inputs,
            versions=identity.versions,
            seconds=earlier.seconds if earlier else 0.0,
        )
        self.run.write_record(record)
        started = time.monotonic()
        try:
            with self.translated(stage.name):
                self.work(stage, record)
        except BaseException as error:
            record.status = (
                "failed" if isinstance(error, Exception) and not isinstance(error, Interrupted) else "interrupted"
            )
            record.error = error.message if isinstance(error, KdyoloError) else repr(error)
            raise
        finally:
            record.ended = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
            record.seconds = round(record.seconds + time.monotonic() - started, 3)
            # On a full disk not even this fits; the record then still says `running`, which resumes as well.
            with contextlib.nullcontext() if record.status == "done" else contextlib.suppress(KdyoloError):
                self.run.write_record(record)
                write_manifest(self.run, self.config, self.stages)

    def work(self, stage: Stage, record: StageRecord) -> None:
        # `kdyolo run --force` asks for a new run, not for going on with a teacher that is too weak to label.
        force = self.force and self.only is not None
        result = stage.work(StageContext(self.run, self.config, self.progress, force))
        self.progress.finish()
        record.outputs = self.run.hash_outputs(result.outputs)
        record.facts = json.loads(json.dumps(result.facts, allow_nan=False, default=str))  # a NaN is a bug to name here
        record.status = "done"
        if result.summary:
            self.progress.note(result.summary)

    def build_report(self) -> None:
        from kdyolo.report.build import build

        with self.translated("report"):
            files = build(self.run, self.config.report.lang)
            write_manifest(self.run, self.config, self.stages, report=files)

    def next_sequence(self) -> int:
        root = self.run.root
        folders = [
            file.parent.relative_to(root).as_posix()
            for file in [*root.glob("*/stage.json"), *root.glob("old/*/stage.json")]
        ]
        return max((record.sequence for name in folders if (record := self.run.record(name))), default=0) + 1

    @contextlib.contextmanager
    def translated(self, name: str) -> Iterator[None]:
        """Turn whatever goes wrong into the error tree."""
        try:
            yield
        except Interrupted as error:
            raise Interrupted(error.message, error.hint or self.go_on()) from error
        except KdyoloError:
            raise
        except KeyboardInterrupt as error:
            raise Interrupted(f"Stopped during '{name}'; finished work is kept.", self.go_on()) from error
        except Exception as error:
            if fault := _storage_error(error, self.run.root):
                raise storage_fault(fault, Path(os.fsdecode(fault.filename or self.run.stage(name)))) from error
            self.log_traceback()
            raise StageError(
                f"The stage '{name}' failed: {type(error).__name__}: {error}",
                f"The traceback is at the end of {self.run.log}; KDYOLO_DEBUG=1 shows it here.",
            ) from error
        finally:
            self.progress.finish()

    def go_on(self) -> str:
        stage = next((s for s in self.stages if s.name == self.only), None)
        return f"To go on: `kdyolo {stage.command if stage else 'run'} --run {self.run.shown}`"

    def log_traceback(self) -> None:
        with contextlib.suppress(OSError):
            self.run.log.parent.mkdir(parents=True, exist_ok=True)
            with self.run.log.open("a", encoding="utf-8", errors="backslashreplace") as file:
                file.write(traceback.format_exc())


def write_settings(run: RunDir, config: Config) -> None:
    """Keep the settings in the run directory; where they are those already, nothing is touched."""
    text = dump_yaml(config.model_dump(mode="json"))
    if not run.config.is_file() or run.config.read_text(encoding="utf-8") != text:
        write_text(run.config, text)


def _how_to_take_back(before: Config, now: Config, stage: Stage) -> str:
    """What undoes the settings this command gave to the stage that failed: the run keeps them until then."""
    changed = {key: old for key, old in changed_keys(before, now).items() if key.partition(".")[0] in stage.sections}
    changed.pop("data.source", None)
    if not changed:
        return ""
    undo = " ".join(f"-S {shlex.quote(f'{key}={json.dumps(old)}')}" for key, old in changed.items())
    return f" The run keeps what this command set; to take it back: {undo}"


def _all_recorded(run: RunDir, stages: Sequence[Stage], only: str | None) -> bool:
    """Whether a look without the lock is worth its hashing."""
    return all(run.finished(stage.name) for stage in stages if only in (None, stage.name))


def set_run_aside(run: RunDir, progress: Progress) -> None:
    """Rename a whole run, where there is one, to a free name beside it.

    Raises:
        RunExistsError: Another process holds it.
        EnvironmentFault: It cannot be renamed.
    """
    if not run.root.exists():
        return
    with run.locked(progress.warn):  # nobody else may be writing in it
        target = free_name(run.root)
        try:
            os.replace(run.root, target)
        except OSError as error:
            raise storage_fault(error, run.root) from error
    (target / "lock.json").unlink(missing_ok=True)
    progress.note(f"The old run is now {target}.")


def _remove_strays(run: RunDir) -> None:
    """Delete half-written files of processes that died; nobody else writes here while the lock is held."""
    for path in run.root.rglob(".*.tmp"):
        if path.is_file():
            with contextlib.suppress(OSError):
                path.unlink()


def _storage_error(error: BaseException | None, root: Path) -> OSError | None:
    """The full disk or forbidden folder behind an error, however a library dressed it."""
    while error is not None:
        if isinstance(error, OSError):
            ours = error.filename is not None and Path(os.fsdecode(error.filename)).is_relative_to(root)
            if error.errno in _NO_ROOM or (ours and error.errno in _FORBIDDEN):
                return error
        error = error.__cause__ or error.__context__
    return None
