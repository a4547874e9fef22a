"""How a leaderboard looks: as a page, as Markdown and as CSV, from its plain data."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from markupsafe import Markup, escape

from kdyolo.report import gfm
from kdyolo.report.numbers import NA, duration, fraction, number, plain, points, shorten
from kdyolo.report.pages import environment
from kdyolo.report.pareto import Point, pareto_plot
from kdyolo.report.ranking import BELOW, BEST, EVEN, Row, Table
from kdyolo.text import neutralise

COLUMNS = {
    "rank": "Place",
    "name": "Run",
    "method": "Method",
    "share": "Labels kept",
    "student": "Student mAP50-95",
    "behind": "Minus the best (points)",
    "control": "Control mAP50-95",
    "gain": "Student - control (points)",
    "teacher": "Teacher mAP50-95",
    "p50": "ms an image",
    "size": "MB",
    "time": "Training",
}
"""Cell of `cells` -> the head of its column."""

Cell = tuple[str, str]
"""A text, and the lines that stand small beneath it."""

_SHOWN_HASH = 8
_LONGEST_LABEL = 26
_NOTE = (
    "Mean of the trainings, their standard deviation and their number. Intervals hold 95 % of the resamples of the "
    "test images (and of the seeds, where there are several). The best is the best on these very images, which "
    "flatters it a little."
)


def page(data: Mapping[str, Any], tables: Sequence[Table]) -> str:
    """The leaderboard as one HTML file; every text of the runs is escaped."""
    shown = [
        {
            "title": "All runs" if len(tables) == 1 else f"Table {place}",
            "data": of_table,
            "rows": [(row, cells(row)) for row in of_table["rows"]],
            "settings": settings_rows(of_table),
            "plot": _plot(table, of_table, place),
            "folded": any(len(row.runs) > 1 for row in table.rows),
            "notes": [(row["name"], row["note"]) for row in of_table["rows"] if row["note"]],
        }
        for place, (table, of_table) in enumerate(zip(tables, data["tables"], strict=True), 1)
    ]
    made = environment()
    made.filters |= {"opening": opening, "ticked": _ticked}
    count = sum(len(table.runs) for table in tables)
    text = made.get_template("leaderboard.html.j2").render(
        data=data, tables=shown, columns=COLUMNS, count=count, note=_NOTE
    )
    return text.rstrip() + "\n"


def _ticked(text: str) -> Markup:
    """A message with its commands, which stand between backticks, as code."""
    return Markup(re.sub("`([^`]*)`", r"<code>\1</code>", str(escape(text))))  # noqa: S704 - escaped just before


def opening(table: Mapping[str, Any]) -> str:
    """Which row is the best, and how many others may be as good, in a sentence."""
    best, others = table["rows"][0], table["rows"][1:]
    score = best["mAP50_95"]["student"]
    if score is None:
        return "No student could be measured."
    where = f"{points(score['mean'])} mAP50-95 points on {number(table['images'])} test images"
    sentence = f"{best['label']} has the best student: {where}"
    standings = [row["standing"] for row in others]
    if even := standings.count(EVEN):
        return f"{sentence}; {even} of the {len(others)} others {'is' if even == 1 else 'are'} {EVEN}."
    return f"{sentence}; all others are below it." if others and set(standings) == {BELOW} else f"{sentence}."


def cells(row: Mapping[str, Any]) -> dict[str, Cell]:
    """A row as texts, in the order of `COLUMNS`."""
    share, seeds = row["labels_fraction"], ", ".join(map(str, row["seeds"]))
    data = row["dataset_sha256"][:_SHOWN_HASH] or NA
    behind = ("0", row["standing"]) if row["standing"] == BEST else _interval(row["to_best"], row["standing"])
    made = {
        "rank": (str(row["rank"]), ""),
        "name": (row["name"], f"seed{'s' if len(row['seeds']) > 1 else ''} {seeds}, data {data}"),
        "method": (row["method"] or row["scheme"], f"{row['model'] or NA}, {row['scheme']}, {row['labels'] or NA}"),
        "share": (f"{100 * share:.3g} %", ""),
        **{arm: _score(row["mAP50_95"][arm]) for arm in ("student", "control", "teacher")},
        "behind": behind,
        "gain": _interval(row["gain"], row["verdict"]),
        "p50": (number(row["p50_ms"]["student"], 1), ""),
        "size": (number(row["size_mb"]["student"], 1), ""),
        "time": (duration(row["train_seconds"]["student"]), ""),
    }
    return {key: made[key] for key in COLUMNS}


def joined(row: Mapping[str, Any]) -> list[str]:
    """The same where nothing can stand beneath."""
    made = cells(row).values()
    return [f"{text} ({', '.join(small.splitlines())})" if small else text for text, small in made]


def _score(score: Mapping[str, Any] | None) -> Cell:
    if score is None:
        return NA, ""
    spread = "" if score["spread"] is None else f"± {fraction(score['spread'])} ({score['trainings']})"
    return fraction(score["mean"]), spread


def _interval(found: Mapping[str, float] | None, what: str | None) -> Cell:
    if not found:
        return NA, what or ""
    estimate, low, high = (f"{round(100 * found[name], 2) + 0.0:+.2f}" for name in ("estimate", "low", "high"))
    return estimate, "\n".join((f"{low} to {high}", *((what,) if what else ())))


def settings_rows(table: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Head and rows of the settings that are not the same everywhere, a row for each of the table."""
    keys = list(table["settings"])
    names = [row["name"] for row in table["rows"]]
    return ["Run", *keys], [[name, *(plain(table["settings"][key][name]) for key in keys)] for name in names]


