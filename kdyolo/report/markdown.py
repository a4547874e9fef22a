"""``report.md``: the story of the page, short enough for the text of a pull request."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from kdyolo.language import ENGLISH, Language, mark
from kdyolo.report import cautions, facts, gfm, proof, tables, verdict
from kdyolo.report.arms import titles as arm_titles
from kdyolo.report.load import Arm, Inputs, Results
from kdyolo.report.numbers import duration, fraction, number, plain

_LONGEST_SENTENCE = 600
_MAIN = proof.METRICS["mAP50_95"]
_tenths = partial(number, decimals=1)
_FIGURES: dict[str, tuple[str, Callable[..., str]]] = {
    "mAP50-95": ("mAP50-95", fraction),
    "mAP50": ("mAP50", fraction),
    "mAP75": ("mAP75", fraction),
    "precision": (mark("Precision, mean of the classes"), fraction),
    "recall": (mark("Recall, mean of the classes"), fraction),
    "boxes found": (mark("Objects found"), number),
    "false alarms": (mark("False alarms"), number),
    "latency p50 (ms)": (mark("Median ms per image (p50)"), _tenths),
    "latency p95 (ms)": (mark("95 %% of images take less, ms (p95)"), _tenths),
    "FPS": (mark("Images per second (FPS)"), _tenths),
    "parameters": (mark("Parameters"), number),
    "GFLOPs": (mark("GFLOPs at 640 px"), _tenths),
    "size (MB)": (mark("File size, MB"), _tenths),
    "training time (s)": (mark("Training time"), duration),
}
"""Column of `tables.final_table` -> how it is called and written."""
_COUNTS = ("boxes found", "false alarms")
_SPEED_HEAD = (
    *(mark("Arm"), "p50", "p90", "p95", "p99", mark("Mean")),
    *(mark("Preparing"), mark("Inference"), "NMS", "FPS"),
)
_BETWEEN = (mark("Student - control (points)"), mark("95 %% interval"))


def report(inputs: Inputs, language: Language = ENGLISH) -> str:
    """The whole report as GitHub-flavoured Markdown; every text of the run is escaped."""
    context = {**figures(inputs, language), **_proof(inputs, language), **_origin(inputs, language)}
    return gfm.render("report.md.j2", context, language)


def figures(inputs: Inputs, language: Language = ENGLISH) -> dict[str, Any]:
    """What every text about a run shows: names, verdict, tables of figures."""
    results, arms = inputs.results, inputs.arms
    return {
        "run": inputs.name,
        "results": results,
        "titles": titles(arms, language),
        "split": verdict.split_name(results, language),
        "verdict": verdict.verdict(results, language),
        "operating_points": verdict.operating_points(results, language),
        "warnings": sentences(results, language),
        "headline": verdict.headline(results, language),
        "final": final_rows(inputs, language),
        "class_head": class_head(inputs, language),
        "classes": class_rows(inputs, language),
        "speed_head": [language.word(title) for title in _SPEED_HEAD],
        "speed": speed_rows(arms, language),
        "measured": verdict.how_measured(results.measured, language),
    }


def _proof(inputs: Inputs, language: Language) -> dict[str, Any]:
    results, arms = inputs.results, inputs.arms
    measured = titles({name: arm for name, arm in arms.items() if arm.calibration}, language)
    calibration = proof.calibration(arms, language)
    return {
        "main_differences": main_differences(results, language),
        "differences": [row for row in proof.differences(results, language) if row[1] != _MAIN],
        "by_seed": proof.by_seed(arms, language),
        "keeps": proof.keeps(results, language),
        "copied": proof.copied(results, language),
        "fidelity": proof.fidelity(results, language),
        "inherited_head": proof.inherited_head(language),
        "inherited": proof.inherited(results, language),
        "costs": cost_rows(arms, language),
        "sizes": proof.sizes(arms, language),
        "calibration": [[title, *row[1:]] for title, row in zip(measured, calibration, strict=True)],
    }


def _origin(inputs: Inputs, language: Language) -> dict[str, Any]:
    say = language.gettext
    arranged = partial(facts.arrange, language=language, keep=frozenset(inputs.results.classes))
    stages = {"split": say("Split"), "pseudo": say("Pseudo-labels")}
    records = {title: inputs.records[name] for name, title in stages.items() if name in inputs.records}
    return {
        "data": [
            fact_tables(arranged(record.facts, ("teacher_val",)), title, language) for title, record in records.items()
        ],
        "models": [(arm_titles(language)[name], arm.checkpoint, arm.sha256) for name, arm in inputs.arms.items()],
        "manifest": fact_tables(arranged(inputs.manifest, ("stages",)), say("Run"), language),
        "config": inputs.config,
    }


def titles(arms: Mapping[str, Arm], language: Language = ENGLISH) -> list[str]:
    """What the arms are called, in their order."""
    return [arm_titles(language)[name] for name in arms]


def sentences(results: Results, language: Language = ENGLISH) -> list[str]:
    """The warnings; one that lists very many names is cut."""
    return [_cut(warning) for warning in cautions.warnings(results, language)]


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_SENTENCE else text[:_LONGEST_SENTENCE].rstrip() + " …"


def final_rows(inputs: Inputs, language: Language = ENGLISH) -> list[list[str]]:
    """One row a figure: its name, and what each arm has."""
    table = tables.final_table(inputs)
    arms = inputs.arms.values()
    rows = [
        [language.gettext("Model"), *(plain(arm.model, language) for arm in arms)],
        [language.gettext("Learned from"), *(verdict.lessons(arm, language) for arm in arms)],
    ]
    return rows + [
        [language.gettext(title), *(write(value, language=language) for value in table[column])]
        for column, (title, write) in _FIGURES.items()
        if column not in _COUNTS or table[column].notna().any()
    ]


def main_differences(results: Results, language: Language = ENGLISH) -> list[list[str]]:
    """One row a pair: what, difference in mAP50-95 points, interval, resamples above 0."""
    return [[row[0], *row[2:]] for row in proof.differences(results, language) if row[1] == _MAIN]


def cost_rows(arms: Mapping[str, Arm], language: Language = ENGLISH) -> list[list[str]]:
    """One row a kind of error: mAP50 points that each arm loses by it."""
    costs = proof.error_costs(arms, language)
    return [[kind, *(number(lost.get(name), 1, language) for name in arms)] for kind, lost in costs.items()]


def fact_tables(found: facts.Facts, title: str, language: Language = ENGLISH) -> gfm.Ready:
    """What a stage wrote down, as tables under one another."""
    made = [gfm.table((title, ""), found.rows, 2, language=language)] if found.rows else []
    made += [
        gfm.table([f"{title}: {grid.title}", *grid.head[1:]], grid.rows, language=language) for grid in found.grids
    ]
    return gfm.Ready("\n\n".join(made))


def class_head(inputs: Inputs, language: Language = ENGLISH) -> list[str]:
    """The columns of `class_rows`."""
    head = ["mAP50-95", language.gettext("Boxes"), *titles(inputs.arms, language)]
    if proof.class_differences(inputs.results):
        head += [*(language.gettext(title) for title in _BETWEEN), ""]
    return head


def class_rows(inputs: Inputs, language: Language = ENGLISH) -> list[list[str]]:
    """One row a class: boxes, mAP50-95 of each arm, student minus control in points with its interval, and ``few``."""
    arms, results = inputs.arms, inputs.results
    scores = {name: {row.name: row for row in arm.per_class} for name, arm in arms.items()}
    between = {row[0]: (*row[2:4], row[5]) for row in proof.class_differences(results, language)}
    found: dict[str, int | None] = {}
    for rows in scores.values():
        for name, row in rows.items():
            found.setdefault(name, row.boxes)
    return [
        [
            name,
            number(boxes, 0, language),
            *(fraction(rows[name].mAP50_95 if name in rows else None, language) for rows in scores.values()),
            *between.get(name, ()),
        ]
        for name, boxes in found.items()
    ]


def speed_rows(arms: Mapping[str, Arm], language: Language = ENGLISH) -> list[list[str]]:
    """One row an arm: milliseconds an image, medians by step, and images a second."""
    return [
        [
            arm_titles(language)[name],
            *(number(value, 1, language) for value in (t.p50, t.p90, t.p95, t.p99, t.mean)),
            *(number(step.p50, 1, language) for step in (t.preprocess, t.inference, t.nms)),
            number(arm.fps, 1, language),
        ]
        for name, arm in arms.items()
        for t in (arm.latency_ms,)
    ]
