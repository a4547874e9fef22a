"""``manifest.json``: what a run was made with and from, and whether its report is up to date."""

from __future__ import annotations

import contextlib
import json
import platform
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kdyolo.config import Config, stable_hash
from kdyolo.engine.environment import processor_name
from kdyolo.language import Lang
from kdyolo.pipeline.keys import package_version
from kdyolo.stages.base import Stage
from kdyolo.storage import RunDir, StageRecord, write_json

PACKAGES = ("ultralytics", "torch", "torchvision", "numpy", "opencv-python")


def write_manifest(run: RunDir, config: Config, stages: Sequence[Stage], report: Sequence[Path] = ()) -> None:
    """Write the manifest from the records as they are now.

    Args:
        run: The run.
        config: Its settings.
        stages: The chain.
        report: Files of a report built from exactly these records; without them an earlier entry is kept.
    """
    records = {stage.name: record for stage in stages if (record := run.record(stage.name))}
    built = _built(run, stages, report, config.report.lang) if report else _read(run).get("report", {})
    data = {
        "kdyolo": package_version("kdyolo"),
        "packages": {name: package_version(name) for name in PACKAGES},
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": processor_name(),
        "seed": config.seed,
        "split_seed": config.split.seed,
        "git_commit": git_commit(),
        "dataset_sha256": records["split"].facts.get("dataset_sha256") if "split" in records else None,
        "stages": {name: _stage(record) for name, record in records.items()},
        "report": built,
    }
    write_json(run.manifest, data)


def record_report(run: RunDir, stages: Sequence[Stage], report: Sequence[Path], lang: Lang = "en") -> None:
    """Say in the manifest that a report was built from the records as they are; what made the run stays as it is."""
    write_json(run.manifest, {**_read(run), "report": _built(run, stages, report, lang)})


def report_is_current(run: RunDir, stages: Sequence[Stage], lang: Lang = "en") -> bool:
    """Whether the report was built in `lang` from the records as they are, and nobody has changed it since."""
    report = _read(run).get("report")
    if not isinstance(report, dict) or report.get("of") != _state(run, stages) or report.get("lang", "en") != lang:
        return False
    files = report.get("files")
    if not isinstance(files, dict) or not files:
        return False
    with contextlib.suppress(OSError):
        return run.hash_outputs(run.root / name for name in files) == files
    return False


def _built(run: RunDir, stages: Sequence[Stage], report: Sequence[Path], lang: Lang) -> dict[str, Any]:
    return {"of": _state(run, stages), "lang": lang, "files": run.hash_outputs(report)}


def git_commit() -> str | None:
    """Commit checked out in the working directory; None outside of git."""
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        done = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5, check=True)
        return done.stdout.strip()
    return None


def _stage(record: StageRecord) -> dict[str, Any]:
    entry = record.model_dump(mode="json", include={"status", "key", "sequence", "seconds"})
    read = record.facts.get("labels_sha256")  # proof of which label files were read, or written
    return entry if read is None else {**entry, "labels_sha256": read}


def _state(run: RunDir, stages: Sequence[Stage]) -> str:
    records = [run.record(stage.name) for stage in stages]
    return stable_hash([record.model_dump(mode="json") if record else None for record in records])


def _read(run: RunDir) -> dict[str, Any]:
    with contextlib.suppress(OSError, ValueError):
        data = json.loads(run.manifest.read_bytes())
        return data if isinstance(data, dict) else {}
    return {}