def _plot(table: Table, data: Mapping[str, Any], place: int) -> Markup | None:
    """mAP50-95 against time an image, or where that cannot be compared against file size."""
    fast = data["speed"]["comparable"] and all(row["p50_ms"]["student"] for row in data["rows"])
    found = list(_points(table.rows, data["rows"], "p50_ms" if fast else "size_mb"))
    if not found:
        return None
    title = "Accuracy against time" if fast else "Accuracy against file size"
    axis, unit = ("median time of an image", "ms") if fast else ("file size", "MB")
    return Markup(pareto_plot(found, f"{title}, table {place}", axis, unit))  # noqa: S704 - drawn by this package


def _points(rows: Sequence[Row], data: Sequence[Mapping[str, Any]], cost: str) -> list[Point]:
    """Students by rank, then every different teacher and control once."""
    found: dict[tuple[Any, ...], Point] = {}
    for arm in ("student", "teacher", "control"):
        for row, of_row in zip(rows, data, strict=True):
            score, at = row.scores.get(arm), of_row[cost][arm]
            if score is None or not at:
                continue
            model = row.runs[0].arms[arm].model
            same = (arm, row.rank) if arm == "student" else (arm, model, score)
            name = f"{row.rank} {row.runs[0].name}" if arm == "student" else f"{arm} {model} ({row.rank})"
            found.setdefault(same, Point(arm, shorten(name, _LONGEST_LABEL), at, score.mean, score.spread))
    return list(found.values())


def markdown(data: Mapping[str, Any]) -> str:
    """The leaderboard as GitHub-flavoured Markdown; every text of the runs is escaped."""
    shown = [
        {
            "data": table,
            "opening": opening(table),
            "rows": [joined(row) for row in table["rows"]],
            "settings": settings_rows(table),
        }
        for table in data["tables"]
    ]
    return gfm.render(
        "leaderboard.md.j2", {"data": data, "tables": shown, "head": list(COLUMNS.values()), "note": _NOTE}
    )


def csv(data: Mapping[str, Any]) -> str:
    """One line a row of all tables, numbers in full, texts that no spreadsheet runs."""
    rows = [_flat(place, table, row) for place, table in enumerate(data["tables"], 1) for row in table["rows"]]
    table = pd.DataFrame(rows).map(neutralise)
    return str(table.to_csv(index=False, na_rep=NA, lineterminator="\n"))


def _flat(place: int, table: Mapping[str, Any], row: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {
        "table": place,
        "test_sha256": table["test_sha256"],
        "rank": row["rank"],
        "run": row["name"],
    }
    flat |= {k: row[k] for k in ("dataset_sha256", "model", "scheme", "method", "labels", "labels_fraction")}
    flat["seeds"] = " ".join(map(str, row["seeds"]))
    for arm, score in row["mAP50_95"].items():
        flat |= {f"{arm}_{k}": (score or {}).get(v) for k, v in (("mAP50_95", "mean"), ("spread", "spread"))}
    flat["trainings"] = (row["mAP50_95"]["student"] or {}).get("trainings")
    for name in ("gain", "to_best"):
        flat |= {f"{name}_{end}": (row[name] or {}).get(end) for end in ("estimate", "low", "high")}
    flat |= {"verdict": row["verdict"], "standing": row["standing"]}
    for arm in ("student", "teacher"):
        flat |= {f"{arm}_{name}": row[name][arm] for name in ("p50_ms", "size_mb", "train_seconds")}
    return flat
