"""The report on label budgets: figures of the runs, a curve, and whether it is up to date."""

import csv
import json
import re

import pytest

from kdyolo.report import budgets
from kdyolo.storage import RunDir

TRAIN = 336


@pytest.fixture
def sweep(tmp_path, synthetic):
    """A run directory and the runs of its budgets."""

    def make(gains=(0.05, -0.01), shares=(0.125, 1.0)):
        run, runs = RunDir(tmp_path / "sweep"), []
        for share, gain in zip(shares, gains, strict=True):
            results = synthetic.results()
            control = results["arms"]["control"]["mAP50_95"]
            results["arms"]["student"]["mAP50_95"] = None if gain is None else control + gain
            labelled = round(TRAIN * share)
            facts = {
                "split": {"splits": {"train": {"images": labelled}}},
                "pseudo": {"images": TRAIN},
                **{"teacher": {}, "student": {}, "baseline": {}, "compare": {}},
            }
            child = synthetic.run(run.budgets / f"{share:g}", results, facts=facts)
            record = child.record("split")
            record.settings = {"split": {"labels_fraction": share}}
            child.write_record(record)
            runs.append(child)
        run.config.write_text("{}\n")
        return run, runs

    return make


def test_figures_are_those_of_the_runs(sweep):
    run, runs = sweep()
    assert {file.name for file in budgets.build(run, runs)} == {"summary.json", "report.html", "budgets.csv"}
    rows = json.loads((run.root / "report" / "summary.json").read_text())["budgets"]
    assert [(r["labels_fraction"], r["labelled_images"], r["unlabelled_images"]) for r in rows] == [
        (0.125, 42, 294),
        (1.0, 336, 0),
    ]
    for row, child in zip(rows, runs, strict=True):
        arms = json.loads((child.stage("compare") / "results.json").read_text())["arms"]
        assert {arm: row[f"{arm}_mAP50_95"] for arm in arms} == {arm: arms[arm]["mAP50_95"] for arm in arms}
        assert (run.root / row["report"]).parent == child.stage("report")
    assert [row["gain_points"] for row in rows] == [5.0, -1.0]
    table = list(csv.DictReader((run.root / "report" / "budgets.csv").open()))
    assert [row["gain_points"] for row in table] == ["5.0", "-1.0"]


def test_the_sentence_names_both_ends_and_claims_no_proof(sweep):
    run, runs = sweep()
    budgets.build(run, runs)
    said = json.loads((run.root / "report" / "summary.json").read_text())["verdict"]
    assert "12.5 % of the labels (42 images)" in said
    assert "(+5.0)" in said
    assert "(-1.0)" in said
    assert "may be chance" in said


def test_a_figure_that_is_missing_is_not_zero(sweep):
    run, runs = sweep(gains=(None, 0.02))
    budgets.build(run, runs)
    page = (run.root / "report" / "report.html").read_text()
    assert "n/a" in page
    assert "could not be measured" in page


def test_the_page_is_one_file_and_escapes_names(sweep, tmp_path):
    run, runs = sweep()
    evil = RunDir(run.root.rename(tmp_path / "<script>alert(1)<"))
    runs = [RunDir(evil.budgets / one.root.name) for one in runs]
    budgets.build(evil, runs)
    page = (evil.root / "report" / "report.html").read_text()
    assert page.count("<script>") == page.count("<script") == 1
    assert "<svg" in page
    assert not re.search(r'(?:src|href)="(?:https?:)?//', page)


def test_the_page_is_in_the_language_of_the_run_and_the_rest_stays_english(sweep):
    run, runs = sweep()
    budgets.build(run, runs)
    english = {file.name: file.read_text() for file in (run.root / "report").iterdir()}
    run.config.write_text("report: {lang: pt}\n")
    assert not budgets.is_current(run, runs)
    budgets.build(run, runs)
    assert budgets.is_current(run, runs)
    portuguese = {file.name: file.read_text() for file in (run.root / "report").iterdir()}
    assert portuguese["budgets.csv"] == english["budgets.csv"]
    for key in ("verdict", "budgets", "split"):
        assert json.loads(portuguese["summary.json"])[key] == json.loads(english["summary.json"])[key]
    assert "Com 12,5 % dos rótulos (42 imagens), o aluno destilado atinge" in portuguese["report.html"]
    run.config.write_text("{}\n")
    assert not budgets.is_current(run, runs)
    budgets.build(run, runs)
    assert {file.name: file.read_text() for file in (run.root / "report").iterdir()} == english


def test_it_is_current_until_something_changes(sweep):
    run, runs = sweep()
    assert not budgets.is_current(run, runs)
    budgets.build(run, runs)
    assert budgets.is_current(run, runs)
    assert not budgets.is_current(run, runs[:1])
    page = run.root / "report" / "report.html"
    page.write_text(page.read_text() + "edited")
    assert not budgets.is_current(run, runs)
    budgets.build(run, runs)
    record = runs[0].record("compare")
    record.outputs = {"compare/results.json": "0" * 64}
    runs[0].write_record(record)
    assert not budgets.is_current(run, runs)
