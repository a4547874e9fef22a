"""How plans, stages, comparisons and states look: one table each, or one JSON object."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kdyolo.api import read_summary
from kdyolo.cli.console import Console
from kdyolo.pipeline import Outcome, Step
from kdyolo.report.load import FOLDERS
from kdyolo.report.numbers import NA, duration, fraction, number, percent, plain
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


def plans(console: Console, run: RunDir, planned: Sequence[tuple[RunDir, Sequence[Step]]]) -> None:
    """What `--dry-run` shows: the steps of the run and of its assistant, or of each of its label budgets."""
    own = [_plan(steps) for one, steps in planned if one.root == run.root]
    others = [{"run": str(one.root), **_plan(steps)} for one, steps in planned if one.root != run.root]
    data: dict[str, Any] = {"run": str(run.root), **(own[0] if own else {"budgets": others})}
    if own and others:
        data["assistant"] = others[0]

    def render() -> None:
        for one, steps in planned:
            rows = [(s.stage, s.action, s.reason, duration(_estimate(s))) for s in steps]
            console.table(f"Plan for {one.root}", ("stage", "action", "why", "will take about"), rows, right="3")
            if consent := [step.stage for step in steps if step.changes]:
                console.line(f"Work done otherwise would be redone ({', '.join(consent)}): say --resume or --force.")

    console.result(data, render)


def _plan(steps: Sequence[Step]) -> dict[str, Any]:
    return {
        "plan": [
            {"stage": s.stage, "action": s.action, "reason": s.reason, "estimated_seconds": _estimate(s)} for s in steps
        ],
        "needs_resume_or_force": any(step.changes for step in steps),
    }


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
    data = _finished(run, outcome)
    summary = data["summary"]

    def render() -> None:
        arms = summary.get("arms") or {}
        columns = [(key, title) for key, (title, _) in ARM_COLUMNS.items()]
        rows = [(name, *(_cell(arm, key) for key, _ in columns)) for name, arm in arms.items()]
        right = " ".join(str(number) for number in range(2, len(columns) + 1))
        console.table("", ("", *(title for _, title in columns)), rows, right=right)
        console.line(summary.get("verdict", ""))
        console.line(f"Report: {data['report']}")

    console.result(data, render)


def budgets(console: Console, run: RunDir, outcome: Outcome) -> None:
    """What a finished run with label budgets shows: mAP50-95 at each budget, and where the report is."""
    data = _finished(run, outcome)
    summary = data["summary"]

    def render() -> None:
        arms = [arm for arm in FOLDERS if any(b.get(f"{arm}_mAP50_95") is not None for b in summary["budgets"])]
        rows = [
            (percent(b["labels_fraction"]), *(number(b[f"{kind}_images"]) for kind in ("labelled", "unlabelled")),
             *(fraction(b.get(f"{arm}_mAP50_95")) for arm in arms), number(b["gain_points"], 1))
            for b in summary["budgets"]
        ]  # fmt: skip
        head = ("labels", "labelled images", "unlabelled", *(f"{arm} mAP50-95" for arm in arms), "gain (points)")
        console.table("", head, rows, right=" ".join(str(column) for column in range(1, len(head))))
        console.line(summary["verdict"])
        console.line(f"Report: {data['report']}")

    console.result(data, render)


def _finished(run: RunDir, outcome: Outcome) -> dict[str, Any]:
    return {
        "run": str(run.root),
        "report": str(run.root / "report" / "report.html"),
        "ran": outcome.ran,
        "skipped": outcome.skipped,
        "summary": read_summary(run),
    }


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
