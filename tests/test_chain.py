"""The whole chain, as small as it gets, through the command line."""

import json
import subprocess
import sys

import pandas as pd
import pytest
import tiny

from kdyolo.datasets.view import load_view
from kdyolo.storage import RunDir

pytestmark = pytest.mark.slow
STAGES = ("split", "teacher", "pseudo", "baseline", "student", "compare")


@pytest.fixture(scope="module")
def called(demo_set, tmp_path_factory):
    """A run started with `kdyolo run --json`, and once more."""
    folder = tmp_path_factory.mktemp("chain")
    command = [sys.executable, "-m", "kdyolo", "run", demo_set, "--run", "runs/tiny", "--json"]
    settings = tiny.flags({**tiny.SETTINGS, "student.labels": "gt+pseudo"})
    first = subprocess.run([*command, *settings], cwd=folder, capture_output=True, text=True, timeout=300)
    assert first.returncode == 0, first.stderr
    run = RunDir(folder / "runs" / "tiny")
    before = tiny.mtimes(run.root)
    second = subprocess.run([*command, *settings], cwd=folder, capture_output=True, text=True, timeout=300)
    return run, first, second, before


def test_stdout_is_one_json_object_and_nothing_else(called):
    run, first, second, _ = called
    said = json.loads(first.stdout)
    assert said["ran"] == list(STAGES)
    again = json.loads(second.stdout)
    assert (again["ran"], again["skipped"]) == ([], list(STAGES))
    assert "Traceback" not in first.stderr + second.stderr
    assert [p.name for p in run.root.parent.parent.iterdir()] == ["runs"]  # nothing else beside the run


def test_the_second_call_changes_nothing(called):
    run, _, second, before = called
    assert second.returncode == 0
    assert "Nothing to do" in second.stderr
    assert tiny.mtimes(run.root) == before


def test_a_run_holds_exactly_these_files(called):
    run = called[0]
    view = load_view(run.stage("split"))
    expected = {".lock", "config.yaml", "manifest.json", "log/kdyolo.log"}
    expected |= {f"{stage}/stage.json" for stage in STAGES}
    expected |= {f"split/{name}" for name in ("data.yaml", "splits.csv", "signatures.csv", "audit.csv", "audit.json")}
    for split, images in view.splits.items():
        expected |= {f"split/images/{split}/{i.image.name}" for i in images}
        expected |= {f"split/labels/{split}/{i.label.name}" for i in images}
    train = view.splits["train"]
    expected |= {f"pseudo/labels/train/{i.label.name}" for i in train} | {"pseudo/predictions.csv"}
    expected |= {"pseudo/thresholds.json", "pseudo/soft_labels.npz"}
    for stage in ("teacher", "student", "baseline"):
        expected |= {f"{stage}/{name}" for name in tiny.LEFT_BY_TRAINING}
    for stage in ("student", "baseline"):
        expected |= {f"{stage}/data/images/train/{i.image.name}" for i in train}
        expected |= {f"{stage}/data/labels/train/{i.label.name}" for i in train}
    expected |= {"teacher/classes.json", "teacher/trained_on.csv", "compare/results.json", "compare/examples.json"}
    expected |= {f"compare/predictions_{arm}.csv" for arm in ("teacher", "student", "control")}
    expected |= {f"report/epochs_{arm}.csv" for arm in ("teacher", "student", "control")}
    expected |= {
        f"report/{name}" for name in ("report.html", "report.md", "model_card.md", "summary.json", "final.csv")
    }
    expected.add("report/per_class.csv")
    proven = ("sizes", "errors_per_class", "error_budget", "inherited", "confusion", "differences")
    expected |= {f"report/{name}.csv" for name in proven}
    assert set(tiny.files(run.root)) == expected


def test_records_hold_together(called):
    run = called[0]
    records = {stage: run.record(stage) for stage in STAGES}
    assert [records[stage].sequence for stage in STAGES] == [1, 2, 3, 4, 5, 6]
    for record in records.values():
        assert record.status == "done"
        assert record.error == ""
        assert record.seconds > 0
        assert run.damaged_outputs(record) == []
    assert records["split"].facts["images"] == 30
    assert records["pseudo"].facts["teacher_sha256"] == records["teacher"].outputs["teacher/best.pt"]
    pseudo = records["pseudo"].facts
    assert pseudo["images"] == pseudo["labelled"] + pseudo["background"] + pseudo["quarantined"]
    student, control = records["student"].facts, records["baseline"].facts
    assert student["initial_sha256"] == control["initial_sha256"]
    assert student["optimizer_steps"] == control["optimizer_steps"]
    assert student["labels_sha256"] != control["labels_sha256"]
    assert student["label_boxes"] > control["label_boxes"] == records["split"].facts["splits"]["train"]["boxes"]


def test_the_summary_has_three_arms_with_figures_in_range(called):
    run = called[0]
    summary = json.loads((run.root / "report" / "summary.json").read_text())
    assert isinstance(summary["verdict"], str)
    assert list(summary["arms"]) == ["teacher", "student", "control"]
    results = json.loads((run.stage("compare") / "results.json").read_text())
    for name, arm in summary["arms"].items():
        for figure in ("precision", "recall", "mAP50", "mAP50_95"):
            assert 0 <= arm[figure] <= 1
            assert arm[figure] == pytest.approx(results["arms"][name][figure])
        assert arm["fps"] > 0
        assert arm["latency_ms"]["p50"] > 0
    assert [arm["labels"] for arm in results["arms"].values()] == ["gt", "gt+pseudo", "gt"]


def test_the_report_is_one_file_about_this_run(called):
    run = called[0]
    page = (run.root / "report" / "report.html").read_text(encoding="utf-8")
    assert page.lstrip().lower().startswith("<!doctype html")
    assert "<script src" not in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    for arm in ("teacher", "student", "control"):
        table = pd.read_csv(run.root / "report" / f"epochs_{arm}.csv")
        assert len(table) == tiny.EPOCHS


def test_the_manifest_tells_of_the_machine_and_the_stages(called):
    run = called[0]
    manifest = json.loads(run.manifest.read_text())
    assert {name: s["status"] for name, s in manifest["stages"].items()} == dict.fromkeys(STAGES, "done")
    assert manifest["packages"]["ultralytics"].startswith("8.4.")
    assert manifest["dataset_sha256"] == run.record("split").facts["dataset_sha256"]
    assert "report/report.html" in manifest["report"]["files"]
