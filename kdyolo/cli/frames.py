"""How a run at one moment looks in a terminal, as a picture of 80 columns or as plain lines."""

from __future__ import annotations

import datetime
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.columns import Columns
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from kdyolo.cli.console import clean
from kdyolo.cli.plotting import Curve, plot
from kdyolo.pipeline.epochs import MAP, MAP50, Epochs
from kdyolo.pipeline.frame import Frame, Stage, Training
from kdyolo.report.numbers import duration, fraction, number

if TYPE_CHECKING:
    from rich.console import ConsoleOptions

_LOOK = {
    "done": ("✓", "v", "green"),
    "running": (">", ">", "bold cyan"),
    "waiting": ("·", ".", "dim"),
    "stopped": ("■", "#", "yellow"),
    "failed": ("✗", "x", "bold red"),
}
"""State of a stage -> its mark, its mark in ASCII, and its style."""
_STUDENT, _CONTROL, _OTHER = "green", "yellow", "cyan"
_WIDEST, _PLAIN = 100, 80
_PLOTS = (50, 24)
"""Least columns and lines of a terminal for plots beside the figures."""
_SILENT = 600.0


def render(frame: Frame, console: Console) -> RenderableType:
    """The whole picture, at most as wide as the terminal."""
    width = min(console.width, _WIDEST) if console.is_terminal else _PLAIN
    simple = not console.encoding.lower().startswith("utf")
    parts: list[RenderableType] = [_text(describe(frame), "bold")]
    if frame.stages:
        parts += [Columns([_stage(stage, simple) for stage in frame.stages], width=min(25, width - 1)), ""]
    if frame.training is not None:
        roomy = not console.is_terminal or (width >= _PLOTS[0] and console.height >= _PLOTS[1])
        parts += _training(frame.training, width, simple, roomy)
    parts += [_text(line) for line in _endings(frame)]
    return _Narrow(Group(*parts), width)


class _Narrow:
    """Something drawn at most this wide."""

    def __init__(self, inner: RenderableType, width: int) -> None:
        self.inner, self.width = inner, width

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        yield from console.render(self.inner, options.update_width(self.width))  # type: ignore[misc]


def describe(frame: Frame) -> str:
    """What the run as a whole does, in a sentence."""
    busy = next((stage for stage in frame.stages if stage.state in ("running", "stopped", "failed")), None)
    during = f" during '{busy.name}'" if busy else ""
    match frame.state:
        case "missing":
            return f"There is no run at {frame.run} yet; waiting for one."
        case "running":
            holder = frame.holder or {}
            return (
                f"{frame.run.name} is running{during}, process {holder.get('pid', '?')} on {holder.get('host', '?')}."
            )
        case "finished":
            return f"{frame.run.name} is finished."
        case "failed":
            return f"{frame.run.name} failed{during}: {busy.error if busy else ''}"
    return f"{frame.run.name} has stopped{during}; nobody works on it."


def news(before: Frame | None, frame: Frame) -> Iterator[str]:
    """Lines for what was not so in the frame before."""
    if before is None or (before.state, before.run) != (frame.state, frame.run):
        yield describe(frame)
    states = {} if before is None else {stage.name: stage.state for stage in before.stages}
    for stage in frame.stages:
        if stage.state not in (states.get(stage.name), "waiting"):
            yield f"{stage.name}: {stage.state}" + (f", {duration(stage.seconds)}" if stage.state == "done" else "")
    if frame.training is not None and frame.training.epochs.rows and _progress(before) != _progress(frame):
        yield f"{_title(frame.training)}: " + "; ".join(_figures(frame.training))
    if before is None or before.state != frame.state:
        yield from _endings(frame)


def _progress(frame: Frame | None) -> tuple[str, int] | None:
    if frame is None or frame.training is None:
        return None
    return str(frame.training.epochs.folder), len(frame.training.epochs.rows)


def _stage(stage: Stage, simple: bool) -> Text:
    mark, ascii_mark, style = _LOOK[stage.state]
    took = f" {datetime.timedelta(seconds=round(stage.seconds))}" if stage.seconds else ""
    text = _text(f"{ascii_mark if simple else mark} {stage.name}", style)
    return text.append_text(_text(took if stage.state != "waiting" else "", "dim"))


