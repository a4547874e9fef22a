"""``report.md``: the story of the page, short enough for the text of a pull request."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from kdyolo.report import facts, gfm, proof, tables, verdict
from kdyolo.report.html import TITLES
from kdyolo.report.load import Arm, Inputs, Results
from kdyolo.report.numbers import duration, fraction, number, plain

_LONGEST_SENTENCE = 600
_MAIN = proof.METRICS["mAP50_95"]
_FIGURES: dict[str, tuple[str, Callable[[Any], str]]] = {
    "mAP50-95": ("mAP50-95", fraction),
    "mAP50": ("mAP50", fraction),
    "mAP75": ("mAP75", fraction),
    "precision": ("Precision", fraction),
    "recall": ("Recall", fraction),
    "latency p50 (ms)": ("Median ms per image (p50)", lambda value: number(value, 1)),
    "latency p95 (ms)": ("95 % of images take less, ms (p95)", lambda value: number(value, 1)),
    "FPS": ("Images per second (FPS)", lambda value: number(value, 1)),
    "parameters": ("Parameters", number),
    "GFLOPs": ("GFLOPs at 640 px", lambda value: number(value, 1)),
    "size (MB)": ("File size, MB", lambda value: number(value, 1)),
    "training time (s)": ("Training time", duration),
}
"""Column of `tables.final_table` -> how it is called and written."""
SPEED_HEAD = ("Arm", "p50", "p90", "p95", "p99", "Mean", "Preparing", "Inference", "NMS", "FPS")
_BETWEEN = ("Student - control (points)", "95 % interval", "")


def report(inputs: Inputs) -> str:
    """The whole report as GitHub-flavoured Markdown; every text of the run is escaped."""
    return gfm.render("report.md.j2", {**figures(inputs), **_proof(inputs), **_origin(inputs)})


def figures(inputs: Inputs) -> dict[str, Any]:
    """What every text about a run shows: names, verdict, tables of figures."""
    results, arms = inputs.results, inputs.arms
    return {
        "run": inputs.name,
        "results": results,
        "titles": titles(arms),
        "verdict": verdict.verdict(results),
        "warnings": sentences(results),
        "headline": verdict.headline(results),
        "final": final_rows(inputs),
        "class_head": class_head(inputs),
        "classes": class_rows(inputs),
        "speed_head": SPEED_HEAD,
        "speed": speed_rows(arms),
        "measured": verdict.how_measured(results.measured),
    }


def _proof(inputs: Inputs) -> dict[str, Any]:
    results, arms = inputs.results, inputs.arms
    return {
        "main_differences": main_differences(results),
        "differences": [row for row in proof.differences(results) if row[1] != _MAIN],
        "by_seed": proof.by_seed(arms),
        "kept": {arm: text for arm in ("student", "control") if (text := proof.kept(results, arm))},
        "copied": proof.copied(results),
        "fidelity": proof.fidelity(results),
        "inherited_head": proof.INHERITED_HEAD,
        "inherited": proof.inherited(results),
        "costs": cost_rows(arms),
        "sizes": proof.sizes(arms),
        "calibration": [[TITLES[row[0]], *row[1:]] for row in proof.calibration(arms)],
    }


def _origin(inputs: Inputs) -> dict[str, Any]:
    stages = {"split": "Split", "pseudo": "Pseudo-labels"}
    records = {title: inputs.records[name] for name, title in stages.items() if name in inputs.records}
    return {
        "data": [
            fact_tables(facts.arrange(record.facts, ("teacher_val",)), title) for title, record in records.items()
        ],
        "models": [(TITLES[name], arm.checkpoint, arm.sha256) for name, arm in inputs.arms.items()],
        "manifest": fact_tables(facts.arrange(inputs.manifest, ("stages",)), "Run"),
        "config": inputs.config,
    }


def titles(arms: Mapping[str, Arm]) -> list[str]:
    """What the arms are called, in their order."""
    return [TITLES[name] for name in arms]


def sentences(results: Results) -> list[str]:
    """The warnings; one that lists very many names is cut."""
    return [_cut(warning) for warning in verdict.warnings(results)]


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_SENTENCE else text[:_LONGEST_SENTENCE].rstrip() + " …"


def final_rows(inputs: Inputs) -> list[list[str]]:
    """One row a figure: its name, and what each arm has."""
    table = tables.final_table(inputs)
    arms = inputs.arms.values()
    rows = [
        ["Model", *(plain(arm.model) for arm in arms)],
        ["Learned from", *(verdict.lessons(arm) for arm in arms)],
    ]
    return rows + [[title, *map(write, table[column])] for column, (title, write) in _FIGURES.items()]


def main_differences(results: Results) -> list[list[str]]:
    """One row a pair: what, difference in mAP50-95 points, interval, resamples above 0."""
    return [[row[0], *row[2:]] for row in proof.differences(results) if row[1] == _MAIN]


def cost_rows(arms: Mapping[str, Arm]) -> list[list[str]]:
    """One row a kind of error: mAP50 points that each arm loses by it."""
    costs = proof.error_costs(arms)
    return [[kind, *(number(lost.get(name), 1) for name in arms)] for kind, lost in costs.items()]


def fact_tables(found: facts.Facts, title: str) -> gfm.Ready:
    """What a stage wrote down, as tables under one another."""
    made = [gfm.table((title, ""), found.rows, 2)] if found.rows else []
    made += [gfm.table([f"{title}: {grid.title}", *grid.head[1:]], grid.rows) for grid in found.grids]
    return gfm.Ready("\n\n".join(made))


def class_head(inputs: Inputs) -> list[str]:
    """The columns of `class_rows`."""
    return ["mAP50-95", "Boxes", *titles(inputs.arms), *(_BETWEEN if proof.class_differences(inputs.results) else ())]


def class_rows(inputs: Inputs) -> list[list[str]]:
    """One row a class: boxes, mAP50-95 of each arm, student minus control in points with its interval, and ``few``."""
    arms, results = inputs.arms, inputs.results
    scores = {name: {row.name: row for row in arm.per_class} for name, arm in arms.items()}
    between = {row[0]: (*row[2:4], "few boxes" if row[5] else "") for row in proof.class_differences(results)}
    found: dict[str, int | None] = {}
    for rows in scores.values():
        for name, row in rows.items():
            found.setdefault(name, row.boxes)
    return [
        [
            name,
            number(boxes),
            *(fraction(rows[name].mAP50_95 if name in rows else None) for rows in scores.values()),
            *between.get(name, ()),
        ]
        for name, boxes in found.items()
    ]


def speed_rows(arms: Mapping[str, Arm]) -> list[list[str]]:
    """One row an arm under `SPEED_HEAD`: milliseconds an image, medians by step, and images a second."""
    return [
        [
            TITLES[name],
            *(number(value, 1) for value in (t.p50, t.p90, t.p95, t.p99, t.mean)),
            *(number(step.p50, 1) for step in (t.preprocess, t.inference, t.nms)),
            number(arm.fps, 1),
        ]
        for name, arm in arms.items()
        for t in (arm.latency_ms,)
    ]
