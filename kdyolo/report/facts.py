"""Whatever a stage wrote down about itself, as rows and small tables; it may write down anything."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from kdyolo.report.numbers import plain


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


def arrange(facts: dict[str, Any], leave_out: tuple[str, ...] = ()) -> Facts:
    """Sort facts into rows and tables: a mapping is a table, and so is a mapping or a list of mappings inside one."""
    rows, grids = [], []
    for key, value in facts.items():
        if key in leave_out:
            continue
        title = key.replace("_", " ")
        if isinstance(value, dict) and value:
            grids += _grids(title, value)
        else:
            rows.append((title, plain(value)))
    return Facts(rows, grids)


def _grids(title: str, mapping: dict[str, Any]) -> list[Grid]:
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
    tables = [(title, rest), *((f"{title}, {name.replace('_', ' ')}", part) for name, part in deep.items())]
    return [_grid(name, part) for name, part in tables if part]


def _grid(title: str, mapping: dict[str, Any]) -> Grid:
    inner = [value for value in mapping.values() if isinstance(value, dict)]
    if len(inner) < len(mapping):
        return Grid(title, ["", ""], [[str(key), plain(value)] for key, value in mapping.items()])
    columns = list(dict.fromkeys(str(name) for value in inner for name in value))
    cells = [[plain(value[c]) if c in value else "" for c in columns] for value in inner]
    names = [str(key) for key in mapping]
    if len(columns) > len(names):  # pages scroll down more easily than sideways
        cells = [list(column) for column in zip(*cells, strict=True)]
        names, columns = columns, names
    return Grid(title, ["", *columns], [[name, *row] for name, row in zip(names, cells, strict=True)])
