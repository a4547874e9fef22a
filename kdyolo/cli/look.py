"""The command that only looks: how far a run is."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kdyolo.cli import options as opt
from kdyolo.cli.console import Console, open_console

if TYPE_CHECKING:
    from kdyolo.storage import RunDir


def status(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run directory.")],
    json: opt.Json = False,
    quiet: opt.Quiet = False,
) -> None:
    """Show how far a run is, what its stages found, who is working on it, and the next command."""
    from kdyolo.errors import ConfigError
    from kdyolo.storage import RunDir

    console = open_console(json=json, quiet=quiet)
    folder = RunDir(run)
    if not folder.config.is_file():
        raise ConfigError(f"There is no run at {folder.root}.", "Start one with `kdyolo run DATASET --run FOLDER`.")
    data = describe(folder)
    console.result(data, lambda: _render(console, data))


def describe(run: RunDir) -> dict[str, Any]:
    """State of a run as plain data."""
    from kdyolo.pipeline import chain

    holder = run.holder()
    stages = []
    for stage in chain():
        record = run.record(stage.name)
        state: dict[str, Any] = {"stage": stage.name, "status": "not started"}
        if record is not None:
            stopped = record.status == "running" and holder is None  # killed before it could say so
            changed = (run.stage(stage.name) / "stage.json").stat().st_mtime
            state = {
                "stage": stage.name,
                "status": "stopped" if stopped else record.status,
                "when": datetime.datetime.fromtimestamp(changed).astimezone().isoformat(timespec="seconds"),
                "seconds": record.seconds,
                "facts": record.facts,
                "error": record.error,
            }
            epochs = run.stage(stage.name) / "training" / "results.csv"
            if record.status != "done" and epochs.is_file():
                state["facts"] = {"epochs": len(epochs.read_text().splitlines()) - 1}
        elif run.stage(stage.name).exists():
            state["status"] = "damaged"
        stages.append(state)
    finished = all(state["status"] == "done" for state in stages)
    report = run.root / "report" / "report.html"
    next_command = None if finished and report.is_file() else f"kdyolo run --run {run.shown}"
    return {
        "run": str(run.root),
        "stages": stages,
        "locked_by": holder,
        "report": str(report) if report.is_file() else None,
        "next": None if holder else next_command,
    }


def _render(console: Console, data: dict[str, Any]) -> None:
    from kdyolo.cli.show import duration, plain

    rows = [
        (
            s["stage"],
            s["status"],
            s.get("when", "-"),
            duration(s.get("seconds")),
            s.get("error") or _short(plain(s.get("facts", {}))),
        )
        for s in data["stages"]
    ]
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
