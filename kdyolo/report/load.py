"""What a report is made of, read from a run directory and made safe to show."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from kdyolo.errors import DatasetError
from kdyolo.stages.base import ARMS, LONGER
from kdyolo.storage import RunDir, StageRecord, sha256_file

STAGES = ("split", "teacher", "pseudo", "student", "baseline", "longer", "compare")
FOLDERS = ARMS | LONGER
"""Arm -> the stage that trained it, in the order arms are shown."""

# Control characters drive terminals; bidirectional ones make text read as what it is not.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ufeff]+")


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", populate_by_name=True)


def _part(value: Any) -> Any:
    return {} if value is None else value


def _rows(value: Any) -> Any:
    return [] if value is None else value


class Quantiles(_Part):
    """Milliseconds an image."""

    p50: float | None = None
    p90: float | None = None
    p95: float | None = None
    p99: float | None = None


class Latency(Quantiles):
    """Milliseconds an image: all together, and by step."""

    mean: float | None = None
    preprocess: Annotated[Quantiles, BeforeValidator(_part)] = Quantiles()
    inference: Annotated[Quantiles, BeforeValidator(_part)] = Quantiles()
    nms: Annotated[Quantiles, BeforeValidator(_part)] = Quantiles()


class Scores(_Part):
    """Accuracy in [0, 1]; None where there is nothing to find."""

    boxes: int | None = None
    found: int | None = None
    false_alarms: int | None = None
    precision: float | None = None
    recall: float | None = None
    mAP50: float | None = None  # noqa: N815 - the field's name for it
    mAP75: float | None = None  # noqa: N815
    mAP50_95: float | None = None  # noqa: N815


class ClassScores(Scores):
    """One class of one arm."""

    name: str = Field(alias="class")


_Lines = Annotated[dict[str, list[float] | None], BeforeValidator(_part)]


class Curves(_Part):
    """Precision at recalls, and F1, precision and recall at confidences, IoU 0.5; ``all`` is the mean over classes."""

    recall: Annotated[list[float], BeforeValidator(_rows)] = []
    precision: _Lines = {}
    confidence: Annotated[list[float], BeforeValidator(_rows)] = []
    f1: _Lines = {}
    precision_at_confidence: _Lines = {}
    recall_at_confidence: _Lines = {}


class Arm(Scores):
    """One measured model."""

    model: str | None = None
    labels: str | None = None
    scheme: str | None = None
    method: str | None = None
    confidence: float | None = None
    per_class: Annotated[list[ClassScores], BeforeValidator(_rows)] = []
    curves: Annotated[Curves, BeforeValidator(_part)] = Curves()
    params: int | None = None
    gflops: float | None = None
    size_mb: float | None = None
    train_seconds: float | None = None
    epochs: int | None = None
    imgsz: int | None = None
    optimizer_steps: int | None = None
    train_images: int | None = None
    label_boxes: int | None = None
    labels_sha256: str | None = None
    initial_sha256: str | None = None
    trained_on: Annotated[dict[str, Any], BeforeValidator(_part)] = {}
    latency_ms: Annotated[Latency, BeforeValidator(_part)] = Latency()
    fps: float | None = None
    error_budget: Annotated[dict[str, Any], BeforeValidator(_part)] = {}
    calibration: Annotated[dict[str, Any], BeforeValidator(_part)] = {}
    sizes: Annotated[dict[str, Any], BeforeValidator(_part)] = {}
    errors: Annotated[dict[str, Any], BeforeValidator(_part)] = {}
    seeds: Annotated[list[dict[str, Any]], BeforeValidator(_rows)] = []
    checkpoint: str | None = None
    sha256: str | None = None


class Results(_Part):
    """``compare/results.json``."""

    split: str = "test"
    images: int | None = None
    classes: Annotated[list[str], BeforeValidator(_rows)] = []
    arms: dict[str, Arm]
    student_keeps: float | None = None
    verdict: Annotated[dict[str, Any], BeforeValidator(_part)] = {}
    uncertainty: Annotated[dict[str, Any], BeforeValidator(_part)] = {}
    inheritance: Annotated[dict[str, Any], BeforeValidator(_part)] = {}
    measured: Annotated[dict[str, Any], BeforeValidator(_part)] = {}
    same_start: bool | None = None
    versions: Annotated[dict[str, Any], BeforeValidator(_part)] = {}
    warnings: Annotated[list[str], BeforeValidator(_rows)] = []
    warning_facts: Annotated[list[dict[str, Any]], BeforeValidator(_rows)] = []


class Box(_Part):
    """A drawn box: corners in pixels of the image as displayed; truth has no score."""

    name: str = Field(alias="class")
    xyxy: tuple[float, float, float, float]
    score: float | None = None


class Example(_Part):
    """One image of the compared split; `path` is relative to the split folder and not made safe to show.

    Attributes:
        group: Why it is shown: ``spread``, or a part of `evaluation.inheritance.Gallery`.
        boxes: Number of boxes that are the reason; None for ``spread``.
    """

    image: str
    path: str = ""
    group: str = "spread"
    boxes: int | None = None
    truth: Annotated[list[Box], BeforeValidator(_rows)] = []
    arms: Annotated[dict[str, list[Box]], BeforeValidator(_part)] = {}


@dataclass(frozen=True)
class Inputs:
    """Everything a report shows. Texts have no control characters but are not escaped.

    Attributes:
        name: Name of the run.
        results: The measurement.
        examples: Images with their boxes.
        epochs: Arm -> its training, one row an epoch, ultralytics' column names; arms without one are absent.
        records: Stage -> its record; stages without one are absent.
        config: The settings as YAML text.
        manifest: Versions, machine, seeds and times.
        split_dir: Folder that example paths are relative to.
        config_sha256: Of ``config.yaml``; None where there is none.
        findings: What the audit of the data found, a mapping for each kind, the worst first.
    """

    name: str
    results: Results
    examples: list[Example]
    epochs: dict[str, pd.DataFrame]
    records: dict[str, StageRecord]
    config: str
    manifest: dict[str, Any]
    split_dir: Path
    config_sha256: str | None = None
    findings: Sequence[Mapping[str, Any]] = ()

    @property
    def arms(self) -> dict[str, Arm]:
        """Name -> arm, in the order teacher, student, control."""
        return {name: self.results.arms[name] for name in FOLDERS if name in self.results.arms}


def load(run: RunDir) -> Inputs:
    """Read a compared run.

    Raises:
        DatasetError: The run is not compared yet, or a file of the comparison was changed by hand or cannot be read.
    """
    run.require("compare")
    folder = run.stage("compare")
    try:
        results = Results.model_validate(clean(_read_json(folder / "results.json", {})))
        raw = _read_json(folder / "examples.json", [])
        examples = [Example.model_validate({**clean(row), "path": row["image"]}) for row in raw]
    except (ValidationError, KeyError, TypeError) as error:
        raise DatasetError(f"The comparison in {folder} cannot be read.", "Run `kdyolo compare` again.") from error
    if not results.arms:
        raise DatasetError(f"The comparison in {folder} holds no model.", "Run `kdyolo compare` again.")
    gone = LONGER.keys() - results.arms.keys()  # it may lie there, taken back after an earlier comparison
    records = {name: record for name in STAGES if name not in gone and (record := run.record(name))}
    manifest = clean(_read_json(run.manifest, {}, f"`kdyolo run --run {run.shown}` writes it anew."))
    if isinstance(manifest, dict):
        manifest.pop("report", None)  # describes the report before this one
    return Inputs(
        name=clean(run.root.name),
        results=results,
        examples=examples,
        epochs={
            arm: table
            for arm, stage in FOLDERS.items()
            if arm not in gone and len(table := _read_epochs(run.stage(stage)))
        },
        records={name: record.model_copy(update={"facts": clean(record.facts)}) for name, record in records.items()},
        config="\n".join(clean(line) for line in _read_text(run.config).splitlines()),
        manifest=manifest if isinstance(manifest, dict) else {},
        split_dir=run.stage("split"),
        config_sha256=sha256_file(run.config) if run.config.is_file() else None,
        findings=_read_findings(run.stage("split") / "audit.json"),
    )


def clean(value: Any) -> Any:
    """Plain data whose texts, keys included, hold no control, bidirectional or unpaired surrogate characters."""
    if isinstance(value, str):
        return _UNSAFE.sub(" ", value).encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, Mapping):
        return {clean(key): clean(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [clean(item) for item in value]
    return value


def _read_text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


def _read_json(path: Path, otherwise: Any, remedy: str = "Run `kdyolo compare` again.") -> Any:
    if not path.is_file():
        return otherwise
    try:
        return json.loads(path.read_bytes(), parse_constant=lambda name: None)
    except ValueError as error:
        raise DatasetError(f"{path} is not JSON.", remedy) from error


def _read_epochs(folder: Path) -> pd.DataFrame:
    """The ``results.csv`` of a training, bare column names and numbers only; empty where there is none."""
    try:
        table = pd.read_csv(folder / "results.csv", skipinitialspace=True)
    except (OSError, ValueError):
        return pd.DataFrame()
    table.columns = [str(name).strip() for name in table.columns]
    numbers = table.apply(pd.to_numeric, errors="coerce").replace([float("inf"), float("-inf")], float("nan"))
    return numbers.dropna(subset=["epoch"]) if "epoch" in numbers else pd.DataFrame()


def _read_findings(path: Path) -> list[dict[str, Any]]:
    """The findings of an ``audit.json``; none where it cannot be read."""
    try:
        found = clean(json.loads(path.read_bytes()))["findings"]
    except (OSError, ValueError, KeyError, TypeError):
        return []
    return [row for row in found if isinstance(row, dict)] if isinstance(found, list) else []
