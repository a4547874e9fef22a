"""The files of a report: which there are, and that their figures are those of the comparison."""

import csv
import json

import pandas as pd
import pytest

from kdyolo.errors import DatasetError
from kdyolo.report.build import build
from kdyolo.report.tables import neutralise

ALL = {
    "report.html",
    "report.md",
    "model_card.md",
    "summary.json",
    "final.csv",
    "per_class.csv",
    "epochs_teacher.csv",
    "epochs_student.csv",
    "epochs_control.csv",
}


def results_of(run):
    return json.loads((run.stage("compare") / "results.json").read_text())


def test_a_report_is_exactly_these_files(run):
    files = build(run)
    assert {f.name for f in files} == ALL
    assert {f.name for f in run.stage("report").iterdir()} == ALL
    assert all(f.parent == run.stage("report") for f in files)


def test_the_same_run_gives_the_same_report_byte_for_byte(run):
    first = {f.name: f.read_bytes() for f in build(run)}
    assert {f.name: f.read_bytes() for f in build(run)} == first


def test_a_broken_manifest_is_named_with_what_writes_it_anew(run):
    run.manifest.write_text('{"kdyolo": ')
    with pytest.raises(DatasetError, match=r"manifest\.json is not JSON") as caught:
        build(run)
    assert "kdyolo run --run" in caught.value.hint


def test_summary_has_the_agreed_shape(run):
    build(run)
    summary = json.loads((run.stage("report") / "summary.json").read_text())
    results = results_of(run)
    assert summary["split"] == "test"
    assert summary["images"] == 72
    assert list(summary["arms"]) == ["teacher", "student", "control"]
    for name, arm in summary["arms"].items():
        expected = results["arms"][name]
        assert arm["latency_ms"]["p95"] == expected["latency_ms"]["p95"]
        for key in ("precision", "recall", "mAP50", "mAP75", "mAP50_95", "params", "gflops", "size_mb"):
            assert arm[key] == expected[key]
        for key in ("train_seconds", "fps", "model", "epochs", "imgsz"):
            assert arm[key] == expected[key]
    assert summary["speed_up"] == pytest.approx(84 / 11.5)
    assert summary["size_ratio"] == pytest.approx(195.02 / 5.28)
    assert summary["student_keeps"] == pytest.approx(0.574 / 0.62)
    assert "57.4 mAP50-95 points against 56.1" in summary["verdict"]
    assert summary["proof"]["pairs"] == []


def test_final_table_survives_the_round_trip(run):
    build(run)
    table = pd.read_csv(run.stage("report") / "final.csv")
    assert list(table["arm"]) == ["teacher", "student", "control"]
    assert list(table["parameters"]) == [97_231_450, 2_503_919, 2_503_919]
    for name, row in zip(table["arm"], table.to_dict("records"), strict=True):
        arm = results_of(run)["arms"][name]
        assert row["mAP50-95"] == arm["mAP50_95"]
        assert row["latency p95 (ms)"] == arm["latency_ms"]["p95"]
        assert row["training time (s)"] == arm["train_seconds"]
        assert (row["model"], row["labels"], row["FPS"]) == (arm["model"], arm["labels"], arm["fps"])


def test_class_table_says_na_where_there_is_no_box(run):
    build(run)
    rows = list(csv.DictReader((run.stage("report") / "per_class.csv").open()))
    assert len(rows) == 9
    assert rows[0]["class"] == "leaf"
    assert float(rows[0]["mAP50-95"]) == results_of(run)["arms"]["teacher"]["per_class"][0]["mAP50_95"]
    assert rows[2] == {
        **{"arm": "teacher", "class": "mite", "boxes": "0", "boxes found": "n/a"},
        **{"false alarms": "n/a", "precision": "n/a", "recall": "n/a"},
        **{"mAP50": "n/a", "mAP75": "n/a", "mAP50-95": "n/a"},
    }


@pytest.mark.parametrize(("arm", "stage"), [("teacher", "teacher"), ("student", "student"), ("control", "baseline")])
def test_epoch_tables_hold_the_documents_columns(run, arm, stage):
    build(run)
    table = pd.read_csv(run.stage("report") / f"epochs_{arm}.csv")
    source = pd.read_csv(run.stage(stage) / "results.csv", skipinitialspace=True)
    assert list(table.columns) == [
        *("epoch", "time (s)", "box loss", "cls loss", "DFL loss", "precision", "recall", "mAP50", "mAP50-95"),
        *("val box loss", "val cls loss", "val DFL loss"),
    ]
    assert list(table["epoch"]) == list(range(1, 13))
    assert list(table["mAP50-95"]) == list(source["metrics/mAP50-95(B)"])
    assert list(table["val DFL loss"]) == list(source["val/dfl_loss"])


