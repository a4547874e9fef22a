"""A benchmark as rows for tables: the same figures in the terminal, in Markdown and as csv."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kdyolo.errors import RunExistsError
from kdyolo.report.numbers import number, ratio
from kdyolo.storage import write_json, write_text
from kdyolo.text import neutralise

JSON, CSV = "benchmark.json", "benchmark.csv"
TIME_COLUMNS = (
    "model", "backend", "precision", "input", "p50", "p90", "p95", "p99", "pre", "infer", "post", "faster",
)  # fmt: skip


def time_rows(result: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Milliseconds an image, one at a time; the parts are medians."""
    return [
        (
            row["model"],
            row["backend"],
            row["precision"],
            row["inputs"][0] if len(row["inputs"]) == 1 else f"{len(row['inputs'])} sizes",
            *(number(row["latency_ms"][f"p{q}"], 1) for q in (50, 90, 95, 99)),
            *(number(row["latency_ms"][part]["p50"], 1) for part in ("preprocess", "inference", "nms")),
            ratio(row["faster"]),
        )
        for row in result["rows"]
    ]


def cost_columns(result: Mapping[str, Any]) -> tuple[str, ...]:
    """Of `cost_rows`."""
    rates = (f"images/s at {size}" for size in result["batches"])
    return ("model", "backend", *rates, "memory MB", "file MB", "J/image", "mAP50-95", "change (points)")


def cost_rows(result: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Throughput by batch size, memory, size, energy, and accuracy with its change in mAP50-95 points."""
    return [
        (
            row["model"],
            row["backend"],
            *(number(rate["images_per_second"], 1) for rate in row["images_per_second"].values()),
            number(row["memory_mb"]),
            number(row["size_mb"], 1),
            number(row["energy_j"], 2),
            number(row["mAP50_95"], 4),
            _change(row["mAP50_95_change"]),
        )
        for row in result["rows"]
    ]


def _change(value: float | None) -> str:
    """A difference of scores in points, with its sign."""
    return number(None) if value is None else f"{100 * value:+.2f}"


def conditions(result: Mapping[str, Any]) -> list[str]:
    """What the figures hold for, in sentences."""
    threads = sorted({row["threads"] for row in result["rows"]})
    devices = sorted({row["device"] for row in result["rows"]})
    warm = max(row["warmup"]["images"] for row in result["rows"])
    rounds = result["rows"][0]["rounds"]
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    sentences = [
        f"{result['processor']}, {result['cores']} cores; device {', '.join(devices)}; {_plain(threads)} threads.",
        f"{result['timed_images']} images timed one at a time ({result['different_images']} different), models and "
        f"backends in turns, after {warm} images of warm-up; boxes above {result['timed_conf']}. The {rounds['kept']} "
        f"quietest of {rounds['timed']} rounds, {100 * rounds['apart']:.1f} % apart on average.",
        f"Accuracy: {result['accuracy']}. Energy: {result['energy']}.",
        versions + ".",
    ]
    return sentences + [f"Left out: {one['backend']}. {one['reason']}" for one in result["skipped"]]


def _plain(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))


def require_free(folder: Path) -> None:
    """Make sure that no earlier benchmark is overwritten.

    Raises:
        RunExistsError: There is one.
    """
    for name in (JSON, CSV):
        if (folder / name).exists():
            raise RunExistsError(f"{folder / name} exists.", "Give --out another folder.")


def write(result: Mapping[str, Any], folder: Path) -> None:
    """Leave ``benchmark.json`` and ``benchmark.csv`` in a folder."""
    write_json(folder / JSON, result)
    lines = [_flat(row) for row in result["rows"]]
    import pandas as pd

    write_text(folder / CSV, pd.DataFrame(lines).to_csv(index=False))


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row with what is nested in it under joined names, ``latency_ms.p50``."""
    flat: dict[str, Any] = {}
    for key, value in row.items():
        if isinstance(value, Mapping):
            flat |= {f"{key}.{inner}": one for inner, one in _flat(value).items()}
        else:
            flat[key] = " ".join(map(str, value)) if isinstance(value, list) else neutralise(value)
    return flat
