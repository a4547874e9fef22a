"""The commands around a run: a settings file to start from, and a look at the machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from kdyolo.cli import options as opt
from kdyolo.cli.console import Console, open_console


def init(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="File to write.")] = Path("kdyolo.yaml"),
    force: Annotated[bool, typer.Option("--force", help="Move an existing file aside.")] = False,
    json: opt.Json = False,
    quiet: opt.Quiet = False,
) -> None:
    """Write a settings file with every setting, its default and its meaning."""
    from kdyolo import api

    console = open_console(json=json, quiet=quiet)
    api.init(file, force=force, progress=console)
    console.result({"file": str(file)}, lambda: console.line(f"{file} written. Use it: kdyolo run DATASET -c {file}"))


def doctor(json: opt.Json = False, quiet: opt.Quiet = False) -> None:
    """Check the installation and the machine; the network is not touched."""
    from kdyolo import api
    from kdyolo.errors import EnvironmentFault

    console = open_console(json=json, quiet=quiet)
    report = api.doctor()
    console.result(report, lambda: _render(console, report))
    if faults := report["faults"]:
        if console.json:  # the object is out already; a second one would break the promise of one
            raise typer.Exit(EnvironmentFault.exit_code)
        raise EnvironmentFault("; ".join(faults), "Mend this first; `pip install kdyolo` again often does.")


def _render(console: Console, report: dict[str, Any]) -> None:
    from kdyolo.cli.show import lines

    packages = report["packages"]
    rows = [
        *lines({k: v for k, v in report.items() if k not in ("packages", "faults")}),
        *(p for p in packages.items() if p[0] not in report),
    ]
    console.table("", ("", "value"), rows)
    if not report["faults"]:
        console.line("All that kdyolo needs is here.")


def register(app: typer.Typer) -> None:
    """Put the commands of this file into the app."""
    opt.add(
        app,
        init,
        ("kdyolo init", "kdyolo init tomatoes.yaml", "kdyolo run tomatoes -c tomatoes.yaml"),
    )
    opt.add(app, doctor, ("kdyolo doctor", "kdyolo doctor --json"))