def test_a_value_that_is_no_number_becomes_na_in_the_epoch_table(synthetic, tmp_path):
    run = synthetic.run(tmp_path / "run")
    source = run.stage("student") / "results.csv"
    lines = source.read_text().splitlines()
    source.write_text("\n".join([lines[0], lines[1], "2,52.2,nan,inf,x,0.1,0.1,0.1,0.1,1,1,1,0", ""]))
    build(run)
    rows = list(csv.DictReader((run.stage("report") / "epochs_student.csv").open()))
    assert (rows[1]["box loss"], rows[1]["cls loss"], rows[1]["DFL loss"]) == ("n/a", "n/a", "n/a")


def test_an_arm_that_is_gone_leaves_no_stale_table(synthetic, tmp_path, run):
    build(run)
    (run.stage("baseline") / "results.csv").unlink()
    assert {f.name for f in build(run)} == ALL - {"epochs_control.csv"}
    assert not (run.stage("report") / "epochs_control.csv").exists()


def test_without_control_and_with_an_adopted_teacher(synthetic, tmp_path):
    results = synthetic.results(arms=("teacher", "student"))
    run = synthetic.run(tmp_path / "run", results, trained=("student",))
    assert {f.name for f in build(run)} == {
        *("report.html", "report.md", "model_card.md", "summary.json", "final.csv", "per_class.csv"),
        "epochs_student.csv",
    }
    assert list(json.loads((run.stage("report") / "summary.json").read_text())["arms"]) == ["teacher", "student"]


def test_arms_are_put_in_order(synthetic, tmp_path):
    run = synthetic.run(tmp_path / "run", synthetic.results(arms=("control", "student", "teacher")))
    build(run)
    assert list(pd.read_csv(run.stage("report") / "final.csv")["arm"]) == ["teacher", "student", "control"]


def test_every_figure_may_be_missing(synthetic, tmp_path):
    results = synthetic.results()
    for arm in results["arms"].values():
        arm.update(dict.fromkeys(arm, None))
    results.update(dict.fromkeys(("images", "student_keeps", "measured", "same_start", "versions"), None))
    run = synthetic.run(tmp_path / "run", results)
    build(run)
    rows = list(csv.DictReader((run.stage("report") / "final.csv").open()))
    assert all(value == "n/a" for row in rows for key, value in row.items() if key != "arm")
    summary = json.loads((run.stage("report") / "summary.json").read_text())
    assert summary["arms"]["student"]["mAP50_95"] is None
    assert summary["speed_up"] is None
    assert "cannot be compared" in summary["verdict"]
    assert ">0.000<" not in (run.stage("report") / "report.html").read_text()


def test_a_run_without_a_comparison_is_refused(synthetic, tmp_path, run):
    (run.stage("compare") / "stage.json").unlink()
    with pytest.raises(DatasetError, match="not finished"):
        build(run)


def test_a_comparison_edited_by_hand_is_never_reported(run):
    file = run.stage("compare") / "results.json"
    file.write_text(file.read_text().replace("0.574", "0.674"))
    with pytest.raises(DatasetError, match="changed"):
        build(run)
    assert not run.stage("report").exists()


@pytest.mark.parametrize("results", [{"arms": {"student": {"mAP50": "high"}}}, {}, []])
def test_a_comparison_that_makes_no_sense_is_refused(synthetic, tmp_path, results):
    run = synthetic.run(tmp_path / "run", results)
    with pytest.raises(DatasetError, match="cannot be read"):
        build(run)


def test_texts_that_spreadsheets_would_run_are_neutralised(synthetic, tmp_path):
    names = ["=cmd|' /C calc'!A0", "+1+1", "-2", "@SUM(A1)", "\t=1+1", 'a,"b"', "leaf"]
    results = synthetic.results(names)
    results["arms"]["student"]["model"] = "=evil()"
    run = synthetic.run(tmp_path / "run", results, synthetic.examples(names))
    build(run)
    classes = [row["class"] for row in csv.DictReader((run.stage("report") / "per_class.csv").open())]
    assert classes[:7] == ["'=cmd|' /C calc'!A0", "'+1+1", "'-2", "'@SUM(A1)", "' =1+1", 'a,"b"', "leaf"]
    final = list(csv.DictReader((run.stage("report") / "final.csv").open()))
    assert final[1]["model"] == "'=evil()"


def test_numbers_are_not_neutralised():
    assert neutralise(-1.5) == -1.5
    assert neutralise(None) is None
    assert neutralise("plain") == "plain"
