"""YOLO label files: every line is checked, nothing is guessed, what is mended is said."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from kdyolo import storage
from kdyolo.boxes import Boxes, xyxy_to_xywh
from kdyolo.datasets.sample import ClassIds, Confidences, Finding, Severity, no_boxes, no_classes, no_confidences
from kdyolo.errors import DatasetError

MAX_LABEL_BYTES = 4_000_000
TOLERANCE = 0.01
_DEGENERATE = 1e-6
_NOTED_EXCESS = 1e-4
_FINDINGS_A_FILE = 20
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_DIGITS = re.compile("[0-9]+")
_NOT_FINITE = re.compile(r"[+-]?(nan|inf|infinity)", re.IGNORECASE)


class BadLine(Exception):
    """One label line cannot be used: a stable code and a sentence."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass
class ParsedLabels:
    """The boxes of one image.

    Attributes:
        cls: Class ids (N,).
        xywhn: Boxes (N, 4) in [0, 1].
        conf: Confidences (N,) a sixth column gave; NaN where there was none.
        findings: What was wrong or mended; `file` is the label's name.
        reason: Code of why the image must be quarantined; empty when it need not.
    """

    cls: ClassIds = field(default_factory=no_classes)
    xywhn: Boxes = field(default_factory=no_boxes)
    conf: Confidences = field(default_factory=no_confidences)
    findings: list[Finding] = field(default_factory=list)
    reason: str = ""


class LabelBuilder:
    """Collects the boxes of one image and applies the same rules whatever the format.

    Args:
        file: Name of the label file, for findings.
        bad_label: What an unusable line takes with it: its image, or only itself.
    """

    def __init__(self, file: str, bad_label: Literal["drop_image", "drop_line"]) -> None:
        self.file = file
        self.bad_label = bad_label
        self.rows: dict[tuple[int, ...], tuple[int, Sequence[float], float]] = {}
        self.result = ParsedLabels()
        self._boxes: set[tuple[int, ...]] = set()
        self._count: Counter[str] = Counter()

    def say(self, code: str, severity: Severity, message: str, line: int | None = None) -> None:
        """Record a finding; after the first 20 of a kind in this file they are only counted."""
        self._count[code] += 1
        if self._count[code] <= _FINDINGS_A_FILE:
            self.result.findings.append(Finding(code, severity, self.file, message, line))

    def bad(self, fault: BadLine, line: int | None) -> None:
        """Record an unusable line: it quarantines the image, or is left out alone."""
        if self.bad_label == "drop_image":
            self.result.reason = self.result.reason or fault.code
            self.say(fault.code, "error", fault.message, line)
        else:
            self.say(fault.code, "warning", f"Line left out. {fault.message}", line)

    def refuse(self, code: str, message: str) -> ParsedLabels:
        """The file as a whole cannot be read: its image is quarantined whatever the policy."""
        self.result.reason = code
        self.say(code, "error", message)
        return self.result

    def add(self, class_id: int, xyxyn: Sequence[float], line: int | None, conf: float = math.nan) -> None:
        """Add a box given by its corners as shares of the image: clip it, drop it if nothing is left, or a repeat.

        Args:
            class_id: Its class.
            xyxyn: x1, y1, x2, y2; may leave [0, 1].
            line: Where it stands in the file.
            conf: Its confidence in [0, 1]; NaN for none.
        """
        clipped = [min(max(value, 0.0), 1.0) for value in xyxyn]
        if clipped[2] - clipped[0] < _DEGENERATE or clipped[3] - clipped[1] < _DEGENERATE:
            self.say("degenerate", "warning", "The box has no area inside the image; it is left out.", line)
            return
        excess = max(abs(a - b) for a, b in zip(clipped, xyxyn, strict=True))
        if excess > _NOTED_EXCESS:
            self.say("clipped", "note", f"The box leaves the image by {excess:.1%} of its side and is clipped.", line)
        key = tuple(round(value * 1e6) for value in clipped)
        if (class_id, *key) in self.rows:
            self.say("duplicate_line", "note", "The same box is given twice; one is kept.", line)
            return
        if key in self._boxes:
            self.say("class_conflict", "warning", "The same box is given with two classes; both are kept.", line)
        self._boxes.add(key)
        self.rows[(class_id, *key)] = (class_id, clipped, conf)

    def finish(self) -> ParsedLabels:
        """The boxes collected; repeats of a finding beyond the first 20 become one."""
        if self.rows:
            cls, boxes, conf = zip(*self.rows.values(), strict=True)
            self.result.cls = np.array(cls, dtype=np.int64)
            self.result.xywhn = xyxy_to_xywh(np.array(boxes, dtype=np.float64))
            self.result.conf = np.array(conf, dtype=np.float64)
        for code, count in self._count.items():
            if count > _FINDINGS_A_FILE:
                worst = next(f.severity for f in self.result.findings if f.code == code)
                more = f"{count - _FINDINGS_A_FILE} more lines like the ones above."
                self.result.findings.append(Finding(code, worst, self.file, more))
        return self.result


def parse_yolo(
    data: bytes,
    file: str,
    names: Sequence[str],
    bad_label: Literal["drop_image", "drop_line"] = "drop_image",
) -> ParsedLabels:
    """Parse a YOLO label file: ``class cx cy w h`` or ``class x1 y1 x2 y2 x3 y3 ...`` (polygon) a line, as shares.

    Args:
        data: The file's bytes.
        file: Its name, for findings.
        names: Class names; a class id must be below their number.
        bad_label: ``drop_image``: an unusable line quarantines the image; ``drop_line``: only the line is lost.
    """
    builder = LabelBuilder(file, bad_label)
    if len(data) > MAX_LABEL_BYTES:
        return builder.refuse("label_too_large", f"The label file is over {MAX_LABEL_BYTES // 1_000_000} MB.")
    text = decode(data)
    if text is None:
        return builder.refuse("bad_encoding", "The label file is not UTF-8 text; save it as UTF-8.")
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            _parse_line(line, number, names, builder)
        except BadLine as fault:
            builder.bad(fault, number)
    return builder.finish()


