"""The commands around a run: a settings file to start from, and a look at the machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from kdyolo.cli import options as opt
from kdyolo.cli.console import Console, open_console

MIN_FREE_BYTES = 2_000_000_000  # a YOLOv5x training keeps two checkpoints with their optimiser


def init(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="File to write.")] = Path("kdyolo.yaml"),
    force: Annotated[bool, typer.Option("--force", help="Move an existing file aside.")] = False,
    json: opt.Json = False,
    quiet: opt.Quiet = False,
) -> None:
    """Write a settings file with every setting, its default and its meaning."""
    from kdyolo.cli.template import settings_template
    from kdyolo.errors import RunExistsError
    from kdyolo.storage import free_name, write_text

    console = open_console(json=json, quiet=quiet)
    if file.exists():
        if not force:
            raise RunExistsError(f"{file} exists.", "--force moves it aside; or give another name.")
        aside = free_name(file)
        file.rename(aside)
        console.note(f"The old file is now {aside}.")
    write_text(file, settings_template())
    console.result({"file": str(file)}, lambda: console.line(f"{file} written. Use it: kdyolo run DATASET -c {file}"))


def doctor(json: opt.Json = False, quiet: opt.Quiet = False) -> None:
    """Check the installation and the machine; the network is not touched."""
    from kdyolo.errors import EnvironmentFault

    console = open_console(json=json, quiet=quiet)
    report, faults = examine()
    console.result({**report, "faults": faults}, lambda: _render(console, report, faults))
    if faults:
        if console.json:  # the object is out already; a second one would break the promise of one
            raise typer.Exit(EnvironmentFault.exit_code)
        raise EnvironmentFault("; ".join(faults), "Mend this first; `pip install kdyolo` again often does.")


def examine() -> tuple[dict[str, Any], list[str]]:
    """Facts about the machine, and what is broken."""
    import platform

    import kdyolo
    from kdyolo.engine.environment import describe

    facts: dict[str, Any] = {"kdyolo": kdyolo.__version__, "python": platform.python_version()}
    packages, faults = _packages()
    if not faults:
        try:
            facts |= describe()
        except Exception as error:
            faults.append(f"torch and ultralytics cannot be used: {type(error).__name__}: {error}")
    facts["packages"] = packages
    disk, disk_faults = _disk(Path.cwd())
    return facts | disk, faults + disk_faults


def _packages() -> tuple[dict[str, str], list[str]]:
    """Version of everything kdyolo requires, extras left out."""
    import importlib.metadata
    import re

    versions, faults = {}, []
    for requirement in importlib.metadata.requires("kdyolo") or []:
        if "extra ==" in requirement:
            continue
        name = re.split(r"[^\w.-]", requirement, maxsplit=1)[0]
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            faults.append(f"the package {name} is not installed")
    return versions, faults


def _disk(folder: Path) -> tuple[dict[str, Any], list[str]]:
    import shutil
    import tempfile

    free = shutil.disk_usage(folder).free
    faults = [] if free >= MIN_FREE_BYTES else [f"only {free / 1e6:.0f} MB free in {folder}"]
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"kdyolo")
    except OSError as error:
        faults.append(f"cannot write in {folder}: {error.strerror}")
    return {"folder": str(folder), "free_gb": round(free / 1e9, 1), "writable": not faults}, faults


def _render(console: Console, report: dict[str, Any], faults: list[str]) -> None:
    from kdyolo.cli.show import plain

    packages = report["packages"]
    rows = [
        *plain({k: v for k, v in report.items() if k != "packages"}),
        *(p for p in packages.items() if p[0] not in report),
    ]
    console.table("", ("", "value"), rows)
    if not faults:
        console.line("All that kdyolo needs is here.")


def register(app: typer.Typer) -> None:
    """Put the commands of this file into the app."""
    opt.add(
        app,
        init,
        ("kdyolo init", "kdyolo init tomatoes.yaml", "kdyolo run tomatoes -c tomatoes.yaml"),
    )
    opt.add(app, doctor, ("kdyolo doctor", "kdyolo doctor --json"))
