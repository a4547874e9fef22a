"""Builds the report of a compared run: ``report/`` with one page, a summary and the tables as CSV."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kdyolo.report import tables, verdict
from kdyolo.report.html import page
from kdyolo.report.load import FOLDERS, Arm, Inputs, load
from kdyolo.report.proof_tables import NAMES, proof_tables
from kdyolo.storage import RunDir, write_json, write_text


def build(run: RunDir) -> list[Path]:
    """Write the report from the files of the run alone; the same files give the same report, byte for byte.

    Returns:
        The files written, all in ``report/``.

    Raises:
        DatasetError: The run is not compared yet, or its comparison was changed or cannot be read.
        EnvironmentFault: The disk is full or cannot be written.
    """
    inputs = load(run)
    folder = run.stage("report")
    written = [folder / "summary.json", folder / "report.html"]
    write_json(written[0], summary(inputs))
    written.append(tables.write_csv(tables.final_table(inputs), folder / "final.csv"))
    written.append(tables.write_csv(tables.class_table(inputs), folder / "per_class.csv"))
    optional = {f"epochs_{arm}.csv": tables.epoch_table(epochs) for arm, epochs in inputs.epochs.items()}
    optional |= proof_tables(inputs)
    for name in (*(f"epochs_{arm}.csv" for arm in FOLDERS), *NAMES):
        if name in optional:
            written.append(tables.write_csv(optional[name], folder / name))
        else:
            (folder / name).unlink(missing_ok=True)  # of an earlier report, when there still was such a table
    write_text(written[1], page(inputs))
    return sorted(written)


def summary(inputs: Inputs) -> dict[str, Any]:
    """The result in one small mapping of plain data; None is n/a."""
    results = inputs.results
    return {
        "split": results.split,
        "images": results.images,
        "arms": {name: _summary(arm) for name, arm in inputs.arms.items()},
        "student_keeps": results.student_keeps,
        "speed_up": verdict.speed_up(results),
        "size_ratio": verdict.size_ratio(results),
        "verdict": verdict.verdict(results),
        "proof": {
            "verdict": results.verdict or None,
            "pairs": results.uncertainty.get("pairs", []),
            "inheritance": results.inheritance.get("errors", {}),
        },
    }


def _summary(arm: Arm) -> dict[str, Any]:
    names = ("model", "epochs", "imgsz", "precision", "recall", "mAP50", "mAP75", "mAP50_95", "params", "gflops")
    return {
        **{name: getattr(arm, name) for name in names},
        "size_mb": arm.size_mb,
        "train_seconds": arm.train_seconds,
        "latency_ms": {"p50": arm.latency_ms.p50, "p95": arm.latency_ms.p95},
        "fps": arm.fps,
    }
