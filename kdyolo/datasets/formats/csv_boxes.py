"""Read csv files of boxes, one box a row: ``filename,width,height,class,xmin,ymin,xmax,ymax``, corners in pixels."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from kdyolo.config import AuditSettings, DataSettings
from kdyolo.datasets.formats.entries import Box, Entry, LabelFile, build, size_of
from kdyolo.datasets.formats.labels import BadLine, decode, finite
from kdyolo.datasets.sample import Dataset
from kdyolo.datasets.tree import Tree
from kdyolo.errors import DatasetError

MAX_BYTES = 100_000_000
_CORNERS = ("xmin", "ymin", "xmax", "ymax")
_NEEDED = frozenset(("filename", "class", *_CORNERS))


def is_csv(head: bytes) -> bool:
    """Whether a csv file that starts so has the columns of boxes."""
    return set(_columns(head.split(b"\n", 1)[0].decode("utf-8-sig", "replace"))) >= _NEEDED


def read_csv(
    files: Sequence[Path], tree: Tree, names: tuple[str, ...] | None, data: DataSettings, audit: AuditSettings
) -> Dataset:
    """Read a data set whose boxes are in csv files, usually one for each folder of images.

    Images that no row names are taken as unlabelled; a row with a file name only says that there is nothing to find.

    Args:
        files: Its csv files, in order of name.
        tree: Its images' folder, scanned.
        names: Class names; None takes those in the files, sorted alphabetically.
        data: Whether names may lead out of the folder.
        audit: What a bad row takes with it.

    Raises:
        DatasetError: A file cannot be read, or nothing it lists is there.
        UntrustedFileError: The name of an image leads out of the folder.
    """
    return build("csv", [_parse(file) for file in files], tree, names, data, audit)


def _columns(line: str) -> list[str]:
    return [column.strip().strip('"').casefold() for column in line.split(",")]


def _parse(path: Path) -> LabelFile:
    rows = _rows(path)
    columns = _columns(",".join(rows[0][1])) if rows else []
    if not set(columns) >= _NEEDED:
        raise DatasetError(f"{path} lacks the columns of boxes.", f"Its first line must name {', '.join(_NEEDED)}.")
    file = LabelFile(path, lines=True)
    entries: dict[str, Entry] = {}
    nameless = 0
    for line, cells in rows[1:]:
        row = dict(zip(columns, (cell.strip() for cell in cells), strict=False))
        if name := row.get("filename", ""):
            entry = entries.setdefault(name, Entry((name,)))
            _add(row, line, entry, len(cells) == len(columns))
        else:
            nameless += any(cells)
    if nameless:
        file.say("bad_entry", "warning", f"{nameless} of its rows name no image; they are left out.")
    file.entries = list(entries.values())
    file.classes = {box.name: 0 for entry in file.entries for box in entry.boxes}
    return file


def _rows(path: Path) -> list[tuple[int, list[str]]]:
    """Line number and cells of every row."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise DatasetError(f"{path} is over {MAX_BYTES // 1_000_000} MB.", "Split it into several files.")
        text = decode(path.read_bytes())
    except OSError as error:
        raise DatasetError(f"Cannot read {path}: {error.strerror}.", "Check its permissions.") from error
    if text is None:
        raise DatasetError(f"{path} is not UTF-8 text.", "Save it as UTF-8.")
    reader = csv.reader(io.StringIO(text, newline=""))
    try:
        return [(reader.line_num, cells) for cells in reader if cells]
    except csv.Error as error:
        raise DatasetError(f"{path}, line {reader.line_num}: {error}.", "Correct that line.") from error


def _add(row: dict[str, str], line: int, entry: Entry, complete: bool) -> None:
    entry.size = size_of(row.get("width", ""), row.get("height", ""))
    values = [row.get(corner, "") for corner in _CORNERS]
    if not any(values) and not row.get("class"):
        return
    try:
        if not complete:
            raise BadLine("columns", "The row has more or fewer columns than the first line names.")
        if not row["class"]:
            raise BadLine("bad_object", "The row names no class.")
        x1, y1, x2, y2 = (finite(value) for value in values)
    except BadLine as fault:
        entry.faults.append((fault, line))
    else:
        entry.boxes.append(Box(row["class"], (x1, y1, x2, y2), line=line))
