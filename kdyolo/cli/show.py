"""How plans, stages, comparisons and states look: one table each, or one JSON object."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kdyolo.api import read_summary
from kdyolo.cli.console import Console
from kdyolo.pipeline import Outcome, Step
from kdyolo.report.numbers import NA, duration, plain
from kdyolo.storage import RunDir

ARM_COLUMNS = {
    "model": ("model", "{}"),
    "params": ("parameters", "{:,}"),
    "gflops": ("GFLOPs", "{:.1f}"),
    "size_mb": ("MB", "{:.1f}"),
    "train_seconds": ("trained (s)", "{:.0f}"),
    "precision": ("P", "{:.3f}"),
    "recall": ("R", "{:.3f}"),
    "mAP50": ("mAP50", "{:.3f}"),
    "mAP50_95": ("mAP50-95", "{:.3f}"),
    "latency_ms": ("ms/image", "{:.1f}"),
    "fps": ("FPS", "{:.1f}"),
}


def plan(console: Console, run: RunDir, steps: Sequence[Step]) -> None:
    """What `--dry-run` shows."""
    consent = [step.stage for step in steps if step.changes]
    data = {
        "run": str(run.root),
        "plan": [
            {"stage": s.stage, "action": s.action, "reason": s.reason, "estimated_seconds": _estimate(s)} for s in steps
        ],
        "needs_resume_or_force": bool(consent),
    }

    def render() -> None:
        rows = [(s.stage, s.action, s.reason, duration(_estimate(s))) for s in steps]
        console.table(f"Plan for {run.root}", ("stage", "action", "why", "last time"), rows, right="3")
        if consent:
            console.line(f"Work done otherwise would be redone ({', '.join(consent)}): say --resume or --force.")

    console.result(data, render)


def stage(console: Console, run: RunDir, name: str, outcome: Outcome) -> None:
    """What a single stage's command shows: the figures of its record."""
    record = run.require(name)
    data = {
        "run": str(run.root),
        "stage": name,
        "status": record.status,
        "ran": name in outcome.ran,
        "seconds": record.seconds,
        "facts": record.facts,
    }

    def render() -> None:
        console.table(f"{name}: done, {duration(record.seconds)}", ("fact", "value"), lines(record.facts))

    console.result(data, render)


def comparison(console: Console, run: RunDir, outcome: Outcome) -> None:
    """What a finished run shows: all models side by side, and where the report is."""
    summary = read_summary(run)
    report = run.root / "report" / "report.html"
    data = {
        "run": str(run.root),
        "report": str(report),
        "ran": outcome.ran,
        "skipped": outcome.skipped,
        "summary": summary,
    }

    def render() -> None:
        arms = summary.get("arms") or {}
        columns = [(key, title) for key, (title, _) in ARM_COLUMNS.items()]
        rows = [(name, *(_cell(arm, key) for key, _ in columns)) for name, arm in arms.items()]
        right = " ".join(str(number) for number in range(2, len(columns) + 1))
        console.table("", ("", *(title for _, title in columns)), rows, right=right)
        console.line(summary.get("verdict", ""))
        console.line(f"Report: {report}")

    console.result(data, render)


def lines(facts: dict[str, Any]) -> list[tuple[str, str]]:
    """Facts that fit a line: texts, numbers, and short lists and mappings of them."""
    texts = {key: plain(value) for key, value in facts.items()}
    return [(key, text) for key, text in texts.items() if len(text) <= 200]


def _estimate(step: Step) -> float | None:
    return 0.0 if step.action == "skip" else step.seconds


def _cell(arm: dict[str, Any], key: str) -> str:
    value = arm.get(key)
    if isinstance(value, dict):  # a latency with its quantiles: the median stands for it
        value = value.get("p50")
    return NA if value is None else ARM_COLUMNS[key][1].format(value)
