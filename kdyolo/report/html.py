"""The page: one self-contained file that needs no network and can be read without its script."""

from __future__ import annotations

import shlex
from functools import partial
from typing import Any

import pandas as pd
from markupsafe import Markup

from kdyolo.datasets.auditing.codes import CODES
from kdyolo.language import ENGLISH, Language, mark
from kdyolo.report import cautions, examples, facts, numbers, plots, proof, proof_plots, tables, verdict
from kdyolo.report.arms import name as arm_name
from kdyolo.report.arms import titles as arm_titles
from kdyolo.report.glossary import glossary
from kdyolo.report.load import FOLDERS, Arm, Inputs
from kdyolo.report.pages import environment

_LOSSES: dict[str, tuple[str, str | None]] = {
    mark("Box loss"): ("train/box_loss", "val/box_loss"),
    mark("Class loss"): ("train/cls_loss", "val/cls_loss"),
    mark("DFL loss"): ("train/dfl_loss", "val/dfl_loss"),
    mark("Distillation loss"): ("train/kd_loss", None),
    mark("Weight of the distillation"): ("kd_weight", None),
    mark("Its gradient over that of the labels"): ("kd_gradient_ratio", None),
    mark("Cosine between both gradients"): ("kd_gradient_cosine", None),
}
_SCORES: dict[str, tuple[str, str | None]] = {
    mark("mAP50 on validation"): ("metrics/mAP50(B)", None),
    mark("mAP50-95 on validation"): ("metrics/mAP50-95(B)", None),
}
_SEVERITIES: dict[Any, str] = {"error": mark("error"), "warning": mark("warning"), "note": mark("note")}
_OPEN_PICTURES = 3


def page(inputs: Inputs, language: Language = ENGLISH) -> str:
    """The whole report as HTML; every text of the run is escaped."""
    templates = environment(language)
    templates.filters["lessons"] = partial(verdict.lessons, language=language)
    return templates.get_template("report.html.j2").render(_context(inputs, language)).rstrip() + "\n"


def _context(inputs: Inputs, language: Language) -> dict[str, Any]:
    results, arms, titles = inputs.results, inputs.arms, arm_titles(language)
    shown = examples.pictures(inputs, language)
    arranged = partial(facts.arrange, language=language, keep=frozenset(results.classes))
    return {
        "run": inputs.name,
        "results": results,
        "arms": arms,
        "titles": titles,
        "names": {arm: arm_name(arm, language) for arm in arms},
        "split": verdict.split_name(results, language),
        "verdict": _opening(verdict.verdict(results, language)),
        "task": verdict.task(inputs, language),
        "version": numbers.plain(inputs.manifest.get("kdyolo")),
        "operating_points": verdict.operating_points(results, language),
        "counted": any(arm.found is not None for arm in arms.values()),
        "warnings": cautions.warnings(results, language),
        "headline": verdict.headline(results, language),
        "measured": verdict.how_measured(results.measured, language),
        "per_class": _per_class(arms),
        "proof": _proof(inputs, language),
        **_plots(inputs, language),
        "rare": proof.rare_classes(results),
        "nothing": language.word(proof.NOTHING),
        "epochs": {arm: _epoch_rows(table, language) for arm, table in inputs.epochs.items()},
        "pictures": [picture for picture in shown if picture.group not in proof.GROUPS],
        "gallery": _gallery(shown, language),
        "happened": {group: words for group, (_, _, words) in proof.GROUPS.items()},
        "open_pictures": _OPEN_PICTURES,
        "legend": examples.legend(inputs, shown),
        "facts": {name: arranged(record.facts) for name, record in inputs.records.items()},
        "manifest": arranged(inputs.manifest),
        "versions": arranged(results.versions),
        "config": inputs.config,
        "folders": FOLDERS,
        "trained": {stage: titles[arm] for arm, stage in FOLDERS.items() if stage in inputs.records},
        "findings": _findings(inputs, language),
        "commands": commands(inputs, language),
        "glossary": glossary(language),
    }


def _opening(text: str) -> tuple[str, str]:
    """The first sentence and the others."""
    first, stop, rest = text.partition(". ")
    return first + stop.strip(), rest


def _proof(inputs: Inputs, language: Language) -> dict[str, Any]:
    results, arms = inputs.results, inputs.arms
    return {
        "differences": proof.differences(results, language),
        "classes": proof.class_differences(results, language),
        "by_seed": proof.by_seed(arms, language),
        "keeps": proof.keeps(results, language),
        "inherited_head": proof.inherited_head(language),
        "inherited": proof.inherited(results, language),
        "copied": proof.copied(results, language),
        "fidelity": proof.fidelity(results, language),
        "confusions": proof.confusions(arms, language),
        "sizes": proof.sizes(arms, language),
        "calibration": proof.calibration(arms, language),
    }


def _plots(inputs: Inputs, language: Language) -> dict[str, list[Markup]]:
    results, arms = inputs.results, inputs.arms
    return {
        "interval_plot": _markup([proof_plots.intervals(results, language)]),
        "error_plots": _markup([proof_plots.error_bars(arms, language), proof_plots.reliability(arms, language)]),
        "confidence_plots": _markup(proof_plots.confidence_curves(arms, language)),
        "score_curves": _markup(plots.line_plots(inputs.epochs, _SCORES, (5.0, 3.3), language)),
        "loss_curves": _markup(plots.line_plots(inputs.epochs, _LOSSES, language=language)),
        "accuracy_plots": _markup([plots.speed_accuracy(arms, language), plots.precision_recall(arms, language)]),
        "class_plot": _markup([plots.class_bars(arms, results.classes, language)]),
    }


def commands(inputs: Inputs, language: Language = ENGLISH) -> list[str]:
    """What to type in the folder that holds the run to make it and its report again."""
    packages = inputs.manifest.get("packages")
    pinned = [f"{name}=={version}" for name, version in packages.items()] if isinstance(packages, dict) else []
    lines = [["pip", "install", *pinned]] if pinned else []
    lines.append(["kdyolo", "run", "-c", f"./{inputs.name}/config.yaml", "--run", f"./{inputs.name}-again"])
    spoken = [] if language == ENGLISH else ["--lang", language.code]
    lines.append(["kdyolo", "report", f"./{inputs.name}", *spoken])
    return [shlex.join(words) for words in lines]


def _findings(inputs: Inputs, language: Language) -> list[list[str]]:
    """One row a kind of finding of the audit: what, how bad, how many, its code."""
    return [
        [
            language.word(CODES[code].title) if (code := str(found.get("code"))) in CODES else code,
            language.word(_SEVERITIES.get(found.get("severity"), numbers.plain(found.get("severity")))),
            numbers.plain(found.get("count"), language),
            code,
        ]
        for found in inputs.findings
    ]


def _gallery(shown: list[examples.Picture], language: Language) -> list[tuple[str, str, list[examples.Picture]]]:
    """Heading, explanation and pictures of each group that has any."""
    groups = [
        (language.word(title), language.word(words), [picture for picture in shown if picture.group == group])
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


def _epoch_rows(epochs: pd.DataFrame, language: Language) -> tuple[list[str], list[list[str]]]:
    """Head and body of an epoch table as shown."""
    table = tables.epoch_table(epochs)
    decimals = {"epoch": 0, "time (s)": 1}
    names = [str(name) for name in table]
    columns = [[numbers.number(value, decimals.get(name, 3), language) for value in table[name]] for name in names]
    return [language.word(name) for name in names], [list(row) for row in zip(*columns, strict=True)]
