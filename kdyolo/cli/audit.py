"""The command that judges a data set before anything is trained on it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from kdyolo.cli import options as opt
from kdyolo.cli.console import Console, open_console

_WORTH_SAYING = ("error", "warning")


def audit(
    source: Annotated[Path, typer.Argument(metavar="SRC", parser=opt.path, help="Data set: a folder or a data.yaml.")],
    html: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", rich_help_panel=opt.OUTPUT_PANEL, help="Write a page with pictures of what was found."
        ),
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", rich_help_panel=opt.OUTPUT_PANEL, help="Exit with 3 on warnings as well.")
    ] = False,
    all_: Annotated[
        bool,
        typer.Option(
            "--all", rich_help_panel=opt.OUTPUT_PANEL, help="With --json: list more than 1000 findings of a kind."
        ),
    ] = False,
    config: opt.File = None,
    set_: opt.Assignments = None,
    format_: opt.Format = None,
    allow_outside: opt.AllowOutside = None,
    cache: opt.Cache = None,
    json: opt.Json = False,
    quiet: opt.Quiet = False,
) -> None:
    """Check images, labels and splits of a data set, and say what to do; nothing in it is changed."""
    from kdyolo import api
    from kdyolo.config import load_config
    from kdyolo.errors import DatasetError

    console = open_console(json=json, quiet=quiet)
    flags = {"data.source": source, "data.format": format_, "data.allow_outside": allow_outside}
    flags |= {"audit.cache": cache}
    settings = load_config(config, set_ or (), flags)
    found = api.audit_with(settings, html=html, everything=all_, progress=console)
    console.result(found, lambda: _render(console, found, html))
    if found["errors"] or (strict and found["warnings"]):
        raise typer.Exit(DatasetError.exit_code)


def _render(console: Console, found: dict[str, Any], html: Path | None) -> None:
    rows = [(f["severity"], f["code"], f["count"], f["title"], _example(f["items"][0])) for f in found["findings"]]
    if rows:
        console.table("", ("", "code", "count", "what", "for example"), rows, right="2")
    for finding in found["findings"]:
        if finding["severity"] in _WORTH_SAYING:
            console.line(f"{finding['title']}: {finding['todo']}")
    if rows:
        console.line()
    console.line(found["verdict"])
    if html is not None:
        console.line(f"Page: {html}")


def _example(item: dict[str, Any]) -> str:
    """Where the first of a kind was found; what was found where it concerns the whole set."""
    place = item["file"] if item["line"] is None else f"{item['file']}, line {item['line']}"
    return str(place or item["message"])


def register(app: typer.Typer) -> None:
    """Put the command of this file into the app."""
    opt.add(
        app,
        audit,
        (
            "kdyolo audit tomatoes",
            "kdyolo audit tomatoes --html audit.html",
            "kdyolo audit tomatoes --json --strict",
        ),
        "Exit code 0: no error was found; 3: errors, or with --strict warnings. "
        "What every code means is in docs/data.md and on the page.",
    )
