"""The commands that work through the whole chain, and what they share with those of single stages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kdyolo.cli import options as opt
from kdyolo.cli.console import Console, open_console
from kdyolo.errors import ConfigError

if TYPE_CHECKING:
    from kdyolo.config import Config


@dataclass(frozen=True)
class Request:
    """What a command was asked to do.

    Attributes:
        run: Run directory.
        only: The one stage to run; None: all.
        file: YAML file of settings.
        assignments: ``key=value`` texts.
        flags: Dotted key -> value; None where a flag was not given.
        resume: Redo finished work that changed.
        force: Move old work aside.
        dry_run: Only say what would be done.
        fresh: Do not start from the settings of an existing run.
        preset: YAML file that stands for the defaults.
    """

    run: Path
    only: str | None = None
    file: Path | None = None
    assignments: list[str] | None = None
    flags: Mapping[str, Any] = field(default_factory=dict)
    resume: bool = False
    force: bool = False
    dry_run: bool = False
    fresh: bool = False
    preset: Path | None = None

    def resolve(self) -> Config:
        """The settings it comes to."""
        from kdyolo import pipeline
        from kdyolo.storage import RunDir

        return pipeline.resolve(
            RunDir(self.run),
            file=self.file,
            assignments=self.assignments or (),
            overrides=self.flags,
            fresh=self.fresh,
            preset=self.preset,
        )


def perform(request: Request, console: Console) -> None:
    """Plan or execute a request and show what came of it."""
    from kdyolo import pipeline
    from kdyolo.cli import show
    from kdyolo.storage import RunDir

    if request.resume and request.force:
        raise ConfigError("--resume and --force exclude each other.", "--resume redoes what changed, --force all.")
    run, config = RunDir(request.run), request.resolve()
    stages = pipeline.chain(config)
    if request.dry_run:
        plans = [
            planned
            for part, settings in pipeline.parts(run, config, request.only, request.force)
            for planned in pipeline.plan_with_assistant(part, settings, stages, only=request.only, force=request.force)
        ]
        show.plans(console, run, plans)
        return
    outcome = pipeline.execute(
        run, config, stages, console, only=request.only, resume=request.resume, force=request.force
    )
    if config.label_budgets:
        show.budgets(console, run, outcome)
    elif request.only in (None, stages[-1].name):
        show.comparison(console, run, outcome)
    else:
        show.stage(console, run, request.only, outcome)
    if request.only in (None, stages[-1].name):
        pipeline.check_gates(run, config)


def run(
    source: opt.Source = None,
    run: Annotated[
        Path | None,
        typer.Option(
            "--run",
            metavar="DIR",
            parser=opt.path,
            rich_help_panel=opt.RUN_PANEL,
            help="Run directory; runs/<SRC> if left out.",
        ),
    ] = None,
    resume: opt.Resume = False,
    force: opt.Force = False,
    dry_run: opt.DryRun = False,
    config: opt.File = None,
    set_: opt.Assignments = None,
    seed: opt.Seed = None,
    seeds: opt.Seeds = None,
    equal_compute: opt.EqualCompute = None,
    offline: opt.Offline = None,
    precision: opt.Precision = None,
    device: opt.Device = None,
    track: opt.Track = None,
    ratios: opt.Ratios = None,
    keep_splits: opt.KeepSplits = None,
    from_: opt.SplitFile = None,
    repair: opt.Repair = None,
    group_by: opt.GroupBy = None,
    near_duplicates: opt.NearDuplicates = None,
    allow_outside: opt.AllowOutside = None,
    labels_fraction: opt.LabelsFraction = None,
    label_budget: Annotated[
        str | None,
        typer.Option(
            metavar="X,...",
            rich_help_panel=opt.DATA_PANEL,
            help="Run the chain once for each share of labelled training images, and draw the curve.",
        ),
    ] = None,
    pool: opt.Pool = None,
    teacher_model: Annotated[
        str | None, typer.Option(rich_help_panel=opt.TRAINING_PANEL, help="The large model, for example yolov5x.")
    ] = None,
    student_model: Annotated[
        str | None, typer.Option(rich_help_panel=opt.TRAINING_PANEL, help="The small model, for example yolov5n.")
    ] = None,
    teacher: opt.Teacher = None,
    map_classes: opt.MapClasses = None,
    min_effect: opt.MinEffect = None,
    require: opt.Require = None,
    labels: opt.Labels = None,
    data_free: opt.DataFree = False,
    assistant: opt.Assistant = None,
    scheme: opt.Scheme = None,
    self_teacher: opt.SelfTeacher = None,
    generations: opt.Generations = None,
    method: opt.Method = None,
    kd_weight: opt.KdWeight = None,
    epochs: opt.Epochs = None,
    imgsz: opt.Imgsz = None,
    batch: opt.Batch = None,
    from_scratch: opt.FromScratch = None,
    lang: opt.Lang = None,
    json: opt.Json = False,
    quiet: opt.Quiet = False,
) -> None:
    """Run the whole chain: split, teacher, pseudo-labels, student, control, comparison."""
    console = open_console(json=json, quiet=quiet)
    flags = {
        "data.source": source,
        "data.allow_outside": allow_outside,
        **opt.parse_seeds(seeds, seed),
        "equal_compute": equal_compute,
        "split.ratios": opt.parse_ratios(ratios),
        **opt.splitting(keep_splits, from_, repair, group_by, near_duplicates),
        "split.labels_fraction": labels_fraction,
        "label_budgets": opt.parse_shares(label_budget),
        "pseudo.images": pool,
        "teacher.model": teacher_model,
        **opt.adopting(teacher),
        "teacher.map_classes": opt.parse_classes(map_classes),
        "student.model": student_model,
        **opt.proving(min_effect, require),
        "student.labels": labels,
        **opt.data_free(data_free, pool),
        "distill.assistant": assistant,
        **opt.distilling(scheme, self_teacher, generations, method, kd_weight),
        **opt.runtime(offline, precision, device, track),
        "report.lang": lang,
        **opt.for_both(epochs=epochs, imgsz=imgsz, batch=batch, from_scratch=from_scratch),
    }
    # With a data set given, --force means a new run; without one, the same run once more.
    fresh = force and source is not None
    folder = run or opt.default_run(source, config)
    perform(Request(folder, None, config, set_, flags, resume, force, dry_run, fresh), console)


def demo(
    run: opt.Run = Path("runs/demo"),
    resume: opt.Resume = False,
    force: opt.Force = False,
    config: opt.File = None,
    set_: opt.Assignments = None,
    offline: opt.Offline = None,
    lang: opt.Lang = None,
    json: opt.Json = False,
    quiet: opt.Quiet = False,
) -> None:
    """Draw a small data set and run the whole chain on it, without any download."""
    from kdyolo import api
    from kdyolo.storage import RunDir

    console = open_console(json=json, quiet=quiet)
    folder = RunDir(run)
    source = api.demo_folder(folder)
    flags = {"data.source": source, "runtime.offline": offline, "report.lang": lang}
    request = Request(run, None, config, set_, flags, resume, force, fresh=force, preset=api.DEMO_PRESET)
    settings = request.resolve()
    console.note(f"Demo data set: {source}")
    api.demo_data(folder)
    console.note(
        f"Teacher {settings.teacher.model}, student {settings.student.model}, {settings.teacher.epochs} and "
        f"{settings.student.epochs} epochs at {settings.student.imgsz} px, to be quick. For the largest teacher: "
        "`kdyolo demo --run runs/demo-x -S teacher.model=yolov5x`"
    )
    perform(request, console)


def register(app: typer.Typer) -> None:
    """Put the commands of this file into the app."""
    opt.add(
        app,
        run,
        (
            "kdyolo run tomatoes",
            "kdyolo run tomatoes --run runs/first --epochs 50 --imgsz 320",
            "kdyolo run --run runs/first -S student.epochs=80 --resume",
            "kdyolo run tomatoes --from-scratch --offline --dry-run",
        ),
        "What is finished and unchanged is skipped; what was interrupted goes on where it stopped. "
        "An existing run keeps its settings where the command line says nothing else. "
        "--force with SRC starts a new run from the defaults; without SRC it repeats the run with its own settings.",
    )
    opt.add(
        app,
        demo,
        ("kdyolo demo", "kdyolo demo --run runs/demo-x -S teacher.model=yolov5x"),
        "The data set is drawn beside the run directory, and used again if it is there.",
    )
