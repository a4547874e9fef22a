"""Whatever a stage wrote down about itself, as rows and small tables; it may write down anything."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from kdyolo.language import ENGLISH, Language, mark
from kdyolo.report.numbers import plain

KNOWN = (
    *(mark("images"), mark("boxes"), mark("background"), mark("quarantined"), mark("labelled"), mark("groups")),
    *(mark("boxes per class"), mark("classes"), mark("splits"), mark("thresholds"), mark("source"), mark("format")),
    *(
        mark("errors"),
        mark("warnings"),
        mark("seed"),
        mark("split seed"),
        mark("dataset sha256"),
        mark("teacher sha256"),
    ),
    *(mark("teacher val"), mark("per class"), mark("precision"), mark("recall"), mark("confidence")),
    *(mark("best threshold"), mark("model"), mark("labels"), mark("epochs"), mark("best epoch"), mark("val mAP50 95")),
    *(mark("optimizer steps"), mark("train seconds"), mark("initial sha256"), mark("labels sha256")),
    *(mark("label boxes"), mark("cached"), mark("device"), mark("threads"), mark("class map"), mark("packages")),
    *(mark("platform"), mark("cpu"), mark("git commit"), mark("stages"), mark("status"), mark("key")),
    *(mark("sequence"), mark("seconds"), mark("train"), mark("val"), mark("test"), mark("split"), mark("teacher")),
    *(mark("pseudo"), mark("student"), mark("baseline"), mark("longer"), mark("compare"), mark("adopted from")),
)
"""Names that facts of every run have; of others nobody knows what they mean."""


@dataclass(frozen=True)
class Grid:
    """A table: `head` holds the names of the columns, each row its own name first."""

    title: str
    head: list[str]
    rows: list[list[str]]


@dataclass(frozen=True)
class Facts:
    """Single facts as (name, value), and those that form tables."""

    rows: list[tuple[str, str]]
    grids: list[Grid]


def arrange(
    facts: dict[str, Any],
    leave_out: tuple[str, ...] = (),
    language: Language = ENGLISH,
    keep: frozenset[str] = frozenset(),
) -> Facts:
    """Sort facts into rows and tables: a mapping is a table, and so is a mapping or a list of mappings inside one.

    Args:
        facts: Name -> value.
        leave_out: Names that are not shown.
        language: Of numbers, and of the names that every run has.
        keep: Names that are never translated: those of classes.
    """
    rows, grids = [], []
    call = _Names(language, keep)
    for key, value in facts.items():
        if key in leave_out:
            continue
        title = call(key)
        if isinstance(value, dict) and value:
            grids += _grids(title, value, call)
        else:
            rows.append((title, plain(value, language)))
    return Facts(rows, grids)


@dataclass(frozen=True)
class _Names:
    """What facts are called."""

    language: Language
    keep: frozenset[str]

    def __call__(self, key: str) -> str:
        words = key.replace("_", " ")
        return self.language.word(words) if words in KNOWN and key not in self.keep else words

    def inside(self, key: Any) -> str:
        """Of a row or column, which keeps the spelling of the file where the name is not known."""
        found = str(key)
        return self(found) if self.language != ENGLISH and found.replace("_", " ") in KNOWN else found


def _grids(title: str, mapping: dict[str, Any], call: _Names) -> list[Grid]:
    """A table, and one for each part that is a table itself."""
    rest, deep = dict(mapping), {}
    for name, value in mapping.items():
        if isinstance(value, list) and value and all(isinstance(row, dict) and row for row in value):
            deep[name] = {str(next(iter(row.values()))): dict(list(row.items())[1:]) for row in value}
            del rest[name]
        elif isinstance(value, dict):
            parts = {key: part for key, part in value.items() if isinstance(part, dict) and part}
            rest[name] = {key: part for key, part in value.items() if key not in parts}
            for key, part in parts.items():
                deep.setdefault(key, {})[name] = part
    tables = [(title, rest), *((f"{title}, {call(name)}", part) for name, part in deep.items())]
    return [_grid(name, part, call) for name, part in tables if part]


def _grid(title: str, mapping: dict[str, Any], call: _Names) -> Grid:
    language = call.language
    inner = [value for value in mapping.values() if isinstance(value, dict)]
    if len(inner) < len(mapping):
        return Grid(title, ["", ""], [[call.inside(key), plain(value, language)] for key, value in mapping.items()])
    columns = list(dict.fromkeys(str(name) for value in inner for name in value))
    cells = [[plain(value[c], language) if c in value else "" for c in columns] for value in inner]
    names = [call.inside(key) for key in mapping]
    heads = [call.inside(column) for column in columns]
    if len(columns) > len(names):  # pages scroll down more easily than sideways
        cells = [list(column) for column in zip(*cells, strict=True)]
        names, heads = heads, names
    return Grid(title, ["", *heads], [[name, *row] for name, row in zip(names, cells, strict=True)])
