"""What backs the verdict, as frames with figures in full: differences, errors, calibration, sizes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from kdyolo.report.load import Arm, Inputs
from kdyolo.report.proof import METRICS, NOTHING, rare_classes

NAMES = (
    "differences.csv",
    "inherited.csv",
    "error_budget.csv",
    "calibration.csv",
    "sizes.csv",
    "errors_per_class.csv",
    "confusion.csv",
)
"""Every file that `proof_tables` can fill."""

_INTERVAL = ("estimate", "low", "high", "probability_positive")


def proof_tables(inputs: Inputs) -> dict[str, pd.DataFrame]:
    """File name -> table, of `NAMES` those that this comparison measured. Accuracy in [0, 1], not in points."""
    arms = inputs.arms
    rows = {
        "differences.csv": _differences(inputs),
        "inherited.csv": [{"error": kind, **n} for kind, n in inputs.results.inheritance.get("errors", {}).items()],
        "error_budget.csv": _budgets(arms),
        "calibration.csv": [
            {"arm": name, **one} for name, arm in arms.items() for one in arm.calibration.get("bins", [])
        ],
        "sizes.csv": [
            {"arm": name, "size": size, "boxes": found["boxes"], "mAP50-95": found["mAP50_95"]}
            for name, arm in arms.items()
            for size, found in arm.sizes.items()
        ],
        "errors_per_class.csv": [
            {"arm": name, "class": row["class"], **_flat(row)}
            for name, arm in arms.items()
            for row in arm.errors.get("per_class", [])
        ],
        "confusion.csv": [row for name, arm in arms.items() for row in _confusion(name, arm)],
    }
    return {name: pd.DataFrame(rows[name]) for name in NAMES if rows[name]}


def _differences(inputs: Inputs) -> list[dict[str, Any]]:
    """One row a pair, a figure and a class; the class is empty for the mean over classes."""
    rows = []
    rare = rare_classes(inputs.results)
    for pair in inputs.results.uncertainty.get("pairs", []):
        both = {"a": pair["a"], "b": pair["b"]}
        for kind in ("difference", "ratio"):
            for metric, title in METRICS.items():
                row = {**both, "kind": kind, "figure": title, "class": "", "boxes": None, "few boxes": ""}
                rows.append({**row, **_interval(pair[kind].get(metric))})
        for found in pair["per_class"]:
            name = found["class"]
            row = {**both, "kind": "difference", "figure": METRICS["mAP50_95"], "class": name, "boxes": found["boxes"]}
            rows.append({**row, "few boxes": "yes" if name in rare else "no", **_interval(found["difference"])})
    return rows


def _interval(interval: Mapping[str, float] | None) -> dict[str, float | None]:
    return {name: interval[name] if interval else None for name in _INTERVAL}


def _budgets(arms: Mapping[str, Arm]) -> list[dict[str, Any]]:
    return [
        {"arm": name, "error": kind, "mAP50 lost": cost}
        for name, arm in arms.items()
        for kind, cost in {
            **arm.error_budget.get("lost", {}),
            **{kind: arm.error_budget[kind] for kind in ("false_positives", "false_negatives") if arm.error_budget},
        }.items()
    ]


def _flat(row: Mapping[str, Any]) -> dict[str, int]:
    """Counts of truth boxes and of detections of one class, with names that tell them apart."""
    return {f"{part}: {kind}": n for part in ("truth", "detections") for kind, n in row[part].items()}


def _confusion(name: str, arm: Arm) -> list[dict[str, Any]]:
    table = arm.errors.get("confusion") or {"classes": [], "rows_truth_columns_found": []}
    classes = [known or NOTHING for known in table["classes"]]
    return [
        {"arm": name, "truth": true, "found": found, "boxes": n}
        for true, row in zip(classes, table["rows_truth_columns_found"], strict=True)
        for found, n in zip(classes, row, strict=True)
        if n
    ]
