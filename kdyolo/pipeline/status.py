"""How far a run is, as plain data; looks only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kdyolo.config import load_config
from kdyolo.stages.base import Stage
from kdyolo.storage import RunDir


def describe(run: RunDir, stages: Sequence[Stage]) -> dict[str, Any]:
    """State of a run: each stage's status, time and facts, who holds the run, its report, and the next command.

    A run with label budgets has, in place of ``stages``, ``budgets``: the state of each of its runs that was begun.

    Raises:
        ConfigError: There is no run.
    """
    run.require_begun()
    if chains := load_config(run.config).label_budgets:
        return _describe_budgets(run, stages, len(set(chains)))
    holder = run.holder()
    states = [_state(run, stage.name, in_use=holder is not None) for stage in stages]
    report = run.root / "report" / "report.html"
    finished = all(state["status"] == "done" for state in states) and report.is_file()
    return {
        "run": str(run.root),
        "stages": states,
        "locked_by": holder,
        "report": str(report) if report.is_file() else None,
        "next": None if holder or finished else f"kdyolo run --run {run.shown}",
    }


def _describe_budgets(run: RunDir, stages: Sequence[Stage], chains: int) -> dict[str, Any]:
    begun = sorted((path.parent for path in run.budgets.glob("*/config.yaml")), key=lambda p: float(p.name))
    states = [describe(RunDir(path), stages) for path in begun]
    report, holder = run.root / "report" / "report.html", run.holder()
    finished = len(states) == chains and all(state["next"] is None for state in states) and report.is_file()
    return {
        "run": str(run.root),
        "budgets": states,
        "locked_by": holder,
        "report": str(report) if report.is_file() else None,
        "next": None if holder or finished else f"kdyolo run --run {run.shown}",
    }


def _state(run: RunDir, name: str, *, in_use: bool) -> dict[str, Any]:
    record = run.record(name)
    if record is None:
        return {"stage": name, "status": "damaged" if run.stage(name).exists() else "not started"}
    damaged = run.damaged_outputs(record) if record.status == "done" else []
    state = {
        "stage": name,
        "status": "stopped" if record.status == "running" and not in_use else "damaged" if damaged else record.status,
        "when": record.ended or None,
        "seconds": record.seconds,
        "facts": record.facts,
        "error": f"{damaged[0]} is missing or was changed since." if damaged else record.error,
    }
    epochs = run.stage(name) / "results.csv"
    if record.status != "done" and epochs.is_file():
        state["facts"] = {"epochs": len(epochs.read_text(encoding="utf-8").splitlines()) - 1}
    return state
