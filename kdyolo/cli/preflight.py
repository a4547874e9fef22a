"""The command that looks before a distillation whether it can work."""

from __future__ import annotations

from typing import Any

import typer

from kdyolo.cli import options as opt
from kdyolo.cli.console import Console, open_console


def preflight(
    *,
    run: opt.Run,
    scheme: opt.Scheme = None,
    self_teacher: opt.SelfTeacher = None,
    generations: opt.Generations = None,
    method: opt.Method = None,
    config: opt.File = None,
    set_: opt.Assignments = None,
    device: opt.Device = None,
    json: opt.Json = False,
    quiet: opt.Quiet = False,
) -> None:
    """Take one batch through student and teacher: does the teacher's word arrive, is it worth it, what will it take?"""
    from kdyolo import api
    from kdyolo.pipeline import resolve
    from kdyolo.storage import RunDir

    console = open_console(json=json, quiet=quiet)
    flags = {**opt.distilling(scheme, self_teacher, generations, method, None), "runtime.device": device}
    folder = RunDir(run)
    found = api.preflight_with(folder, resolve(folder, file=config, assignments=set_ or (), overrides=flags), console)
    console.result(found, lambda: _render(console, found))


def _render(console: Console, found: dict[str, Any]) -> None:
    from kdyolo.report.numbers import duration, number

    rows = [(check["check"], check["level"], check["told"]) for check in found["checks"]]
    console.table(f"{found['scheme']}, {found['method']}", ("what", "", "found"), rows)
    cost = found["forecast"]
    slower = cost["step_seconds"] / cost["plain_step_seconds"]
    console.line(
        f"A step takes {number(cost['step_seconds'], 2)} s, {slower:.2f} times a plain one; the training about "
        f"{duration(cost['seconds'])} and validation, {number(cost['memory_mb'])} MB of memory"
        + (f", {number(cost['cache_mb'], 1)} MB of stored predictions." if cost["cache_mb"] else ".")
    )


def register(app: typer.Typer) -> None:
    """Put the command of this file into the app."""
    shown = (
        "kdyolo preflight --run runs/first --scheme online-teacher",
        "kdyolo preflight --run runs/first --scheme online-teacher --method cwd --json",
    )
    opt.add(app, preflight, shown, "It runs by itself before every distillation; here nothing is trained or written.")
