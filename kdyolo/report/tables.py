"""The tables of a report as pandas frames and as CSV files that a spreadsheet opens without running anything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from kdyolo.language import mark
from kdyolo.report.load import Arm, Inputs
from kdyolo.report.numbers import NA
from kdyolo.storage import write_text
from kdyolo.text import neutralise

EPOCH_COLUMNS = {
    "epoch": mark("epoch"),
    "time": mark("time (s)"),
    "train/box_loss": mark("box loss"),
    "train/cls_loss": mark("cls loss"),
    "train/dfl_loss": mark("DFL loss"),
    "metrics/precision(B)": mark("precision"),
    "metrics/recall(B)": mark("recall"),
    "metrics/mAP50(B)": mark("mAP50"),
    "metrics/mAP50-95(B)": mark("mAP50-95"),
    "val/box_loss": mark("val box loss"),
    "val/cls_loss": mark("val cls loss"),
    "val/dfl_loss": mark("val DFL loss"),
}
"""ultralytics' name of a column -> its name in the epoch table."""


def final_table(inputs: Inputs) -> pd.DataFrame:
    """One row an arm: what it is, what it costs, how good and how fast it is."""
    return pd.DataFrame([_final_row(name, arm) for name, arm in inputs.arms.items()])


def _final_row(name: str, arm: Arm) -> dict[str, Any]:
    return {
        "arm": name,
        "model": arm.model or NA,
        "labels": arm.labels or NA,
        "parameters": arm.params,
        "GFLOPs": arm.gflops,
        "size (MB)": arm.size_mb,
        "training time (s)": arm.train_seconds,
        "confidence": arm.confidence,
        "boxes": arm.boxes,
        "boxes found": arm.found,
        "false alarms": arm.false_alarms,
        "precision": arm.precision,
        "recall": arm.recall,
        "mAP50": arm.mAP50,
        "mAP75": arm.mAP75,
        "mAP50-95": arm.mAP50_95,
        "latency p50 (ms)": arm.latency_ms.p50,
        "latency p95 (ms)": arm.latency_ms.p95,
        "FPS": arm.fps,
    }


def class_table(inputs: Inputs) -> pd.DataFrame:
    """One row an arm and class, classes in the order of the data set."""
    figures = {
        "boxes": "boxes",
        "boxes found": "found",
        "false alarms": "false_alarms",
        "precision": "precision",
        "recall": "recall",
        "mAP50": "mAP50",
        "mAP75": "mAP75",
        "mAP50-95": "mAP50_95",
    }
    rows = [
        (name, row.name, *(getattr(row, figure) for figure in figures.values()))
        for name, arm in inputs.arms.items()
        for row in arm.per_class
    ]
    return pd.DataFrame(rows, columns=["arm", "class", *figures])


def epoch_table(epochs: pd.DataFrame) -> pd.DataFrame:
    """One row an epoch; time counts from the start of the training, precision to mAP are of the validation split."""
    table = epochs.reindex(columns=list(EPOCH_COLUMNS)).rename(columns=EPOCH_COLUMNS)
    return table.astype({"epoch": "int64"})


def write_csv(table: pd.DataFrame, path: Path) -> Path:
    """Write a table as UTF-8 CSV: numbers in full, missing ones as ``n/a``, texts neutralised."""
    whole = dict.fromkeys(("parameters", "boxes", "boxes found", "false alarms"), "Int64")
    numbers = table.astype({name: kind for name, kind in whole.items() if name in table})
    texts = [name for name in ("arm", "model", "labels", "class", "truth", "found") if name in table]
    numbers[texts] = numbers[texts].map(neutralise)
    write_text(path, numbers.to_csv(index=False, na_rep=NA, lineterminator="\n"))
    return path
