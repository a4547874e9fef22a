"""How a leaderboard looks: as a page, as Markdown and as CSV, from its plain data."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import pandas as pd
from markupsafe import Markup, escape

from kdyolo.language import ENGLISH, Language, mark
from kdyolo.report import gfm, leaderboard_words
from kdyolo.report.arms import name as arm_name
from kdyolo.report.numbers import NA, duration, fraction, number, plain, shorten, signed
from kdyolo.report.pages import environment
from kdyolo.report.pareto import Point, pareto_plot
from kdyolo.report.ranking import BEST, Row, Table
from kdyolo.text import neutralise

COLUMNS = {
    "rank": mark("Place"),
    "name": mark("Run"),
    "method": mark("Method"),
    "share": mark("Labels kept"),
    "student": mark("Student mAP50-95"),
    "behind": mark("Minus the best (points)"),
    "control": mark("Control mAP50-95"),
    "gain": mark("Student - control (points)"),
    "teacher": mark("Teacher mAP50-95"),
    "p50": mark("ms an image"),
    "size": mark("MB"),
    "time": mark("Training"),
}
"""Cell of `cells` -> the head of its column, in English."""

Cell = tuple[str, str]
"""A text, and the lines that stand small beneath it."""

_SHOWN_HASH = 8
_LONGEST_LABEL = 26
_NOTE = mark(
    "Mean of the trainings, their standard deviation and their number. Intervals hold 95 %% of the resamples of the "
    "test images (and of the seeds, where there are several). The best is the best on these very images, which "
    "flatters it a little."
)


def page(data: Mapping[str, Any], tables: Sequence[Table], language: Language = ENGLISH) -> str:
    """The leaderboard as one HTML file; every text of the runs is escaped."""
    shown = [
        _shown(table, of_table, place if len(tables) > 1 else 0, language)
        for place, (table, of_table) in enumerate(zip(tables, data["tables"], strict=True), 1)
    ]
    made = environment(language)
    made.filters |= {"opening": partial(leaderboard_words.opening, language=language), "ticked": _ticked}
    text = made.get_template("leaderboard.html.j2").render(
        left_out=data["left_out"],
        warnings=leaderboard_words.warnings(tables, language),
        tables=shown,
        columns=_heads(language),
        count=sum(len(table.runs) for table in tables),
        note=language.gettext(_NOTE),
    )
    return text.rstrip() + "\n"


def _shown(table: Table, data: Mapping[str, Any], place: int, language: Language) -> dict[str, Any]:
    """A table as the page shows it; `place` is 0 where it is the only one."""
    say = language.gettext
    return {
        "title": say("Table %(place)s", place=place) if place else say("All runs"),
        "data": data,
        "rows": [(row, cells(row, language)) for row in data["rows"]],
        "settings": settings_rows(data, language),
        "plot": _plot(table, data, place or 1, language),
        "folded": any(len(row.runs) > 1 for row in table.rows),
        "notes": [
            (row.name, [leaderboard_words.note(one, language) for one in row.notes]) for row in table.rows if row.notes
        ],
    }


def _heads(language: Language) -> dict[str, str]:
    return {key: language.gettext(head) for key, head in COLUMNS.items()}


def _ticked(text: str) -> Markup:
    """A message with its commands, which stand between backticks, as code."""
    return Markup(re.sub("`([^`]*)`", r"<code>\1</code>", str(escape(text))))  # noqa: S704 - escaped just before


def cells(row: Mapping[str, Any], language: Language = ENGLISH) -> dict[str, Cell]:
    """A row as texts, in the order of `COLUMNS`."""
    missing, standing = language.word(NA), row["standing"] and language.word(row["standing"])
    verdict = language.word(row["verdict"]) if row["verdict"] in leaderboard_words.VERDICTS else row["verdict"]
    best = row["standing"] == BEST
    made = {
        "rank": (str(row["rank"]), ""),
        "name": (row["name"], _origin(row, language)),
        "method": (
            row["method"] or row["scheme"],
            ", ".join((row["model"] or missing, row["scheme"], row["labels"] or missing)),
        ),
        "share": (language.digits(f"{100 * row['labels_fraction']:.3g} %"), ""),
        **{arm: _score(row["mAP50_95"][arm], language) for arm in ("student", "control", "teacher")},
        "behind": ("0", standing) if best else _interval(row["to_best"], standing, language),
        "gain": _interval(row["gain"], verdict, language),
        "p50": (number(row["p50_ms"]["student"], 1, language), ""),
        "size": (number(row["size_mb"]["student"], 1, language), ""),
        "time": (duration(row["train_seconds"]["student"], language), ""),
    }
    return {key: made[key] for key in COLUMNS}


def _origin(row: Mapping[str, Any], language: Language) -> str:
    """Seeds and data of a row."""
    seeds, data = ", ".join(map(str, row["seeds"])), row["dataset_sha256"][:_SHOWN_HASH] or language.word(NA)
    return language.ngettext(
        "seed %(seeds)s, data %(data)s", "seeds %(seeds)s, data %(data)s", len(row["seeds"]), seeds=seeds, data=data
    )


def joined(row: Mapping[str, Any], language: Language = ENGLISH) -> list[str]:
    """The same where nothing can stand beneath."""
    made = cells(row, language).values()
    return [f"{text} ({', '.join(small.splitlines())})" if small else text for text, small in made]


def _score(score: Mapping[str, Any] | None, language: Language) -> Cell:
    if score is None:
        return language.word(NA), ""
    spread = "" if score["spread"] is None else f"± {fraction(score['spread'], language)} ({score['trainings']})"
    return fraction(score["mean"], language), spread


def _interval(found: Mapping[str, float] | None, what: str | None, language: Language) -> Cell:
    if not found:
        return language.word(NA), what or ""
    estimate, low, high = (signed(100 * found[name], 2, language) for name in ("estimate", "low", "high"))
    return estimate, "\n".join(
        (language.gettext("%(low)s to %(high)s", low=low, high=high), *((what,) if what else ()))
    )


def settings_rows(table: Mapping[str, Any], language: Language = ENGLISH) -> tuple[list[str], list[list[str]]]:
    """Head and rows of the settings that are not the same everywhere, a row for each of the table."""
    keys = list(table["settings"])
    names = [row["name"] for row in table["rows"]]
    body = [[name, *(plain(table["settings"][key][name], language) for key in keys)] for name in names]
    return [language.gettext("Run"), *keys], body


def _plot(table: Table, data: Mapping[str, Any], place: int, language: Language) -> Markup | None:
    """mAP50-95 against time an image, or where that cannot be compared against file size."""
    fast = data["speed"]["comparable"] and all(row["p50_ms"]["student"] for row in data["rows"])
    found = list(_points(table.rows, data["rows"], "p50_ms" if fast else "size_mb", language))
    if not found:
        return None
    say = language.gettext
    if fast:
        title = say("Accuracy against time, table %(place)s", place=place)
        axis, unit = say("median time of an image"), "ms"
    else:
        title = say("Accuracy against file size, table %(place)s", place=place)
        axis, unit = say("file size"), "MB"
    return Markup(pareto_plot(found, title, axis, unit, language))  # noqa: S704 - drawn by this package


def _points(rows: Sequence[Row], data: Sequence[Mapping[str, Any]], cost: str, language: Language) -> list[Point]:
    """Students by rank, then every different teacher and control once."""
    found: dict[tuple[Any, ...], Point] = {}
    for arm in ("student", "teacher", "control"):
        for row, of_row in zip(rows, data, strict=True):
            score, at = row.scores.get(arm), of_row[cost][arm]
            if score is None or not at:
                continue
            model = row.runs[0].arms[arm].model
            same = (arm, row.rank) if arm == "student" else (arm, model, score)
            once = f"{arm_name(arm, language)} {model} ({row.rank})"
            name = f"{row.rank} {row.runs[0].name}" if arm == "student" else once
            found.setdefault(same, Point(arm, shorten(name, _LONGEST_LABEL), at, score.mean, score.spread))
    return list(found.values())


def markdown(data: Mapping[str, Any], tables: Sequence[Table], language: Language = ENGLISH) -> str:
    """The leaderboard as GitHub-flavoured Markdown; every text of the runs is escaped."""
    shown = [
        {
            "data": of_table,
            "opening": leaderboard_words.opening(of_table, language),
            "rows": [joined(row, language) for row in of_table["rows"]],
            "settings": settings_rows(of_table, language),
            "notes": [(row.name, leaderboard_words.notes(row.notes, language)) for row in table.rows if row.notes],
        }
        for table, of_table in zip(tables, data["tables"], strict=True)
    ]
    context = {
        "left_out": data["left_out"],
        "warnings": leaderboard_words.warnings(tables, language),
        "tables": shown,
        "head": list(_heads(language).values()),
        "note": language.gettext(_NOTE),
    }
    return gfm.render("leaderboard.md.j2", context, language)


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
