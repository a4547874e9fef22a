"""The epochs of a training that may be running: its table as far as it is whole, its pace, its place in the epoch."""

from __future__ import annotations

import contextlib
import csv
import itertools
import math
import re
import statistics
from dataclasses import dataclass
from pathlib import Path

from kdyolo.errors import ConfigError
from kdyolo.yamlio import load_mapping

MAP, MAP50 = "metrics/mAP50-95(B)", "metrics/mAP50(B)"
_LOSSES = ("box_loss", "cls_loss", "dfl_loss")
_RECENT = 5
_LOG_TAIL = 8192
# What ultralytics draws into the log while it trains: epoch/epochs, figures, then 97% ---- batch/batches.
_BAR = re.compile(r"(\d+)/(\d+) [^\r\n]*?:\s*\d+%[^\r\n]*?\s(\d+)/(\d+)")


@dataclass(frozen=True)
class Epochs:
    """One training so far.

    Attributes:
        folder: Where it lies.
        rows: Column of ``results.csv`` -> value, an epoch each; a row that is still being written is left out.
        planned: Epochs it is to take; None where its settings cannot be read.
        changed: When a row came last (seconds since 1970); None before the first.
        begun: When it, or its last attempt, began (seconds since 1970).
    """

    folder: Path
    rows: tuple[dict[str, float], ...]
    planned: int | None
    changed: float | None
    begun: float

    def column(self, name: str) -> list[float]:
        """Values of a column; NaN where it has none."""
        return [row.get(name, math.nan) for row in self.rows]

    def loss(self, part: str) -> list[float]:
        """Sum of box, class and DFL loss of ``train`` or ``val``."""
        columns = [self.column(f"{part}/{name}") for name in _LOSSES]
        return [sum(values) for values in zip(*columns, strict=True)]

    @property
    def best(self) -> tuple[int, float] | None:
        """Epoch and mAP50-95 on validation of the best one so far; None before the first."""
        scores = [(score, -number) for number, score in enumerate(self.column(MAP), 1) if math.isfinite(score)]
        return None if not scores else (-max(scores)[1], max(scores)[0])

    @property
    def pace(self) -> float | None:
        """Seconds an epoch: the median of the last ones; None before the first."""
        ends = [0.0, *self.column("time")]
        taken = [later - earlier for earlier, later in itertools.pairwise(ends) if later > earlier]
        return statistics.median(taken[-_RECENT:]) if taken else None

    def left(self, now: float) -> float | None:
        """Seconds to its end; None before its first epoch is over. Fewer if it may stop early.

        Args:
            now: Seconds since 1970.
        """
        if self.pace is None or self.planned is None or self.changed is None:
            return None
        spent = min(max(now - max(self.changed, self.begun), 0.0), self.pace)
        return max((self.planned - len(self.rows)) * self.pace - spent, 0.0)


def read_epochs(folder: Path) -> Epochs | None:
    """The training in a folder; None where none has begun."""
    settings, table = folder / "args.yaml", folder / "results.csv"
    began = [mtime for file in (settings, table) if (mtime := modified(file)) is not None]
    if not began:
        return None
    rows = _rows(table)
    planned: int | None = None
    with contextlib.suppress(ConfigError, KeyError, TypeError, ValueError, OverflowError):
        planned = int(load_mapping(settings)["epochs"])
    return Epochs(folder, tuple(rows), planned, modified(table) if rows else None, began[0])


def trainings(folder: Path) -> list[Epochs]:
    """All trainings below the folder of a stage, in the order they began."""
    places = {path.parent for depth in ("", "*/", "*/*/") for path in folder.glob(f"{depth}args.yaml")}
    places |= {path.parent for depth in ("", "*/", "*/*/") for path in folder.glob(f"{depth}results.csv")}
    found = [epochs for place in sorted(places) if (epochs := read_epochs(place)) is not None]
    return sorted(found, key=lambda epochs: epochs.begun)


def batch_of(log: Path, epochs: Epochs) -> tuple[int, int] | None:
    """Batches done and in all of the epoch that runs, as the end of the log says; None where it does not."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, 2) - _LOG_TAIL))
            tail = file.read().decode("utf-8", "replace")
    except OSError:
        return None
    for epoch, planned, done, batches in reversed(_BAR.findall(tail)):
        if int(epoch) == len(epochs.rows) + 1 and int(planned) == epochs.planned and int(done) <= int(batches):
            return int(done), int(batches)
    return None


def modified(path: Path) -> float | None:
    """When a file was written last (seconds since 1970); None where there is none."""
    try:
        return path.stat().st_mtime
    except OSError:
        return None


def _rows(table: Path) -> list[dict[str, float]]:
    """Rows up to the first that is not whole: it may be read while it is written."""
    try:
        text = table.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    whole = text[: text.rfind("\n") + 1]
    lines = csv.reader(whole.splitlines(), skipinitialspace=True)
    rows: list[dict[str, float]] = []
    with contextlib.suppress(ValueError, csv.Error):
        head = next(lines, [])
        for line in lines:
            rows.append({name.strip(): float(cell) for name, cell in zip(head, line, strict=True)})
    return rows
