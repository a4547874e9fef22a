"""The commands that change how a data set is written: convert, export for review, and import again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from kdyolo.cli import options as opt
from kdyolo.cli.console import Console, open_console

Out = Annotated[
    Path,
    typer.Option(
        "--out", metavar="DIR", parser=opt.path, rich_help_panel=opt.OUTPUT_PANEL, help="New folder to write."
    ),
]
Force = Annotated[
    bool, typer.Option("--force", rich_help_panel=opt.OUTPUT_PANEL, help="Move an existing folder aside.")
]


def convert(
    source: Annotated[Path, typer.Argument(metavar="SRC", parser=opt.path, help="Data set: a folder or a data.yaml.")],
    to: Annotated[
        Literal["yolo", "coco", "voc", "label-studio", "cvat"], typer.Option("--to", help="Format to write.")
    ],
    out: Out,
    force: Force = False,
    format_: opt.Format = None,
    allow_outside: opt.AllowOutside = None,
    config: opt.File = None,
    set_: opt.Assignments = None,
    json: opt.Json = False,
    quiet: opt.Quiet = False,
) -> None:
    """Write a data set in another format; the images are hard links where possible, the source is left alone."""
    from kdyolo import api

    console = open_console(json=json, quiet=quiet)
    settings = _settings(config, set_, format_, allow_outside)
    facts = api.convert(source, to, out, settings=settings, force=force, progress=console)
    console.result(facts, lambda: _render(console, facts, f"kdyolo audit {source}"))


def export(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", parser=opt.path, help="Run directory, as far as its pseudo-labels.")
    ],
    to: Annotated[Literal["label-studio", "cvat", "coco", "yolo"], typer.Option("--to", help="Format to write.")],
    out: Out,
    split: Annotated[
        Literal["train", "pool", "all"], typer.Option("--split", help="Training images, the pool, or all.")
    ] = "all",
    all_scores: Annotated[
        bool, typer.Option("--all-scores", help="Also boxes whose score was too low to become a label.")
    ] = False,
    force: Force = False,
    json: opt.Json = False,
    quiet: opt.Quiet = False,
) -> None:
    """Write the labels a run's teacher made, with their scores, for people to review or programs to use."""
    from kdyolo import api

    console = open_console(json=json, quiet=quiet)
    facts = api.export_labels(run, to, out, split=split, all_scores=all_scores, force=force, progress=console)
    console.result(facts, lambda: _render(console, facts))
    if to in ("label-studio", "cvat"):
        console.note(
            f"After the review: kdyolo data import EXPORTED_FILE --images {out / 'images'} --out NEW_FOLDER "
            "(docs/formats.md says how to load it)."
        )


def import_(
    source: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="What was exported: Label Studio or COCO json, CVAT xml, or a folder."),
    ],
    images: Annotated[Path, typer.Option("--images", metavar="DIR", parser=opt.path, help="Folder of the images.")],
    out: Out,
    classes: Annotated[
        str | None,
        typer.Option("--classes", metavar="A,B,...", help="Class names in order. Left out: those in the export."),
    ] = None,
    force: Force = False,
    format_: opt.Format = None,
    allow_outside: opt.AllowOutside = None,
    config: opt.File = None,
    set_: opt.Assignments = None,
    json: opt.Json = False,
    quiet: opt.Quiet = False,
) -> None:
    """Make a clean YOLO data set of reviewed annotations; images they do not mention are left out."""
    from kdyolo import api

    console = open_console(json=json, quiet=quiet)
    settings = _settings(config, set_, format_, allow_outside)
    names = [name.strip() for name in classes.split(",")] if classes else None
    facts = api.import_labels(source, images, out, names=names, settings=settings, force=force, progress=console)
    console.result(facts, lambda: _render(console, facts))
    console.note(f"Next: kdyolo split {out} --run RUN")


def _settings(
    config: Path | None, set_: list[str] | None, format_: str | None, allow_outside: bool | None
) -> dict[str, Any]:
    from kdyolo.config import load_config

    flags = {"data.format": format_, "data.allow_outside": allow_outside}
    resolved = load_config(config, set_ or (), flags)
    return {"data": resolved.data, "audit": resolved.audit}


def _render(console: Console, facts: dict[str, Any], list_all: str = "") -> None:
    splits = ", ".join(f"{name} {count}" for name, count in facts["splits"].items())
    read_as = f" ({facts['format']} -> {facts['to']})" if "format" in facts else ""
    console.line(
        f"{_count(facts['images'], 'image')}{f' ({splits})' if splits else ''}, {_count(facts['boxes'], 'box', 'es')}, "
        f"{_count(len(facts['classes']), 'class', 'es')}: {facts['out']}{read_as}"
    )
    for name, what in (("left_out", "Images left out"), ("warnings", "Warnings")):
        if told := ", ".join(f"{code} {count}" for code, count in facts.get(name, {}).items()):
            console.line(f"{what}: {told}")
    if facts.get("unlabelled"):
        console.line(f"Not labelled, left out: {facts['unlabelled']}")
    if list_all and (facts.get("left_out") or facts.get("warnings")):
        console.line(f"`{list_all}` names them.")


def _count(number: int, what: str, plural: str = "s") -> str:
    return f"{number} {what}{'' if number == 1 else plural}"


def register(app: typer.Typer) -> None:
    """Put the commands of this file into the app, as `kdyolo data ...`."""
    shown = (
        "kdyolo data convert tomatoes --to coco --out tomatoes-coco",
        "kdyolo data export runs/first --to label-studio --out review",
        "kdyolo data import reviewed.json --images review/images --out reviewed",
    )
    summary = "Convert data sets between formats, and review labels in other programs."
    group = typer.Typer(no_args_is_help=True, rich_markup_mode="rich")
    more = "Formats: see docs/formats.md."
    opt.add(group, convert, (shown[0], "kdyolo data convert export.yaml --to yolo --out clean"), more)
    opt.add(group, export, (shown[1], "kdyolo data export runs/first --to cvat --split pool --out review"), more)
    opt.add(group, import_, (shown[2], "kdyolo data import annotations.xml --images images --out reviewed"), more)
    app.add_typer(group, name="data", help=opt.examples(*shown) + summary, short_help=summary)
