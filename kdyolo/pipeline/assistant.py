"""A teacher's assistant: a model between a large teacher and a small student, in one command.

Mirzadeh et al., "Improved Knowledge Distillation via Teacher Assistant", AAAI 2020: the teacher teaches the assistant,
the assistant the student. Each step is the whole chain as it always is; the first one lies in ``<run>/assistant``.
"""

from __future__ import annotations

from collections.abc import Sequence

from kdyolo.config import Config
from kdyolo.errors import Interrupted
from kdyolo.pipeline.planning import Step, plan
from kdyolo.pipeline.running import Outcome, run_chain, set_run_aside, write_settings
from kdyolo.progress import Progress, Silent
from kdyolo.stages.base import ASSISTANT, Stage
from kdyolo.storage import RunDir

SPLIT = "split"
_MAKING = (SPLIT, "teacher", "pseudo", "student")
"""Stages that make an assistant; it is compared with others as the teacher it becomes."""


def making(run: RunDir, config: Config, stages: Sequence[Stage]) -> tuple[RunDir, Config, list[Stage]]:
    """Run directory, settings and stages that make the assistant of a run."""
    first = config.model_copy(deep=True)
    assert config.distill.assistant is not None
    first.student.model, first.distill.assistant = config.distill.assistant, None
    return RunDir(run.root / ASSISTANT), first, [stage for stage in stages if stage.name in _MAKING]


def taught_by_it(run: RunDir, config: Config) -> Config:
    """Settings of the run itself, whose teacher is the assistant."""
    helper, second = RunDir(run.root / ASSISTANT), config.model_copy(deep=True)
    listed = helper.stage("teacher") / "trained_on.csv"
    second.teacher.checkpoint, second.teacher.more = helper.stage("student") / "best.pt", ()
    second.teacher.trained_on = listed if listed.is_file() else None
    second.teacher.map_classes, second.teacher.imgsz = _classes_it_learned(helper, config), config.student.imgsz
    return second


def _classes_it_learned(helper: RunDir, config: Config) -> dict[str, str] | None:
    """A map of the assistant's classes that leaves out those nobody taught it; None if there are none.

    From its teacher's labels alone it does not learn what its teacher does not know.
    """
    split = helper.finished(SPLIT)
    if config.student_labels not in ("pseudo", "pool") or split is None or helper.finished("teacher") is None:
        return None
    from kdyolo.pseudo import team

    names = split.facts["classes"]
    known = team.known(helper.stage("teacher"), len(names))
    return None if known.all() else {name: name for name, is_known in zip(names, known, strict=True) if is_known}


def plan_with_assistant(
    run: RunDir, config: Config, stages: Sequence[Stage], *, only: str | None = None, force: bool = False
) -> list[tuple[RunDir, list[Step]]]:
    """What is to be done about a run, and before it about its assistant if it is to have one; nothing is touched.

    Of a run whose assistant is still to be made, or made anew, all that follows the split will run. Arguments and
    errors as `plan`.
    """
    if config.distill.assistant is None or only not in (None, "teacher"):
        settings = config if config.distill.assistant is None else taught_by_it(run, config)
        return [(run, plan(run, settings, stages, only=only, force=force))]
    helper, first, few = making(run, config, stages)
    before = plan(helper, first, few, force=force and only is None)
    if all(step.action == "skip" for step in before):
        return [(helper, before), (run, plan(run, taught_by_it(run, config), stages, only=only, force=force))]
    after = plan(run, config, stages, only=SPLIT, force=force)
    after += [
        Step(stage.name, "redo" if run.record(stage.name) and not force else "run", "follows the assistant")
        for stage in stages
        if stage.name != SPLIT
    ]
    return [(helper, before), (run, [step for step in after if only in (None, step.stage)])]


def run_with_assistant(
    run: RunDir,
    config: Config,
    stages: Sequence[Stage],
    progress: Progress | None = None,
    *,
    only: str | None = None,
    resume: bool = False,
    force: bool = False,
) -> Outcome:
    """Bring a run up to date, and before it its assistant if it is to have one. Arguments and errors as `run_chain`."""
    if config.distill.assistant is None:
        return run_chain(run, config, stages, progress, only=only, resume=resume, force=force)
    progress, total = progress or Silent(), Outcome()
    if force and only is None:
        set_run_aside(run, progress)
        force = False
    if only in (None, "teacher"):
        helper, first, few = making(run, config, stages)
        progress.note(f"The assistant, {config.distill.assistant}: {helper.shown}")
        with run.locked(progress.warn):
            write_settings(run, config)
            try:
                made = run_chain(helper, first, few, progress, resume=resume, force=force)
            except Interrupted as error:
                raise Interrupted(error.message, f"To go on: `kdyolo run --run {run.shown}`") from error
        total.ran += [f"{ASSISTANT}/{stage}" for stage in made.ran]
        total.skipped += [f"{ASSISTANT}/{stage}" for stage in made.skipped]
        progress.note(f"Its student, {config.student.model}: {run.shown}")
    second = taught_by_it(run, config)
    outcome = run_chain(run, second, stages, progress, only=only, resume=resume, force=force, asked=config)
    return Outcome(total.ran + outcome.ran, total.skipped + outcome.skipped, outcome.report)
