"""Tables people write or edit, one row an image: read with goodwill, matched with the images, refused with reasons."""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kdyolo.datasets.sample import Sample, printable
from kdyolo.errors import ConfigError
from kdyolo.text import neutralise

_NAME_COLUMNS = ("source", "file")
_DELIMITERS = ",;\t"
_MAX_BYTES = 500_000_000
_SHOWN = 3


@dataclass(frozen=True)
class Row:
    """One row of a table.

    Attributes:
        sample: The image it is about.
        line: Where it stands, counted from 1.
        cells: Column (lower case) -> text, without blanks around it.
    """

    sample: Sample
    line: int
    cells: Mapping[str, str]


def read_rows(path: Path, samples: Sequence[Sample], needed: Sequence[str]) -> list[Row]:
    """Rows of a table, each with its image.

    Images are named in a column ``source`` or ``file`` as in ``splits.csv``: relative to the data set, with forward
    slashes. Commas, semicolons and tabs separate columns; a byte order mark, further columns and empty lines are fine.

    Args:
        path: The table.
        samples: All images of the data set.
        needed: Further columns it must have.

    Raises:
        ConfigError: It cannot be read, lacks a column, or names an image that is not there, or one twice.
    """
    text = _text(path)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text))
    try:
        lines = [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader if any(cells)]
    except csv.Error as error:
        raise ConfigError(f"{path} is no table: {error}.", "Write it as CSV, one row an image.") from error
    header = [cell.lower() for cell in lines[0][1]] if lines else []
    name = next((column for column in _NAME_COLUMNS if column in header), None)
    lacking = [column for column in needed if column not in header]
    if name is None or lacking:
        wanted = ", ".join([" or ".join(_NAME_COLUMNS), *needed])
        raise ConfigError(
            f"{path} lacks a column: its first line is {printable(','.join(header)[:80])!r}.",
            f"It must have the columns {wanted}.",
        )
    rows = [(line, dict(zip(header, cells, strict=False))) for line, cells in lines[1:]]
    return _matched(path, rows, name, samples)


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise ConfigError(f"{path} is larger than {_MAX_BYTES // 10**6} MB.", "Check that it is the file you mean.")
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigError(f"Cannot read {path}: {error.strerror}.", "Check the name of the file.") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text.", "Save it as CSV in UTF-8.") from error


def _delimiter(text: str) -> str:
    first = text.lstrip("\r\n").partition("\n")[0]
    return max(_DELIMITERS, key=first.count)


def _matched(path: Path, rows: Iterable[tuple[int, dict[str, str]]], name: str, samples: Sequence[Sample]) -> list[Row]:
    known = _by_cell(samples)
    found: dict[str, Row] = {}
    unknown, twice = [], []
    for line, cells in rows:
        cell = cells.get(name, "")
        candidates = known.get(cell, [])
        if len(candidates) != 1:
            unknown.append(f"line {line}: {printable(cell)}" + (" (several)" if candidates else ""))
            continue
        row = Row(candidates[0], line, cells)
        if (first := found.setdefault(row.sample.name, row)) is not row:
            twice.append(f"lines {first.line} and {line}: {printable(cell)}")
    if unknown:
        example = f", for example {printable(samples[0].name)}" if samples else ""
        raise ConfigError(
            f"{path} names {len(unknown)} images that are not in the data set ({_some(unknown)}).",
            f"Names are relative to the data set's folder{example}. Correct or remove those lines.",
        )
    if twice:
        raise ConfigError(f"{path} names {len(twice)} images twice ({_some(twice)}).", "Keep one line of each.")
    return list(found.values())


def _by_cell(samples: Iterable[Sample]) -> dict[str, list[Sample]]:
    """Images by what kdyolo writes for their names; where that is the name of another image, the other one's."""
    exact: dict[str, list[Sample]] = defaultdict(list)
    changed: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        shown = printable(sample.name)
        (exact if shown == sample.name else changed)[shown].append(sample)
        if (cell := neutralise(shown)) != shown:
            changed[cell].append(sample)
    return {**changed, **exact}


def _some(texts: Sequence[str]) -> str:
    return "; ".join(texts[:_SHOWN]) + ("; ..." if len(texts) > _SHOWN else "")
