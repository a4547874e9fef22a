"""What a leaderboard says in sentences: who is best, what cannot be compared, and why something is unknown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kdyolo.language import ENGLISH, Language, mark
from kdyolo.report.numbers import number, plain, points
from kdyolo.report.ranking import BELOW, EVEN, Note, Table

VERDICTS = {mark("gain"), mark("loss"), mark("no gain"), mark("inconclusive")}
"""Names of verdicts, see `kdyolo.evaluation.verdicts`."""

_NOTES = {
    "same_student": mark("the very student of %(value)s"),
    "first_seed": mark("Against the best, a run of several seeds stands with its first one."),
    "not_measured": mark("mAP50-95 of its student could not be measured."),
}
_CONDITIONS = {
    "device": mark("device"),
    "processor": mark("processor"),
    "platform": mark("platform"),
    "precision": mark("precision"),
    "threads": mark("threads"),
}


def opening(table: Mapping[str, Any], language: Language = ENGLISH) -> str:
    """Which row is the best, and how many others may be as good, in a sentence.

    Args:
        table: Of ``leaderboard.json``.
        language: Of the sentence.
    """
    best, others = table["rows"][0], table["rows"][1:]
    score = best["mAP50_95"]["student"]
    if score is None:
        return language.gettext("No student could be measured.")
    first = language.gettext(
        "%(label)s has the best student: %(points)s mAP50-95 points on %(images)s test images",
        label=_label(best, language),
        points=points(score["mean"], language),
        images=number(table["images"], 0, language),
    )
    standings = [row["standing"] for row in others]
    if even := standings.count(EVEN):
        second = language.ngettext(
            "%(even)s of the %(others)s others is indistinguishable from the best",
            "%(even)s of the %(others)s others are indistinguishable from the best",
            even,
            even=even,
            others=len(others),
        )
        return f"{first}; {second}."
    second = language.gettext("all others are below it")
    return f"{first}; {second}." if others and set(standings) == {BELOW} else f"{first}."


def _label(row: Mapping[str, Any], language: Language) -> str:
    """`Row.label` in a language."""
    name, seeds = row["runs"][0]["name"], len(row["runs"])
    return language.gettext("%(name)s (%(seeds)s seeds)", name=name, seeds=seeds) if seeds > 1 else name


def warnings(tables: Sequence[Table], language: Language = ENGLISH) -> list[str]:
    """What must not be compared across tables or within one."""
    say, found = language.gettext, []
    if len({table.runs[0].test for table in tables}) > 1:
        found.append(
            say(
                "The runs were measured on different test splits. A figure of one table says nothing about a figure of "
                "another: to compare them, give all runs the same split (`--from` a run's splits.csv)."
            )
        )
    elif len(tables) > 1:
        found.append(
            say("The runs were measured with different score or NMS thresholds, so they stand in different tables.")
        )
    for place, table in enumerate(tables, 1):
        if table.speed_differs:
            why = speed(table.speed_differs, language)
            several = say("Table %(place)s: speed is n/a, for %(why)s.", place=place, why=why)
            found.append(several if len(tables) > 1 else say("Speed is n/a, for %(why)s.", why=why))
    return found


def speed(differs: Mapping[str, Any], language: Language = ENGLISH) -> str:
    """Why milliseconds cannot be compared, as the end of a sentence.

    Args:
        differs: As `ranking.speed_differs` returns it, not empty.
        language: Of the words.
    """
    if "conditions" in differs:
        what = "; ".join(
            f"{language.word(_CONDITIONS[name])} {' / '.join(plain(value, language) for value in values)}"
            for name, values in differs["conditions"].items()
        )
        return language.gettext("it was not measured under the same conditions (%(what)s)", what=what)
    taken = {name: number(differs[name], 1, language) for name in ("least", "most")}
    return language.gettext(
        "%(model)s at %(imgsz)s px took %(least)s ms an image in %(first)s and %(most)s ms in %(last)s, so a machine "
        "was busy, or they are not the same",
        **{**differs, **taken, "imgsz": plain(differs["imgsz"], language)},
    )


def note(found: Note, language: Language = ENGLISH) -> tuple[str, str]:
    """A note on a row, and the message of an error that belongs after it, which is in English; often empty."""
    if found.of == "no_interval":
        return language.gettext("An interval is missing:"), found.value
    return language.gettext(_NOTES[found.of], value=found.value), ""


def notes(found: Sequence[Note], language: Language = ENGLISH) -> str:
    """All notes on a row one after the other."""
    return " ".join(part for one in found for part in note(one, language) if part)
