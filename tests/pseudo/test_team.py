"""Several teachers as one: adopted by name, weighted by class, fused for labels and averaged beside the student."""

import json
import shutil

import numpy as np
import pytest
import tiny
from typer.testing import CliRunner

from kdyolo import api
from kdyolo.cli.main import app
from kdyolo.distill.soft_labels import FILE, Origin, read_soft_labels
from kdyolo.errors import ConfigError
from kdyolo.pseudo import team
from kdyolo.stages.train_teacher import match_some
from kdyolo.storage import RunDir

pytestmark = pytest.mark.slow

A, B, C, D = tiny.CLASSES
FEW = (C, A, "grape")
"""What the second teacher knows: two of the four classes in another order, and one that is not asked for."""


@pytest.fixture(scope="module")
def teachers(tmp_path_factory, lively, demo_set):
    folder = tmp_path_factory.mktemp("team")
    first, second = folder / "first.pt", folder / "second.pt"
    shutil.copyfile(lively, first)
    tiny.lively_checkpoint(second, demo_set / "images", names=FEW, seed=5)
    return first, second


@pytest.fixture(scope="module")
def run(demo_set, teachers, tmp_path_factory):
    """A run whose labels are those of two teachers."""
    root = tmp_path_factory.mktemp("voted") / "run"
    found = tiny.adopt(demo_set, root, teachers[0], **{"teacher.more": [str(teachers[1])], "pseudo.conf": 0.45})
    api.pseudo_label(root)
    return found


def test_both_are_kept_with_what_they_know(run):
    record = run.require("teacher")
    assert [one["model"] for one in record.facts["team"]] == ["yolov5n", "yolov5n"]
    maps = [class_map for _, class_map in team.members(run.stage("teacher"))]
    assert maps == [{0: 0, 1: 1, 2: 2, 3: 3}, {0: 2, 1: 0}]
    assert team.knows(maps, 4).tolist() == [[True] * 4, [True, False, True, False]]
    assert {"teacher/best.pt", "teacher/best-2.pt", "teacher/classes-2.json"} <= set(record.outputs)


def test_each_class_is_weighted_by_those_that_know_it(run):
    weights = np.array(json.loads((run.stage("pseudo") / "weights.json").read_text()))
    assert weights.sum(0) == pytest.approx(1)
    assert weights[:, 1].tolist() == weights[:, 3].tolist() == [1, 0]
    assert "pseudo/weights.json" in run.require("pseudo").outputs


def test_the_labels_are_those_of_the_fused_boxes(run):
    facts = run.require("pseudo").facts
    assert facts["labelled"] > 0
    assert facts["teacher_sha256"] == team.fingerprint(run.stage("teacher"))
    origin = Origin(facts["teacher_sha256"], tiny.IMGSZ, tiny.CLASSES)
    soft = read_soft_labels(run.stage("pseudo") / FILE, origin, {})
    assert soft == {}
    with np.load(run.stage("pseudo") / FILE) as held:
        probs = held["probs"]
    assert np.isnan(probs[:, [1, 3]]).any()  # boxes that only the second teacher saw
    assert not np.isnan(probs).all(1).any()


@pytest.mark.parametrize("scheme", ["cached", "online-teacher"])
def test_a_student_listens_to_both(run, tmp_path, scheme):
    settings = {"distill.scheme": scheme, "student.labels": "pseudo", "distill.warmup_epochs": 0}
    other = tiny.copy_run(run.root, tmp_path / "run")
    record = api.train_student(other.root, settings=settings)
    assert record.facts["preflight"]["kd_loss"] > 0


def test_the_comparison_measures_the_team(run, tmp_path):
    other = tiny.copy_run(run.root, tmp_path / "run")
    api.train_student(other.root, baseline=True)
    api.train_student(other.root)
    api.compare(other.root)
    results = json.loads((other.stage("compare") / "results.json").read_text())
    teacher, student = results["arms"]["teacher"], results["arms"]["student"]
    assert teacher["model"] == "yolov5n + yolov5n"
    assert teacher["params"] == pytest.approx(2 * student["params"], rel=0.01)
    assert teacher["latency_ms"]["mean"] > 0


def test_maps_of_several_teachers_have_no_mean(run, tmp_path):
    other = tiny.copy_run(run.root, tmp_path / "run")
    with pytest.raises(ConfigError, match="'cwd' compares neck maps"):
        api.train_student(other.root, settings={"distill.scheme": "online-teacher", "distill.method": "response+cwd"})


def test_a_teacher_that_knows_nothing_of_it_is_refused():
    assert match_some(["x", B], tiny.CLASSES, None) == {1: 1}
    assert match_some(["x", B], tiny.CLASSES, {"x": D}) == {0: 3, 1: 1}
    with pytest.raises(ConfigError, match="none of the data set's classes"):
        match_some(["x", "y"], tiny.CLASSES, None)


def test_one_that_nobody_knows_is_said(demo_set, teachers, tmp_path):
    notes = tiny.Notes()
    settings = {**tiny.SETTINGS, "teacher.checkpoint": teachers[1], "teacher.more": [str(teachers[1])]}
    api.split(demo_set, tmp_path / "run", settings=settings)
    api.train_teacher(tmp_path / "run", progress=notes)
    assert any(f"No teacher knows {B}, {D}" in warning for warning in notes.warnings)


def test_from_the_command_line(demo_set, teachers, tmp_path):
    run = tmp_path / "run"
    common = [*tiny.flags(tiny.MACHINE), "--quiet"]
    split = CliRunner().invoke(app, ["split", str(demo_set), "--run", str(run), *common])
    assert split.exit_code == 0, split.output
    both = [part for path in teachers for part in ("--teacher", str(path))]
    result = CliRunner().invoke(app, ["train-teacher", "--run", str(run), *both, "--imgsz", "64", *common])
    assert result.exit_code == 0, result.output
    assert len(list(team.members(RunDir(run).stage("teacher")))) == 2
