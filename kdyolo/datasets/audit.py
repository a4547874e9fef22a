"""Write what the checks found: a json file for programs and a csv file for people."""

from __future__ import annotations

import csv
import io
from collections import Counter
from pathlib import Path
from typing import Any

from kdyolo import storage
from kdyolo.datasets.sample import Dataset, Finding
from kdyolo.text import neutralise

_RANK = {"error": 0, "warning": 1, "note": 2}


def write_audit(dataset: Dataset, folder: Path) -> list[Path]:
    """Write ``audit.json`` and ``audit.csv`` into `folder`; returns both paths."""
    files = [folder / "audit.json", folder / "audit.csv"]
    findings = sorted(dataset.findings, key=lambda f: (_RANK[f.severity], f.code, f.file, f.line or 0, f.message))
    quarantined = [sample for sample in dataset.samples if sample.quarantine]
    storage.write_json(
        files[0],
        {
            "images": len(dataset.samples),
            "ok": len(dataset.samples) - len(quarantined),
            "quarantined": len(quarantined),
            "reasons": dict(sorted(Counter(sample.quarantine for sample in quarantined).items())),
            "findings": _by_code(findings),
        },
    )
    rows = [(f.severity, f.code, f.file, f.line if f.line is not None else "", f.message) for f in findings]
    storage.write_text(files[1], csv_text(("severity", "code", "file", "line", "message"), rows))
    return files


def csv_text(header: tuple[str, ...], rows: list[tuple[Any, ...]]) -> str:
    """CSV text of rows; a cell a spreadsheet would run as a formula gets a leading apostrophe."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([neutralise(cell) for cell in row] for row in rows)
    return buffer.getvalue()


def _by_code(findings: list[Finding]) -> list[dict[str, Any]]:
    groups: dict[tuple[str, str], list[Finding]] = {}
    for finding in findings:
        groups.setdefault((finding.code, finding.severity), []).append(finding)
    return [
        {
            "code": code,
            "severity": severity,
            "count": len(members),
            "items": [{"file": f.file, "line": f.line, "message": f.message} for f in members],
        }
        for (code, severity), members in groups.items()
    ]
