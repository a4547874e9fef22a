"""The page: one self-contained file that needs no network and can be read without its script."""

from __future__ import annotations

import shlex
from typing import Any

import pandas as pd
from markupsafe import Markup

from kdyolo.datasets.auditing.codes import CODES
from kdyolo.report import examples, facts, numbers, plots, proof, proof_plots, tables, verdict
from kdyolo.report.load import FOLDERS, Arm, Inputs
from kdyolo.report.pages import environment

TITLES = {"teacher": "Teacher", "student": "Student", "control": "Control", "longer": "Longer control"}

_LOSSES: dict[str, tuple[str, str | None]] = {
    "Box loss": ("train/box_loss", "val/box_loss"),
    "Class loss": ("train/cls_loss", "val/cls_loss"),
    "DFL loss": ("train/dfl_loss", "val/dfl_loss"),
    "Distillation loss": ("train/kd_loss", None),
    "Weight of the distillation": ("kd_weight", None),
    "Its gradient over that of the labels": ("kd_gradient_ratio", None),
    "Cosine between both gradients": ("kd_gradient_cosine", None),
}
_SCORES: dict[str, tuple[str, str | None]] = {
    "mAP50 on validation": ("metrics/mAP50(B)", None),
    "mAP50-95 on validation": ("metrics/mAP50-95(B)", None),
}
_OPEN_PICTURES = 3


def page(inputs: Inputs) -> str:
    """The whole report as HTML; every text of the run is escaped."""
    templates = environment()
    templates.filters["lessons"] = verdict.lessons
    return templates.get_template("report.html.j2").render(_context(inputs)).rstrip() + "\n"


def _context(inputs: Inputs) -> dict[str, Any]:
    results, arms = inputs.results, inputs.arms
    shown = examples.pictures(inputs)
    return {
        "run": inputs.name,
        "results": results,
        "arms": arms,
        "titles": TITLES,
        "verdict": _opening(verdict.verdict(results)),
        "warnings": verdict.warnings(results),
        "headline": verdict.headline(results),
        "measured": verdict.how_measured(results.measured),
        "per_class": _per_class(arms),
        "proof": _proof(inputs),
        "interval_plot": _markup([proof_plots.intervals(results)]),
        "error_plots": _markup([proof_plots.error_bars(arms), proof_plots.reliability(arms)]),
        "confidence_plots": _markup(proof_plots.confidence_curves(arms)),
        "rare": proof.rare_classes(results),
        "nothing": proof.NOTHING,
        "score_curves": _markup(plots.line_plots(inputs.epochs, _SCORES, (5.0, 3.3))),
        "loss_curves": _markup(plots.line_plots(inputs.epochs, _LOSSES)),
        "accuracy_plots": _markup([plots.speed_accuracy(arms), plots.precision_recall(arms)]),
        "class_plot": _markup([plots.class_bars(arms, results.classes)]),
        "epochs": {arm: _epoch_rows(table) for arm, table in inputs.epochs.items()},
        "pictures": [picture for picture in shown if picture.group not in proof.GROUPS],
        "gallery": _gallery(shown),
        "happened": {group: words for group, (_, _, words) in proof.GROUPS.items()},
        "open_pictures": _OPEN_PICTURES,
        "legend": examples.legend(inputs, shown),
        "facts": {name: facts.arrange(record.facts) for name, record in inputs.records.items()},
        "manifest": facts.arrange(inputs.manifest),
        "versions": facts.arrange(results.versions),
        "config": inputs.config,
        "folders": FOLDERS,
        "trained": {stage: TITLES[arm] for arm, stage in FOLDERS.items() if stage in inputs.records},
        "findings": _findings(inputs),
        "commands": commands(inputs),
    }


def _opening(text: str) -> tuple[str, str]:
    """The first sentence and the others."""
    first, stop, rest = text.partition(". ")
    return first + stop.strip(), rest


def _proof(inputs: Inputs) -> dict[str, Any]:
    results, arms = inputs.results, inputs.arms
    return {
        "differences": proof.differences(results),
        "classes": proof.class_differences(results),
        "by_seed": proof.by_seed(arms),
        "kept": {arm: text for arm in ("student", "control") if (text := proof.kept(results, arm))},
        "inherited_head": proof.INHERITED_HEAD,
        "inherited": proof.inherited(results),
        "copied": proof.copied(results),
        "fidelity": proof.fidelity(results),
        "confusions": proof.confusions(arms),
        "sizes": proof.sizes(arms),
        "calibration": proof.calibration(arms),
    }


def commands(inputs: Inputs) -> list[str]:
    """What to type in the folder that holds the run to make it and its report again."""
    packages = inputs.manifest.get("packages")
    pinned = [f"{name}=={version}" for name, version in packages.items()] if isinstance(packages, dict) else []
    lines = [["pip", "install", *pinned]] if pinned else []
    lines.append(["kdyolo", "run", "-c", f"./{inputs.name}/config.yaml", "--run", f"./{inputs.name}-again"])
    lines.append(["kdyolo", "report", f"./{inputs.name}"])
    return [shlex.join(words) for words in lines]


def _findings(inputs: Inputs) -> list[list[str]]:
    """One row a kind of finding of the audit: what, how bad, how many, its code."""
    return [
        [
            CODES[code].title if (code := str(found.get("code"))) in CODES else code,
            numbers.plain(found.get("severity")),
            numbers.plain(found.get("count")),
            code,
        ]
        for found in inputs.findings
    ]


def _gallery(shown: list[examples.Picture]) -> list[tuple[str, str, list[examples.Picture]]]:
    """Heading, explanation and pictures of each group that has any."""
    groups = [
        (title, words, [picture for picture in shown if picture.group == group])
        for group, (title, words, _) in proof.GROUPS.items()
    ]
    return [(title, words, pictures) for title, words, pictures in groups if pictures]


def _markup(svgs: list[str | None] | list[str]) -> list[Markup]:
    """Drawn by this package, with texts escaped by matplotlib."""
    return [Markup(svg) for svg in svgs if svg]  # noqa: S704


def _per_class(arms: dict[str, Arm]) -> dict[str, dict[str, Any]]:
    """Class -> arm -> its figures."""
    rows: dict[str, dict[str, Any]] = {}
    for name, arm in arms.items():
        for row in arm.per_class:
            rows.setdefault(row.name, {})[name] = row
    return rows


def _epoch_rows(epochs: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Head and body of an epoch table as shown."""
    table = tables.epoch_table(epochs)
    decimals = {"epoch": 0, "time (s)": 1}
    names = [str(name) for name in table]
    columns = [[numbers.number(value, decimals.get(name, 3)) for value in table[name]] for name in names]
    return names, [list(row) for row in zip(*columns, strict=True)]
