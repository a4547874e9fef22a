"""One command for each stage."""

from __future__ import annotations

from typing import Annotated

import typer

from kdyolo.cli import options as opt
from kdyolo.cli.chain import Request, perform
from kdyolo.cli.console import open_console


def split(
    source: opt.Source = None,
    *,
    run: opt.Run,
    resume: opt.Resume = False,
    force: opt.Force = False,
    dry_run: opt.DryRun = False,
    config: opt.File = None,
    set_: opt.Assignments = None,
    seed: opt.SplitSeed = None,
    ratios: opt.Ratios = None,
    keep_splits: opt.KeepSplits = None,
    from_: opt.SplitFile = None,
    repair: opt.Repair = None,
    group_by: opt.GroupBy = None,
    near_duplicates: opt.NearDuplicates = None,
    folds: opt.Folds = None,
    repeats: opt.Repeats = None,
    labels_fraction: opt.LabelsFraction = None,
    allow_outside: opt.AllowOutside = None,
    format_: opt.Format = None,
    cache: opt.Cache = None,
    json: opt.Json = False,
    quiet: opt.Quiet = False,
) -> None:
    """Check a data set and divide it evenly into train, val and test; copies and frames of a video stay together."""
    console = open_console(json=json, quiet=quiet)
    flags = {
        "data.source": source,
        "data.format": format_,
        "data.allow_outside": allow_outside,
        "audit.cache": cache,
        "split.seed": seed,
        "split.ratios": opt.parse_ratios(ratios),
        "split.folds": folds,
        "split.repeats": repeats,
        "split.labels_fraction": labels_fraction,
        **opt.splitting(keep_splits, from_, repair, group_by, near_duplicates),
    }
    perform(Request(run, "split", config, set_, flags, resume, force, dry_run), console)


def train_teacher(
    *,
    run: opt.Run,
    teacher: opt.Teacher = None,
    map_classes: opt.MapClasses = None,
    model: opt.Model = None,
    weights: opt.Weights = None,
    from_scratch: opt.FromScratch = None,
    epochs: opt.Epochs = None,
    imgsz: opt.Imgsz = None,
    batch: opt.Batch = None,
    resume: opt.Resume = False,
    force: opt.Force = False,
    dry_run: opt.DryRun = False,
    config: opt.File = None,
    set_: opt.Assignments = None,
    seed: opt.Seed = None,
    offline: opt.Offline = None,
    precision: opt.Precision = None,
    device: opt.Device = None,
    track: opt.Track = None,
    json: opt.Json = False,
    quiet: opt.Quiet = False,
) -> None:
    """Train the large model on the training split, or adopt one that is trained already."""
    console = open_console(json=json, quiet=quiet)
    flags = {
        "seed": seed,
        **opt.adopting(teacher),
        "teacher.map_classes": opt.parse_classes(map_classes),
        **opt.runtime(offline, precision, device, track),
        **opt.training("teacher", model, weights, from_scratch, epochs, imgsz, batch),
    }
    perform(Request(run, "teacher", config, set_, flags, resume, force, dry_run), console)


def pseudo_label(
    *,
    run: opt.Run,
    pool: opt.Pool = None,
    conf: Annotated[
        str | None,
        typer.Option(
            metavar="X|CLASS=X,...",
            rich_help_panel=opt.LABELLING_PANEL,
            help="Score threshold, one or per class; left out: best F1 per class on the validation split.",
        ),
    ] = None,
    iou: Annotated[float | None, typer.Option(rich_help_panel=opt.LABELLING_PANEL, help="NMS threshold.")] = None,
    augment: Annotated[
        bool | None, typer.Option("--augment", rich_help_panel=opt.LABELLING_PANEL, help="Test-time augmentation.")
    ] = None,
    resume: opt.Resume = False,
    force: Annotated[
        bool,
        typer.Option(
            "--force",
            rich_help_panel=opt.RUN_PANEL,
            help="Move the old labels aside and label anew, even with a teacher too weak to label.",
        ),
    ] = False,
    dry_run: opt.DryRun = False,
    config: opt.File = None,
    set_: opt.Assignments = None,
    device: opt.Device = None,
    json: opt.Json = False,
    quiet: opt.Quiet = False,
) -> None:
    """Let the teacher label the training images, and a folder of unlabelled ones if there is one."""
    console = open_console(json=json, quiet=quiet)
    flags = {
        "pseudo.images": pool,
        "pseudo.conf": opt.parse_conf(conf),
        "pseudo.iou": iou,
        "pseudo.augment": augment,
        "runtime.device": device,
    }
    perform(Request(run, "pseudo", config, set_, flags, resume, force, dry_run), console)


