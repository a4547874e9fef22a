"""How `kdyolo report` shows several runs side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kdyolo.cli.console import Console
from kdyolo.language import Lang

_COLUMNS = ("rank", "name", "student", "behind", "control", "gain", "p50", "size")


def several(
    console: Console,
    runs: Sequence[Path],
    out: Path | None,
    *,
    force: bool = False,
    skip_unfinished: bool = False,
    lang: Lang | None = None,
) -> None:
    """Build the leaderboard and show its tables. Arguments and errors as `kdyolo.api.leaderboard`."""
    from kdyolo import api
    from kdyolo.report.leaderboard import default_folder

    data = api.leaderboard(runs, out, force=force, skip_unfinished=skip_unfinished, lang=lang, progress=console)
    folder = default_folder(runs) if out is None else out
    files = [str(folder / f"leaderboard.{kind}") for kind in ("html", "md", "csv", "json")]
    console.result({"files": files, **data}, lambda: _render(console, data, files))


def _render(console: Console, data: dict[str, Any], files: Sequence[str]) -> None:
    from kdyolo.report.leaderboard_page import COLUMNS, cells
    from kdyolo.report.leaderboard_words import opening

    for place, table in enumerate(data["tables"], 1):
        title = f"Table {place}, {table['images']} test images" if len(data["tables"]) > 1 else ""
        rows = [["\n".join(filter(None, cells(row)[key])) for key in _COLUMNS] for row in table["rows"]]
        console.table(title, [COLUMNS[key] for key in _COLUMNS], rows, right="0 2 3 4 5 6 7")
        console.line(opening(table))
    for file in files:
        console.line(f"Written: {file}")
