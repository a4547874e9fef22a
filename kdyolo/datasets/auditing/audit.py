"""What the checks found, as plain data for programs and people: a summary, a json file and a csv file."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from kdyolo import storage
from kdyolo.datasets.auditing.codes import AREAS, CODES
from kdyolo.datasets.auditing.copies import copies_of, leak_sentences
from kdyolo.datasets.sample import SPLITS, Dataset, Finding, Sample, Severity
from kdyolo.text import neutralise

MAX_LISTED = 1000
"""Findings of one kind that are listed; all are counted."""

_RANK: dict[Severity, int] = {"error": 0, "warning": 1, "note": 2}


def summarise(dataset: Dataset, limit: int | None = MAX_LISTED) -> dict[str, Any]:
    """The audit as plain data.

    Args:
        dataset: Checked.
        limit: Findings of one kind to list; None lists all.

    Returns:
        ``images``, ``ok``, ``quarantined`` and ``reasons`` (code -> images); ``format``, ``classes`` (name -> boxes)
        and ``splits`` (name -> images, boxes, background); ``errors``, ``warnings`` and ``notes``; ``verdict``;
        ``findings``, one object a code and severity, errors first: ``code``, ``severity``, ``title``, ``count``,
        ``meaning``, ``todo``, ``files`` (each named once) and ``items`` (``file``, ``line``, ``message`` and, where it
        takes two images, ``partner``).
    """
    findings = ordered(dataset.findings)
    quarantined = Counter(sample.quarantine for sample in dataset.samples if sample.quarantine)
    severities = Counter(finding.severity for finding in findings)
    return {
        "images": len(dataset.samples),
        "ok": len(dataset.samples) - quarantined.total(),
        "quarantined": quarantined.total(),
        "reasons": dict(sorted(quarantined.items())),
        "format": dataset.format,
        "classes": dict(zip(dataset.names, _boxes_per_class(dataset.usable, len(dataset.names)), strict=True)),
        "splits": _splits(dataset),
        "errors": severities["error"],
        "warnings": severities["warning"],
        "notes": severities["note"],
        "verdict": verdict(dataset),
        "findings": [_group(members, limit) for members in grouped(findings)],
    }


def verdict(dataset: Dataset) -> str:
    """A sentence or two: can this data set be used as it is, and what is worst about it."""
    total, codes = len(dataset.samples), {finding.code: finding for finding in dataset.findings}
    told = []
    if leaks := leak_sentences(copies_of(dataset), dataset.usable):
        told.append(f"The splits of this data set leak: {'; '.join(leaks)}.")
    told += [codes[code].message for code in ("no_boxes", "whole_image_boxes") if code in codes]
    if bad := total - len(dataset.usable):
        told.append(f"{bad:,} of {total:,} images cannot be used and would be left out.")
    if told:
        return " ".join(told)
    warned = grouped(f for f in ordered(dataset.findings) if f.severity == "warning")
    if not warned:
        return f"Nothing is wrong with these {total:,} images, as far as kdyolo can see."
    listed = [f"{CODES[members[0].code].title.lower()} ({len(members):,})" for members in warned]
    left = len(listed) - 4
    more = f" and {left} kind{'' if left == 1 else 's'} more" if left > 0 else ""
    return f"This data set can be used, but look at this first: {', '.join(listed[:4])}{more}."


def ordered(findings: Iterable[Finding]) -> list[Finding]:
    """Errors first, then by area, code, file and line."""
    areas = list(AREAS)
    place = {code: (areas.index(kind.area), code) for code, kind in CODES.items()}
    return sorted(findings, key=lambda f: (_RANK[f.severity], place[f.code], f.file, f.line or 0, f.message))


def grouped(findings: Iterable[Finding]) -> list[list[Finding]]:
    """Findings of one code and severity together, in the order given."""
    groups: dict[tuple[str, str], list[Finding]] = {}
    for finding in findings:
        groups.setdefault((finding.code, finding.severity), []).append(finding)
    return list(groups.values())


def write_audit(dataset: Dataset, folder: Path) -> list[Path]:
    """Write ``audit.json``, a summary, and ``audit.csv``, every finding, into `folder`; returns both paths."""
    files = [folder / "audit.json", folder / "audit.csv"]
    storage.write_json(files[0], summarise(dataset))
    rows = [
        (f.severity, f.code, f.file, f.line if f.line is not None else "", f.partner, f.message)
        for f in ordered(dataset.findings)
    ]
    storage.write_text(files[1], csv_text(("severity", "code", "file", "line", "partner", "message"), rows))
    return files


def csv_text(header: tuple[str, ...], rows: list[tuple[Any, ...]]) -> str:
    """CSV text of rows; a cell a spreadsheet would run as a formula gets a leading apostrophe."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([neutralise(cell) for cell in row] for row in rows)
    return buffer.getvalue()


def _group(members: list[Finding], limit: int | None) -> dict[str, Any]:
    first = members[0]
    kind = CODES[first.code]
    return {
        "code": first.code,
        "severity": first.severity,
        "title": kind.title,
        "count": len(members),
        "meaning": kind.meaning,
        "todo": kind.todo,
        "files": list(dict.fromkeys(f.file for f in members if f.file))[:limit],
        "items": [
            {"file": f.file, "line": f.line, "message": f.message, **({"partner": f.partner} if f.partner else {})}
            for f in members[:limit]
        ],
    }


def _splits(dataset: Dataset) -> dict[str, dict[str, int]]:
    """Figures of the user's own splits; ``none`` are images in none of them."""
    parts = {name: [s for s in dataset.usable if name in s.given] for name in SPLITS}
    parts["none"] = [s for s in dataset.usable if not s.given]
    return {
        name: {
            "images": len(samples),
            "boxes": sum(len(sample.cls) for sample in samples),
            "background": sum(len(sample.cls) == 0 for sample in samples),
        }
        for name, samples in parts.items()
        if samples
    }


def _boxes_per_class(samples: list[Sample], nc: int) -> list[int]:
    counts = np.zeros(nc, dtype=np.int64)
    for sample in samples:
        counts += np.bincount(sample.cls, minlength=nc)
    return counts.tolist()
