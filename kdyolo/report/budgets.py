"""The report of a run with label budgets: mAP50-95 against the share of labelled images, from the runs' own files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from markupsafe import Markup

from kdyolo.config import load_config, stable_hash
from kdyolo.language import ENGLISH, Lang, Language, language, mark
from kdyolo.report import plots
from kdyolo.report.load import FOLDERS, Inputs, load
from kdyolo.report.numbers import NA, number, points
from kdyolo.report.pages import environment
from kdyolo.report.tables import write_csv
from kdyolo.report.verdict import split_name
from kdyolo.storage import RunDir, sha256_file, write_json, write_text

_HEADS = {
    "teacher": mark("Teacher mAP50-95"),
    "student": mark("Student mAP50-95"),
    "control": mark("Control mAP50-95"),
    "longer": mark("Longer mAP50-95"),
}


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

    The page is in the language of the run's settings; the other two are for programs and in English.

    Raises:
        ConfigError: The settings of the run are not there, or cannot be read.
        DatasetError: One of the runs is not compared yet, or its comparison cannot be read.
        EnvironmentFault: The disk is full or cannot be written.
    """
    spoken = _spoken(run)
    inputs = [load(one) for one in runs]
    budgets = [_budget(run, one, read) for one, read in zip(runs, inputs, strict=True)]
    folder = run.stage("report")
    files = [folder / "summary.json", folder / "report.html", folder / "budgets.csv"]
    rows = [_row(budget) for budget in budgets]
    write_text(files[1], _page(run, inputs, budgets, language(spoken)))
    write_csv(pd.DataFrame(rows), files[2])
    summary = {"split": inputs[0].results.split, "images": inputs[0].results.images, "verdict": verdict(budgets)}
    # Last, since it also says what the report was built from.
    made = {**({} if spoken == "en" else {"lang": spoken}), "made_from": _state(runs), "files": _hashes(files[1:])}
    write_json(files[0], {**summary, "budgets": rows, **made})
    return files


def is_current(run: RunDir, runs: Sequence[RunDir]) -> bool:
    """Whether the report was built from these runs in the run's language, and nobody has changed anything since.

    Raises:
        ConfigError: The settings of the run are not there, or cannot be read.
    """
    folder, spoken = run.stage("report"), _spoken(run)
    try:
        made = json.loads((folder / "summary.json").read_bytes())
        same = made["made_from"] == _state(runs) and made.get("lang", "en") == spoken
        return bool(same and made["files"] == _hashes([folder / name for name in made["files"]]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def _spoken(run: RunDir) -> Lang:
    return load_config(run.config).report.lang


def verdict(budgets: Sequence[Budget], language: Language = ENGLISH) -> str:
    """What the curve shows, in one sentence that claims no more."""
    say, least, most = language.gettext, budgets[0], budgets[-1]
    if least.gain is None:
        return say("Student and control cannot be compared: mAP50-95 could not be measured for both.")
    sentence = say(
        "With %(share)s of the labels (%(images)s images) the distilled student reaches %(student)s mAP50-95 points, "
        "its control %(control)s (%(gain)s)",
        images=number(least.labelled, 0, language),
        **_figures(least, language),
    )
    if len(budgets) > 1 and most.gain is not None:
        at_most = say(
            "with %(share)s of them %(student)s against %(control)s (%(gain)s)",
            **_figures(most, language),
        )
        sentence = f"{sentence}; {at_most}"
    chance = say("One training each, so a difference of a point or two may be chance.")
    return f"{sentence}. {chance}"


def _figures(budget: Budget, language: Language) -> dict[str, str]:
    scores = {arm: points(budget.scores[arm], language) for arm in ("student", "control")}
    return {"share": _percent(budget.share, language), "gain": _gain(budget.gain, language), **scores}


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


def _page(run: RunDir, inputs: Sequence[Inputs], budgets: Sequence[Budget], language: Language) -> str:
    page = environment(language)
    page.filters |= {"share": partial(_percent, language=language), "gain": partial(_gain, language=language)}
    return (
        page.get_template("budgets.html.j2")
        .render(
            run=run.root.name,
            images=inputs[0].results.images,
            split=split_name(inputs[0].results, language),
            student=inputs[0].arms["student"].model if "student" in inputs[0].arms else None,
            adopted="adopted_from" in inputs[0].records["teacher"].facts,
            budgets=budgets,
            heads={
                arm: language.gettext(_HEADS[arm]) for arm in FOLDERS if any(arm in budget.scores for budget in budgets)
            },
            verdict=verdict(budgets, language),
            # Drawn by this package.
            curve=Markup(plots.label_curve([(b.share, b.scores) for b in budgets], language)),  # noqa: S704
        )
        .rstrip()
        + "\n"
    )


def _percent(share: float, language: Language) -> str:
    return language.digits(f"{100 * share:.4g} %")


def _gain(points: float | None, language: Language) -> str:
    return language.word(NA) if points is None else language.digits(f"{points:+.1f}")


def _state(runs: Sequence[RunDir]) -> dict[str, str]:
    """What a report is made from: the outputs of each run's comparison."""
    records = {run.root.name: run.record("compare") for run in runs}
    return {name: stable_hash(record.outputs if record else None) for name, record in records.items()}


def _hashes(files: Sequence[Path]) -> dict[str, str]:
    return {file.name: sha256_file(file) for file in files}
