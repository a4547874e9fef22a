"""The proof as CSV: figures in full, those of the comparison."""

import csv
import json

import pandas as pd
import pytest

from kdyolo.report.build import build
from kdyolo.report.proof_tables import NAMES


@pytest.fixture
def tables(synthetic, tmp_path):
    run = synthetic.run(tmp_path / "run", synthetic.proof())
    build(run)
    folder = run.stage("report")
    return json.loads((run.stage("compare") / "results.json").read_text()), {
        name: pd.read_csv(folder / name, na_values=["n/a"], keep_default_na=False) for name in NAMES
    }


def of(arm):
    return lambda frame: frame["arm"] == arm


def test_differences_are_in_full(tables):
    results, frames = tables
    pair = results["uncertainty"]["pairs"][0]
    rows = frames["differences.csv"].query("a == 'student' and b == 'control'")
    means = rows[rows["class"] == ""].set_index(["kind", "figure"])
    for kind in ("difference", "ratio"):
        for end in ("estimate", "low", "high"):
            assert means.loc[(kind, "mAP50-95"), end] == pair[kind]["mAP50_95"][end]
    classes = rows[rows["class"] != ""].set_index("class")
    assert classes.loc["leaf", "estimate"] == pair["per_class"][0]["difference"]["estimate"]
    assert dict(classes["few boxes"]) == {"leaf": "no", "spot": "yes", "mite": "yes"}
    assert pd.isna(classes.loc["mite", "estimate"])


def test_counts_and_costs_are_those_of_the_comparison(tables):
    results, frames = tables
    missed = frames["inherited.csv"].set_index("error").loc["missed"]
    assert missed["copied_beyond_control"] == results["inheritance"]["errors"]["missed"]["copied_beyond_control"]
    for arm, measured in results["arms"].items():
        budget = frames["error_budget.csv"].loc[of(arm)].set_index("error")["mAP50 lost"]
        assert budget["missed"] == measured["error_budget"]["lost"]["missed"]
        assert budget["false_positives"] == measured["error_budget"]["false_positives"]
        assert len(frames["calibration.csv"].loc[of(arm)]) == 10
        sizes = frames["sizes.csv"].loc[of(arm)].set_index("size")
        assert sizes["boxes"].sum() == 48
        assert sizes.loc["medium", "mAP50-95"] == measured["sizes"]["medium"]["mAP50_95"]
        confusion = frames["confusion.csv"].loc[of(arm)].query("truth == 'leaf'")
        assert confusion["boxes"].sum() == 37
        by_class = frames["errors_per_class.csv"].loc[of(arm)].set_index("class")
        assert by_class.loc["spot", "truth: missed"] == measured["errors"]["per_class"][1]["truth"]["missed"]


def test_an_older_comparison_leaves_no_stale_table(synthetic, tmp_path):
    run = synthetic.run(tmp_path / "run", synthetic.proof())
    assert {*NAMES} < {file.name for file in build(run)}
    (run.stage("compare") / "results.json").write_text(json.dumps(synthetic.results()))
    record = run.record("compare")
    record.outputs = run.hash_outputs([run.stage("compare") / "results.json"])
    run.write_record(record)
    assert not {*NAMES} & {file.name for file in build(run)}
    assert not any((run.stage("report") / name).exists() for name in NAMES)


def test_names_that_spreadsheets_would_run_are_neutralised(synthetic, tmp_path):
    names = ["=1+1", "@SUM(A1)", "mite"]
    run = synthetic.run(tmp_path / "run", synthetic.proof(names), synthetic.examples(names))
    build(run)
    for file, column in (("differences.csv", "class"), ("errors_per_class.csv", "class"), ("confusion.csv", "truth")):
        found = {row[column] for row in csv.DictReader((run.stage("report") / file).open())}
        assert "'=1+1" in found
        assert "=1+1" not in found
