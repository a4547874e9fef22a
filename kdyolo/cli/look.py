"""The command that only looks: how far a run is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from kdyolo.cli import options as opt
from kdyolo.cli.console import Console, open_console


def status(
    run: Annotated[Path, typer.Argument(metavar="RUN", parser=opt.path, help="Run directory.")],
    json: opt.Json = False,
    quiet: opt.Quiet = False,
) -> None:
    """Show how far a run is, what its stages found, who is working on it, and the next command."""
    from kdyolo import api

    console = open_console(json=json, quiet=quiet)
    data = api.status(run)
    console.result(data, lambda: _render(console, data))


def _render(console: Console, data: dict[str, Any]) -> None:
    from kdyolo.cli.show import lines
    from kdyolo.report.numbers import duration

    for part in data.get("budgets", ()):
        _render(console, part)
    rows = [
        (
            s["stage"],
            s["status"],
            s.get("when", "-"),
            duration(s.get("seconds")),
            s.get("error") or _short(lines(s.get("facts", {}))),
        )
        for s in data.get("stages", ())
    ]
    if rows:
        console.table(data["run"], ("stage", "status", "when", "took", "facts"), rows, right="3")
    if holder := data["locked_by"]:
        console.line(f"In use by process {holder.get('pid')} on {holder.get('host')}: {holder.get('command')}")
    if data["report"]:
        console.line(f"Report: {data['report']}")
    if data["next"]:
        console.line(f"Next: {data['next']}")


def _short(facts: list[tuple[str, str]]) -> str:
    return "; ".join(f"{key} {value}" for key, value in facts if len(value) <= 40)[:200]


def register(app: typer.Typer) -> None:
    """Put the command of this file into the app."""
    opt.add(app, status, ("kdyolo status runs/first", "kdyolo status runs/first --json"))
