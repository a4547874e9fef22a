"""The one place that writes to the terminal: data to stdout, messages and progress to stderr."""

from __future__ import annotations

import datetime
import functools
import json
import time
import unicodedata
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from kdyolo.text import without_escapes

if TYPE_CHECKING:
    import rich.console
    import rich.progress

SECONDS_BETWEEN_LINES = 10.0
_PLAIN_WIDTH = 120  # off a terminal, where rich would assume 80 and cut tables
_BIDI = frozenset("\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def clean(text: object) -> str:
    """Text without what would move the cursor, colour the terminal or turn the writing direction; markup escaped."""
    from rich.markup import escape

    kept = (
        c
        for c in without_escapes(str(text))
        if c == "\n" or not (unicodedata.category(c) in ("Cc", "Cs") or c in _BIDI)
    )
    return escape("".join(kept))


class Console:
    """Output of one command.

    Args:
        json: stdout gets one JSON object and nothing else.
        quiet: Only errors are shown.
    """

    def __init__(self, *, json: bool = False, quiet: bool = False) -> None:
        self.json = json
        self.quiet = quiet

    @functools.cached_property
    def stdout(self) -> rich.console.Console:
        """Where data goes."""
        return _rich(stderr=False)

    @functools.cached_property
    def stderr(self) -> rich.console.Console:
        """Where messages go."""
        return _rich(stderr=True)

    def result(self, data: dict[str, Any] | list[dict[str, Any]], render: Callable[[], None]) -> None:
        """Show what the command found: as JSON, one object or list, or by `render`, which draws on `stdout`."""
        if self.json:
            print(json.dumps(data, ensure_ascii=True, default=str), flush=True)
        elif not self.quiet:
            render()

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[object]], right: str = "") -> None:
        """Draw a table on stdout; columns named in `right` (space-separated numbers) are right-aligned."""
        from rich import box
        from rich.table import Table

        table = Table(title=clean(title) or None, title_justify="left", box=box.SIMPLE_HEAD)
        numeric = {int(number) for number in right.split()}
        for index, column in enumerate(columns):
            table.add_column(clean(column), justify="right" if index in numeric else "left", overflow="fold")
        for row in rows:
            table.add_row(*(clean(cell) for cell in row))
        self.stdout.print(table)

    def line(self, text: object = "") -> None:
        """One line of data on stdout."""
        self.stdout.print(clean(text), soft_wrap=True)

    def error(self, message: str, hint: str = "") -> None:
        """An error and what to do next, on stderr."""
        self.stderr.print(f"[bold red]Error:[/] {clean(message)}", soft_wrap=True)
        if hint:
            self.stderr.print(clean(hint), soft_wrap=True)

    # From here on a `kdyolo.progress.Progress`.

    def start(self, title: str, total: int) -> None:
        """Open a bar of `total` steps; off a terminal, say that it starts."""
        self.finish()
        self._title, self._total, self._printed, self._first = title, total, time.monotonic(), None
        if self.quiet:
            return
        if self.stderr.is_terminal:
            self._bar = _bar(self.stderr)
            self._bar.start()
            self._task = self._bar.add_task(clean(title), total=total, figures="")
        else:
            self.note(f"{title}: {total} steps")

    def update(self, completed: int, **figures: float | str) -> None:
        """Move the bar; off a terminal, a line now and then, and at the last step."""
        if self.quiet:
            return
        if self._first is None:
            self._first = (completed, time.monotonic())
        if self._bar is not None:
            self._bar.update(self._task, completed=completed, figures=clean(_figures(figures)))
            return
        now = time.monotonic()
        if completed >= self._total or now - self._printed >= SECONDS_BETWEEN_LINES:
            self._printed = now
            self.note(
                f"{self._title}: {completed}/{self._total}  {_figures(figures)}{self._time_left(completed)}".rstrip()
            )

    def _time_left(self, completed: int) -> str:
        """Time left at the pace since the first update, which need not be the first step: trainings resume."""
        steps, since = self._first or (completed, 0.0)
        if not steps < completed < self._total:
            return ""
        seconds = (time.monotonic() - since) / (completed - steps) * (self._total - completed)
        return f"  {datetime.timedelta(seconds=round(seconds))} left"

    def finish(self) -> None:
        """Close the open bar, if any."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def note(self, message: str) -> None:
        """One plain sentence on stderr."""
        if not self.quiet:
            self.stderr.print(clean(message), soft_wrap=True)

    def warn(self, message: str) -> None:
        """One sentence on stderr that the user should act on."""
        if not self.quiet:
            self.stderr.print(f"[yellow]Warning:[/] {clean(message)}", soft_wrap=True)

    _bar: rich.progress.Progress | None = None
    _task: Any = None
    _title, _total, _printed = "", 0, 0.0
    _first: tuple[int, float] | None = None


_current = Console()


def open_console(*, json: bool, quiet: bool) -> Console:
    """The console of the command that starts now; errors will follow its mode."""
    global _current
    _current = Console(json=json, quiet=quiet)
    return _current


def current() -> Console:
    """The console of the running command."""
    return _current


def _rich(*, stderr: bool) -> rich.console.Console:
    import rich.console

    class _Console(rich.console.Console):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError  # rich would exit with 1; `main` knows better

    console = _Console(stderr=stderr, highlight=False)
    if not console.is_terminal:
        console.width = max(console.width, _PLAIN_WIDTH)
    return console


def _bar(console: rich.console.Console) -> rich.progress.Progress:
    from rich import progress

    return progress.Progress(
        progress.TextColumn("{task.description}"),
        progress.BarColumn(bar_width=24),
        progress.MofNCompleteColumn(),
        progress.TimeElapsedColumn(),
        progress.TimeRemainingColumn(),
        progress.TextColumn("{task.fields[figures]}"),
        console=console,
        redirect_stdout=False,  # what libraries print goes to the log, not above the bar
        redirect_stderr=False,
    )


def _figures(figures: dict[str, float | str]) -> str:
    return "  ".join(f"{k} {v if isinstance(v, str) else format(v, '.4g')}" for k, v in figures.items())
