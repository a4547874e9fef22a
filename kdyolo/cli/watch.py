"""The command that shows a running chain: stages, epochs, curves, and the time that is left."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kdyolo.cli import options as opt
from kdyolo.cli.console import Console, open_console
from kdyolo.errors import StageError

if TYPE_CHECKING:
    from kdyolo.pipeline.frame import Frame
    from kdyolo.storage import RunDir

_IDLE_LOOKS = 2
"""So often in a row nobody must be at work before a watch ends: a chain may go on with its next command."""


def watch(
    run: Annotated[Path, typer.Argument(metavar="RUN", parser=opt.path, help="Run directory; need not exist yet.")],
    interval: Annotated[float, typer.Option(min=0.2, metavar="S", help="Seconds between two looks.")] = 2.0,
    once: Annotated[bool, typer.Option("--once", help="Show the run as it is now, and leave.")] = False,
    json: opt.Json = False,
    quiet: opt.Quiet = False,
) -> None:
    """Watch a run: what its stages do, the curves of its training, student against control, and the time left."""
    from kdyolo.cli.frames import describe, render
    from kdyolo.pipeline.frame import as_data
    from kdyolo.pipeline.watching import look
    from kdyolo.storage import RunDir

    console, folder = open_console(json=json, quiet=quiet), RunDir(run)
    if once or json:
        frame = look(folder)
        console.result(as_data(frame), lambda: console.stdout.print(render(frame, console.stdout)))
        return
    show = _on_terminal if console.stdout.is_terminal and not quiet else _in_lines
    try:
        last = show(console, _looks(folder, interval))
    except KeyboardInterrupt:
        return
    if last.state != "finished":
        if quiet:
            raise StageError(describe(last), f"To go on: `{last.next}`")
        raise typer.Exit(StageError.exit_code)  # the last frame has said it


def _looks(run: RunDir, interval: float) -> Iterator[Frame]:
    """Look again and again, until the run is finished or nobody works on it any more."""
    from kdyolo.pipeline.watching import look

    idle = 0
    while True:
        frame = look(run)
        yield frame
        idle = idle + 1 if frame.state in ("stopped", "failed") else 0
        if frame.state == "finished" or idle >= _IDLE_LOOKS:
            return
        time.sleep(interval)


def _on_terminal(console: Console, frames: Iterator[Frame]) -> Frame:
    """Draw each frame over the one before it; returns the last."""
    from rich.live import Live

    from kdyolo.cli.frames import render

    frame = next(frames)
    with Live(console=console.stdout, auto_refresh=False, redirect_stdout=False, redirect_stderr=False) as live:
        live.update(render(frame, console.stdout), refresh=True)
        for frame in frames:
            live.update(render(frame, console.stdout), refresh=True)
    return frame


def _in_lines(console: Console, frames: Iterator[Frame]) -> Frame:
    """A line for everything that is new; returns the last frame."""
    from kdyolo.cli.frames import news

    before = None
    for frame in frames:
        if not console.quiet:
            for line in news(before, frame):
                console.line(line)
            console.stdout.file.flush()
        before = frame
    assert before is not None
    return before


def register(app: typer.Typer) -> None:
    """Put the command of this file into the app."""
    shown = (
        "kdyolo watch runs/first",
        "kdyolo watch runs/first --interval 10",
        "kdyolo watch runs/first --once --json",
    )
    more = (
        "It reads the files of the run and touches nothing, so it can be started, stopped and repeated at any time. "
        "It ends with 0 when the run is finished or you press Ctrl-C, and with 1 when the run has stopped or failed."
    )
    opt.add(app, watch, shown, more)
