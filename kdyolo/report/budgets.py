"""The report of a run with label budgets: mAP50-95 against the share of labelled images, from the runs' own files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from markupsafe import Markup

from kdyolo.config import stable_hash
from kdyolo.report import plots
from kdyolo.report.load import FOLDERS, Inputs, load
from kdyolo.report.numbers import number, points
from kdyolo.report.pages import environment
from kdyolo.report.tables import write_csv
from kdyolo.storage import RunDir, sha256_file, write_json, write_text


@dataclass(frozen=True)
class Budget:
    """One label budget and what came of it.

    Attributes:
        share: Of the training images that keep their labels, in (0, 1].
        labelled: Number of those images.
        pool: Number of unlabelled images.
        scores: Arm -> mAP50-95 on the test split; None where it could not be measured.
        report: Its own report, relative to the run directory.
    """

    share: float
    labelled: int
    pool: int
    scores: dict[str, float | None]
    report: str

    @property
    def gain(self) -> float | None:
        """Student minus control in mAP50-95 points, as shown."""
        student, control = self.scores.get("student"), self.scores.get("control")
        return None if student is None or control is None else round(100 * (student - control), 1)


def build(run: RunDir, runs: Sequence[RunDir]) -> list[Path]:
    """Write ``report/summary.json``, ``budgets.csv`` and ``report.html`` from finished runs, smallest budget first.

    Raises:
        DatasetError: One of the runs is not compared yet, or its comparison cannot be read.
        EnvironmentFault: The disk is full or cannot be written.
    """
    inputs = [load(one) for one in runs]
    budgets = [_budget(run, one, read) for one, read in zip(runs, inputs, strict=True)]
    folder = run.stage("report")
    files = [folder / "summary.json", folder / "report.html", folder / "budgets.csv"]
    rows = [_row(budget) for budget in budgets]
    write_text(files[1], _page(run, inputs, budgets))
    write_csv(pd.DataFrame(rows), files[2])
    summary = {"split": inputs[0].results.split, "images": inputs[0].results.images, "verdict": verdict(budgets)}
    # Last, since it also says what the report was built from.
    write_json(files[0], {**summary, "budgets": rows, "made_from": _state(runs), "files": _hashes(files[1:])})
    return files


def is_current(run: RunDir, runs: Sequence[RunDir]) -> bool:
    """Whether the report was built from these runs as they are, and nobody has changed it since."""
    folder = run.stage("report")
    try:
        made = json.loads((folder / "summary.json").read_bytes())
        return bool(made["made_from"] == _state(runs) and made["files"] == _hashes([folder / n for n in made["files"]]))
    except (OSError, ValueError, KeyError, TypeError):
        return False


def verdict(budgets: Sequence[Budget]) -> str:
    """What the curve shows, in one sentence that claims no more."""
    least = budgets[0]
    if least.gain is None:
        return "Student and control cannot be compared: mAP50-95 could not be measured for both."
    sentence = (
        f"With {_percent(least.share)} of the labels ({number(least.labelled)} images) the distilled student reaches "
        f"{points(least.scores['student'])} mAP50-95 points, its control {points(least.scores['control'])} "
        f"({least.gain:+.1f})"
    )
    most = budgets[-1]
    if len(budgets) > 1 and most.gain is not None:
        sentence += f"; with {_percent(most.share)} of them {points(most.scores['student'])} against "
        sentence += f"{points(most.scores['control'])} ({most.gain:+.1f})"
    return f"{sentence}. One training each, so a difference of a point or two may be chance."


def _budget(run: RunDir, child: RunDir, inputs: Inputs) -> Budget:
    splits = inputs.records["split"].facts["splits"]
    return Budget(
        share=float(inputs.records["split"].settings["split"]["labels_fraction"]),
        labelled=splits["train"]["images"],
        pool=inputs.records["pseudo"].facts["images"] - splits["train"]["images"],
        scores={name: arm.mAP50_95 for name, arm in inputs.arms.items()},
        report=(child.stage("report") / "report.html").relative_to(run.root).as_posix(),
    )


def _row(budget: Budget) -> dict[str, Any]:
    return {
        "labels_fraction": budget.share,
        "labelled_images": budget.labelled,
        "unlabelled_images": budget.pool,
        **{f"{arm}_mAP50_95": budget.scores.get(arm) for arm in FOLDERS},
        "gain_points": budget.gain,
        "report": budget.report,
    }


def _page(run: RunDir, inputs: Sequence[Inputs], budgets: Sequence[Budget]) -> str:
    page = environment()
    page.filters["share"] = _percent
    return (
        page.get_template("budgets.html.j2")
        .render(
            run=run.root.name,
            results=inputs[0].results,
            student=inputs[0].arms["student"].model if "student" in inputs[0].arms else None,
            adopted="adopted_from" in inputs[0].records["teacher"].facts,
            budgets=budgets,
            arms=[arm for arm in FOLDERS if any(arm in budget.scores for budget in budgets)],
            verdict=verdict(budgets),
            curve=Markup(plots.label_curve([(b.share, b.scores) for b in budgets])),  # noqa: S704 - drawn by this package
        )
        .rstrip()
        + "\n"
    )


def _percent(share: float) -> str:
    return f"{100 * share:.4g} %"


def _state(runs: Sequence[RunDir]) -> dict[str, str]:
    """What a report is made from: the outputs of each run's comparison."""
    records = {run.root.name: run.record("compare") for run in runs}
    return {name: stable_hash(record.outputs if record else None) for name, record in records.items()}


def _hashes(files: Sequence[Path]) -> dict[str, str]:
    return {file.name: sha256_file(file) for file in files}