def _training(training: Training, width: int, simple: bool, roomy: bool) -> list[RenderableType]:
    epochs = training.epochs
    planned = max(epochs.planned or 0, len(epochs.rows), 1)
    parts: list[RenderableType] = [_text(f"{_title(training)}: {_place(training)}", "bold")]
    if not simple:
        full = min(round(_completed(training) / planned * width), width)
        parts.append(Text("━" * full, "green").append("─" * (width - full), "dim"))
    parts += [_text(line) for line in _figures(training)]
    if not simple and roomy and len(epochs.rows) > 1:
        parts.append(_plots(training, planned, width))
    return parts


def _plots(training: Training, planned: int, width: int) -> Table:
    epochs, control = training.epochs, training.control
    own = {"student": _STUDENT, "baseline": _CONTROL}.get(training.stage.rpartition("/")[2], _OTHER)
    scores: list[Curve] = [] if control is None else [(_CONTROL, False, control.column(MAP))]
    losses: list[Curve] = [("magenta", False, epochs.loss("val")), (own, True, epochs.loss("train"))]
    scores.append((own, True, epochs.column(MAP)))
    grid = Table.grid(padding=(0, 2))
    each = (width - 2) // 2
    title = "mAP50-95 on validation" + ("; dots: control" if control else "")
    grid.add_row(plot(title, scores, planned, each), plot("loss; dots: on validation", losses, planned, each))
    return grid


def _title(training: Training) -> str:
    return f"{training.stage}{f' ({training.part})' if training.part else ''}"


def _place(training: Training) -> str:
    epochs, batch = training.epochs, training.batch
    done = len(epochs.rows)
    if epochs.planned == done:
        return f"all {done} epochs done"
    where = f"{done} of {number(epochs.planned)} epochs done"
    return f"{where}, batch {batch[0]} of {batch[1]} of the next" if batch else where


def _completed(training: Training) -> float:
    batch = training.batch
    return len(training.epochs.rows) + (batch[0] / batch[1] if batch and batch[1] else 0.0)


def _figures(training: Training) -> list[str]:
    """What the last epoch gave, how the control stood then, and how long the rest takes."""
    epochs = training.epochs
    if not epochs.rows:
        return ["The first epoch is not over yet."]
    last = epochs.rows[-1]
    best = (
        "no epoch has a score" if epochs.best is None else f"best {fraction(epochs.best[1])} in epoch {epochs.best[0]}"
    )
    loss = epochs.loss("train")[-1]
    lines = [
        f"epoch {len(epochs.rows)}: mAP50-95 {_value(last, MAP)}, mAP50 {_value(last, MAP50)}, {best}, "
        f"loss {number(loss, 2)}"
    ]
    if not math.isfinite(loss):
        lines.append("The loss is no number any more: the training will stop, or has learned nothing.")
    if against := _against(epochs, training.control):
        lines.append(against)
    if training.left:
        lines.append(f"{duration(epochs.pace)} an epoch, {duration(training.left)} left of this training")
    return lines


def _against(epochs: Epochs, control: Epochs | None) -> str:
    """Student and control after the same epoch."""
    if control is None or len(control.rows) < len(epochs.rows):
        return ""
    epoch = len(epochs.rows)
    mine, theirs = epochs.column(MAP)[-1], control.column(MAP)[epoch - 1]
    if not math.isfinite(mine - theirs):
        return ""
    return (
        f"control in epoch {epoch}: mAP50-95 {fraction(theirs)}, student {100 * (mine - theirs):+.1f} points "
        "(on validation, one training each: no proof)"
    )


def _endings(frame: Frame) -> Iterator[str]:
    """The time left in all, what is odd, and what to do next."""
    if frame.state == "running":
        unknown = f"{', '.join(frame.unknown)} not counted" if frame.unknown else ""
        known = f"about {duration(frame.left)} left of the whole run" if frame.left is not None else ""
        if known:
            yield "; ".join(filter(None, (known, unknown)))
        if frame.silent is not None and frame.silent > _SILENT:
            yield f"No file has changed for {duration(frame.silent)}: is that process still at work?"
    if frame.verdict:
        yield frame.verdict
    if frame.report is not None and frame.state == "finished":
        yield f"Report: open {frame.report}"
    if frame.state in ("stopped", "failed"):
        yield f"To go on: {frame.next}"


def _value(row: dict[str, float], name: str) -> str:
    return fraction(row.get(name))


def _text(text: str, style: str = "") -> Text:
    return Text.from_markup(clean(text), style=style)
