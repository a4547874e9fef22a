"""The `kdyolo` command: its app, and the one place where errors become messages and exit codes."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from types import FrameType
from typing import Annotated, NoReturn

import typer

from kdyolo.cli import (
    audit,
    benchmark,
    chain,
    console,
    data,
    look,
    methods,
    options,
    preflight,
    report,
    setup,
    stage,
    watch,
)
from kdyolo.errors import Interrupted, KdyoloError

_BROKEN_PIPE = 141  # what a shell shows for a process that wrote to a closed pipe

app = typer.Typer(
    name="kdyolo",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
chain.register(app)
audit.register(app)
stage.register(app)
data.register(app)
look.register(app)
watch.register(app)
report.register(app)
methods.register(app)
preflight.register(app)
benchmark.register(app)
setup.register(app)


def _print_version(asked: bool) -> None:
    if asked:
        import kdyolo

        typer.echo(f"kdyolo {kdyolo.__version__}")
        raise typer.Exit


@app.callback(
    help=options.examples("kdyolo demo", "kdyolo run DATASET --run runs/first")
    + "Distil a large YOLOv5 detector into a small one, and know whether it helped."
)
def _root(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Show the version and exit.")
    ] = False,
) -> None:
    """Nothing of its own: `kdyolo` is its commands."""


def main() -> NoReturn:
    """Entry point of the `kdyolo` command; never shows a traceback unless ``KDYOLO_DEBUG=1``."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, ValueError):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr] # names may hold any byte
    signal.signal(signal.SIGTERM, _stop)
    sys.exit(_run())


def _run() -> int:
    stdout = sys.stdout
    try:
        app(prog_name="kdyolo")
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        # typer answers a closed pipe with 1 and puts another stream in place of stdout.
        return _BROKEN_PIPE if sys.stdout is not stdout or not _flushed() else code
    except BrokenPipeError:
        _flushed()
        return _BROKEN_PIPE
    except KeyboardInterrupt:
        return Interrupted.exit_code
    except KdyoloError as error:
        return _report(error, error.message, error.hint, error.exit_code)
    except Exception as error:
        message = f"Unexpected {type(error).__name__}: {error}"
        return _report(error, message, "KDYOLO_DEBUG=1 shows where; please report it.", 1)
    return 0


def _report(error: Exception, message: str, hint: str, code: int) -> int:
    view = console.current()
    view.finish()
    if os.environ.get("KDYOLO_DEBUG", "0") not in ("", "0"):
        import traceback

        traceback.print_exception(error)
    with contextlib.suppress(BrokenPipeError):
        view.error(message, hint)
        if view.json:
            print(json.dumps({"error": message, "hint": hint, "exit_code": code}), flush=True)
    return code


def _flushed() -> bool:
    """Flush stdout; if nobody reads it any more, point it elsewhere so that Python's own last flush stays silent."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return False
    return True


def _stop(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