def train_student(
    *,
    run: opt.Run,
    baseline: Annotated[
        bool,
        typer.Option(
            "--baseline",
            rich_help_panel=opt.TRAINING_PANEL,
            help="Train the control: the same model and budget, the data set's own labels. It comes after the "
            "pseudo-labels, whose images and number of steps it shares.",
        ),
    ] = False,
    labels: opt.Labels = None,
    scheme: opt.Scheme = None,
    self_teacher: opt.SelfTeacher = None,
    generations: opt.Generations = None,
    method: opt.Method = None,
    kd_weight: opt.KdWeight = None,
    model: opt.Model = None,
    weights: opt.Weights = None,
    from_scratch: opt.FromScratch = None,
    epochs: opt.Epochs = None,
    imgsz: opt.Imgsz = None,
    batch: opt.Batch = None,
    resume: opt.Resume = False,
    force: opt.Force = False,
    dry_run: opt.DryRun = False,
    config: opt.File = None,
    set_: opt.Assignments = None,
    offline: opt.Offline = None,
    device: opt.Device = None,
    track: opt.Track = None,
    json: opt.Json = False,
    quiet: opt.Quiet = False,
) -> None:
    """Train the small model on the teacher's labels, or its control on the data set's own."""
    console = open_console(json=json, quiet=quiet)
    flags = {
        "student.labels": labels,
        **opt.distilling(scheme, self_teacher, generations, method, kd_weight),
        **opt.runtime(offline, None, device, track),
        **opt.training("student", model, weights, from_scratch, epochs, imgsz, batch),
    }
    only = "baseline" if baseline else "student"
    perform(Request(run, only, config, set_, flags, resume, force, dry_run), console)


def compare(
    *,
    run: opt.Run,
    resume: opt.Resume = False,
    force: opt.Force = False,
    dry_run: opt.DryRun = False,
    config: opt.File = None,
    set_: opt.Assignments = None,
    min_effect: opt.MinEffect = None,
    require: opt.Require = None,
    device: opt.Device = None,
    lang: opt.Lang = None,
    json: opt.Json = False,
    quiet: opt.Quiet = False,
) -> None:
    """Measure teacher, student and control on the test split and build the report."""
    console = open_console(json=json, quiet=quiet)
    flags = {"runtime.device": device, "report.lang": lang, **opt.proving(min_effect, require)}
    perform(Request(run, "compare", config, set_, flags, resume, force, dry_run), console)


def register(app: typer.Typer) -> None:
    """Put the commands of this file into the app."""
    opt.add(
        app,
        split,
        (
            "kdyolo split tomatoes --run runs/first",
            "kdyolo split tomatoes --run runs/first --ratios 0.6,0.2,0.2 --group-by 'plant(\\d+)'",
            "kdyolo split tomatoes --run runs/first --keep-splits --repair",
            "kdyolo split tomatoes --run runs/first --from splits.csv",
        ),
        "docs/splitting.md says how images are grouped, balanced and kept apart.",
    )
    opt.add(
        app,
        train_teacher,
        (
            "kdyolo train-teacher --run runs/first",
            "kdyolo train-teacher --run runs/first --model yolov5m --from-scratch --epochs 100",
            "kdyolo train-teacher --run runs/first --teacher best.pt",
        ),
    )
    opt.add(
        app,
        pseudo_label,
        (
            "kdyolo pseudo-label --run runs/first",
            "kdyolo pseudo-label --run runs/first --conf early_blight=0.4,leaf_mold=0.3",
            "kdyolo pseudo-label --run runs/first --images more_leaves",
        ),
    )
    opt.add(
        app,
        train_student,
        (
            "kdyolo train-student --run runs/first",
            "kdyolo train-student --run runs/first --labels gt+pseudo --resume",
            "kdyolo train-student --run runs/first --baseline",
        ),
    )
    opt.add(app, compare, ("kdyolo compare --run runs/first", "kdyolo compare --run runs/first --json"))