def decode(data: bytes) -> str | None:
    """UTF-8 text with or without a byte-order mark; None for anything else, binary data included."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text


def _parse_line(line: str, number: int, names: Sequence[str], builder: LabelBuilder) -> None:
    if "," in line:
        kind = "decimal commas; write 0.5, not 0,5" if len(line.split()) >= 5 else "commas between columns; use blanks"
        raise BadLine("comma", f"The line has {kind}.")
    first, *rest = line.split()
    class_id = _class_id(first, names)
    values = [finite(token) for token in rest]
    conf = math.nan
    if len(values) == 4 or (len(values) == 5 and 0 <= values[4] <= 1):
        if len(values) == 5:
            conf = values[4]
            builder.say("confidence_column", "note", "The sixth column is a confidence; see confidences.csv.", number)
        box = _xyxyn(values[:4])
    elif len(values) >= 6 and len(values) % 2 == 0:
        _check_range(values)
        builder.say("polygon", "note", "The polygon is replaced by the box around it.", number)
        box = [min(values[0::2]), min(values[1::2]), max(values[0::2]), max(values[1::2])]
    else:
        raise BadLine(
            "columns", f"The line has {len(rest) + 1} columns; 5 are needed: class, centre x, y, width, height."
        )
    builder.add(class_id, box, number, conf)


def _xyxyn(values: list[float]) -> list[float]:
    """Corners of a centre-and-size box; a negative size stays inverted, so that it is dropped as degenerate."""
    if min(values[2:]) >= 0:
        _check_range(values)
    else:
        _check_range([*values[:2], *(abs(v) for v in values[2:])])
    x, y, w, h = values
    return [x - w / 2, y - h / 2, x + w / 2, y + h / 2]


def _check_range(values: list[float]) -> None:
    worst = max(values, key=lambda v: abs(v - 0.5))
    if -TOLERANCE <= worst <= 1 + TOLERANCE:
        return
    if max(values) > 2:
        raise BadLine(
            "pixels",
            f"The coordinate {max(values):g} looks like pixels; divide x and width by the image's width, "
            "y and height by its height.",
        )
    raise BadLine("out_of_range", f"The coordinate {worst:g} is outside 0..1.")


def finite(token: str) -> float:
    """A finite number as text.

    Raises:
        BadLine: It is something else.
    """
    if _NOT_FINITE.fullmatch(token):
        raise BadLine("not_finite", f"The line holds {token}, which is no coordinate.")
    if not _NUMBER.fullmatch(token):
        raise BadLine("not_a_number", f"{token[:40]!r} is not a number.")
    value = float(token)
    if not math.isfinite(value):
        raise BadLine("not_finite", f"The number {token[:40]} is too large.")
    return value


def _class_id(token: str, names: Sequence[str]) -> int:
    # Digits may be both a class number and a class name; the number is what the format says.
    if not _DIGITS.fullmatch(token) and token in names:
        raise BadLine("class_id", f"The class {token!r} is given by name; write its number {names.index(token)}.")
    if not _NUMBER.fullmatch(token) and not _NOT_FINITE.fullmatch(token):
        raise BadLine("class_id", f"{token[:40]!r} is no class number; {_known(names)}")
    value = finite(token)
    if value != int(value) or not 0 <= value < len(names):
        raise BadLine("class_id", f"The class {token} does not exist; {_known(names)}")
    return int(value)


def _known(names: Sequence[str]) -> str:
    listed = ", ".join(f"{i} {name}" for i, name in enumerate(names[:10]))
    return f"known: {listed}{', ...' if len(names) > 10 else ''}."


def write_labels(path: Path, cls: ClassIds, xywhn: Boxes) -> None:
    """Write a clean label file: ``class cx cy w h`` a line, shares with 6 decimals; atomic, same bytes for same boxes.

    Args:
        path: The file.
        cls: Class ids (N,).
        xywhn: Boxes (N, 4) in [0, 1].
    """
    storage.write_text(path, label_text(cls, xywhn))


def label_text(cls: ClassIds, xywhn: Boxes) -> str:
    """What `write_labels` writes; an image without boxes gives an empty text."""
    rows = zip(cls.tolist(), xywhn.tolist(), strict=True)
    return "".join(f"{c} {x:.6f} {y:.6f} {w:.6f} {h:.6f}\n" for c, (x, y, w, h) in rows)


def read_labels(path: Path) -> tuple[ClassIds, Boxes]:
    """Class ids (N,) and boxes xywhn (N, 4) of a label file written by `write_labels`.

    Raises:
        DatasetError: It is missing or is not such a file.
    """
    try:
        rows = [line.split() for line in path.read_text(encoding="utf-8").splitlines()]
        cls = np.array([int(row[0]) for row in rows], dtype=np.int64)
        xywhn = np.array([[float(x) for x in row[1:]] for row in rows], dtype=np.float64).reshape(len(rows), 4)
    except (OSError, ValueError, IndexError) as error:
        raise DatasetError(
            f"{path} is missing or not a label file kdyolo wrote: {error}.", "Run the split again."
        ) from error
    return cls, xywhn
