"""Compared runs with a split and detections that fit together, made up of boxes and quick to write."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from kdyolo.boxes import Detections, Truth
from kdyolo.config import Config, load_config
from kdyolo.datasets.auditing.audit import csv_text
from kdyolo.datasets.formats.data_yaml import write_data_yaml
from kdyolo.datasets.formats.labels import label_text
from kdyolo.datasets.view import _COLUMNS, load_view
from kdyolo.evaluation.accuracy import evaluate
from kdyolo.evaluation.splits import truths
from kdyolo.stages.compare import _write_predictions
from kdyolo.storage import RunDir, StageRecord
from kdyolo.yamlio import dump_yaml

NAMES = ("leaf", "spot")
MEASURED = {
    **{"device": "cpu", "processor": "a made-up processor", "platform": "made up", "precision": "fp32", "threads": 2},
    **{"conf": 0.001, "iou": 0.7, "max_det": 300, "min_effect": 0.5},
}


def make_split(folder: Path, images: int = 24, draw: int = 0) -> None:
    """A clean view whose test split has these images; another `draw` has other boxes."""
    rng, rows = np.random.default_rng(draw), []
    (folder / "labels" / "test").mkdir(parents=True)
    for split in ("train", "val", "test"):
        (folder / "images" / split).mkdir(parents=True)
    for i in range(images):
        boxes = np.hstack([rng.uniform(0.2, 0.8, (3, 2)), rng.uniform(0.1, 0.3, (3, 2))])
        (folder / "labels" / "test" / f"{i}.txt").write_text(label_text(np.array([0, 0, i % 2]), boxes))
        digest = hashlib.sha256(bytes([i])).hexdigest()
        rows.append((f"images/test/{i}.jpg", "test", f"{i}.jpg", digest, digest, 1, 100, 100, 3, digest[:16]))
    (folder / "splits.csv").write_text(csv_text(_COLUMNS, rows))
    (folder / "data.yaml").write_text(write_data_yaml(NAMES))


def detections(truth: dict[str, Truth], shift: float, seed: int) -> dict[str, Detections]:
    """Every box, `shift` pixels off on average."""
    rng = np.random.default_rng(seed)
    return {
        key: Detections(t.xyxy + rng.normal(0, shift, t.xyxy.shape), rng.uniform(0.3, 1, len(t.cls)).round(4), t.cls)
        for key, t in truth.items()
    }


def make_compared(root: Path, shift: float = 3.0, *, draw: int = 0, measured: dict[str, Any] | None = None, ms=10.0,
                  **settings: Any) -> RunDir:  # fmt: skip
    """A compared run whose student is `shift` pixels off, its control 5 and its teacher 1; `settings` as for a run."""
    run = RunDir(root)
    run.create()
    config = load_config(overrides={"data.source": Path("data"), **settings})
    run.config.write_text(dump_yaml(config.model_dump(mode="json")))
    make_split(run.stage("split"), draw=draw)
    truth = truths(load_view(run.stage("split")).splits["test"])
    run.stage("compare").mkdir()
    arms = {}
    for number, (arm, off) in enumerate((("teacher", 1.0), ("student", shift), ("control", 5.0))):
        found = detections(truth, off, 10 * config.seed + number)
        _write_predictions(run.stage("compare") / f"predictions_{arm}.csv", found, NAMES)
        arms[arm] = _arm(arm, evaluate(truth, found, NAMES).mAP50_95, config, ms)
    results = {"split": "test", "images": len(truth), "classes": list(NAMES), "arms": arms, "versions": {"torch": "2"}}
    results["measured"] = {**MEASURED, **(measured or {})}
    (run.stage("compare") / "results.json").write_text(json.dumps(results))
    write_record(run, "compare", run.stage("compare").glob("*"))
    write_record(run, "split", [], {"dataset_sha256": f"{draw}" * 64})
    return run


def _arm(arm: str, score: float | None, config: Config, ms: float) -> dict[str, Any]:
    large = arm == "teacher"
    return {
        "model": "yolov5m" if large else "yolov5n",
        "labels": "pseudo" if arm == "student" else "gt",
        "scheme": config.distill.scheme if arm == "student" and config.distill.scheme != "labels" else None,
        "method": config.distill.method if arm == "student" and config.distill.scheme != "labels" else None,
        "mAP50_95": score,
        "imgsz": 320,
        "size_mb": 50.0 if large else 5.0,
        "train_seconds": 100.0,
        "latency_ms": {"p50": 4 * ms if large else ms},
        "sha256": f"{arm}{score}",
    }


def write_record(
    run: RunDir, stage: str, files: Any, facts: dict[str, Any] | None = None, status: str = "done"
) -> None:
    """A stage's record over its files."""
    run.stage(stage).mkdir(exist_ok=True)
    record = StageRecord(
        stage=stage, status=status, key="k", sequence=1, settings={}, inputs={}, versions={}, facts=facts or {}
    )
    record.outputs = run.hash_outputs(file for file in files if file.name != "stage.json")
    run.write_record(record)
