"""One batch before a distillation: what is told, what is refused, and that nothing is left behind."""

import json
from types import SimpleNamespace

import pytest
import tiny
import torch
from builders import tree_state

from kdyolo import api
from kdyolo.config import load_config
from kdyolo.distill import preflight
from kdyolo.distill.method import Objective
from kdyolo.engine import checkpoints
from kdyolo.errors import ConfigError, DatasetError, StageError
from kdyolo.stages import preflight as stage
from kdyolo.stages.preflight import teacher_warnings
from kdyolo.storage import RunDir

pytestmark = pytest.mark.slow

ONLINE = {"distill.scheme": "online-teacher", "distill.method": "response+cwd", "student.labels": "gt"}
CACHED = {"distill.scheme": "cached", "student.labels": "pseudo"}


@pytest.mark.parametrize(
    "settings",
    [ONLINE, CACHED, {"distill.scheme": "self"}, {"distill.scheme": "mutual"}],
    ids=lambda s: s["distill.scheme"],
)
def test_it_tells_what_it_found_and_leaves_the_run_alone(labelled, settings):
    before = tree_state(labelled)
    found = api.preflight(labelled, settings=settings)
    assert tree_state(labelled) == before
    checks = {check["check"]: check for check in found["checks"]}
    assert {"loss", "gradient"} <= set(checks)
    assert ("classes" in checks) is (settings in (ONLINE, CACHED))
    forecast = found["forecast"]
    assert forecast["seconds"] == pytest.approx(12 * forecast["step_seconds"], rel=0.01)  # two epochs of six steps
    assert forecast["memory_mb"] > 100
    assert (forecast["cache_mb"] > 0) is (settings is CACHED)
    json.dumps(found, allow_nan=False)


def test_without_a_distillation_there_is_nothing_to_look_at(labelled):
    with pytest.raises(ConfigError, match="no distillation loss"):
        api.preflight(labelled, settings={"distill.scheme": "labels"})


def test_before_the_labels_are_written_it_says_what_to_do_first(labelled, tmp_path):
    run = tiny.copy_run(labelled, tmp_path / "run")
    (run.stage("pseudo") / "stage.json").unlink()
    with pytest.raises(DatasetError, match="'pseudo'"):
        api.preflight(run.root, settings=ONLINE)


def silent(self, student, teacher):
    return student.scores.sum() * 0, {}


def deaf(self, student, teacher):
    return teacher.scores.sigmoid().mean(), {}


def mad(self, student, teacher):
    return student.scores.sum() * float("nan"), {}


@pytest.mark.parametrize(
    ("loss", "told"), [(silent, "nothing to say"), (deaf, "does not reach the student"), (mad, "batch is nan")]
)
def test_a_distillation_that_cannot_work_stops_before_it_trains(labelled, tmp_path, monkeypatch, loss, told):
    run = tiny.copy_run(labelled, tmp_path / "run")
    monkeypatch.setattr(Objective, "forward", loss)
    with pytest.raises(StageError, match=told) as caught:
        api.train_student(run.root, settings=ONLINE)
    assert caught.value.hint
    assert not (run.stage("student") / "weights" / "last.pt").exists()


@pytest.mark.parametrize("settings", [ONLINE, {"distill.scheme": "mutual"}], ids=lambda s: s["distill.scheme"])
def test_the_look_changes_nothing(labelled, tmp_path, monkeypatch, settings):
    weights = []
    for name in ("looked", "blind"):
        run = tiny.copy_run(labelled, tmp_path / name)
        if name == "blind":
            monkeypatch.setattr(preflight, "look", lambda trainer: None)
        record = api.train_student(run.root, settings={**settings, "distill.warmup_epochs": 0})
        assert ("preflight" in record.facts) is (name == "looked")
        weights.append(checkpoints.load(run.stage("student") / "best.pt")[0].state_dict())
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())


@pytest.fixture
def _no_model(monkeypatch):
    """The control's own record says what it reaches; there is no model to measure."""
    monkeypatch.setattr(stage, "_on_validation", lambda context, control: control.facts["map"])


def context(teacher="yolov5m", teacher_map=0.5, control_map=None, **settings):
    """A run of which only records exist."""
    control = None if control_map is None else SimpleNamespace(status="done", facts={"map": control_map})
    facts = {
        "teacher": SimpleNamespace(facts={"model": teacher}),
        "pseudo": SimpleNamespace(facts={"teacher_val": {"mAP50_95": teacher_map}}),
    }
    run = SimpleNamespace(require=facts.get, record={"baseline": control}.get)
    return SimpleNamespace(run=run, config=load_config(overrides=settings))


def test_a_gap_that_is_too_wide_suggests_who_may_stand_between():
    assert teacher_warnings(context()) == []
    (warning,) = teacher_warnings(context("yolov5x"))
    assert "39 times" in warning
    assert "--assistant yolov5m" in warning
    assert teacher_warnings(context("yolov5x", **{"student.model": "yolov5s"})) == []
    assert teacher_warnings(context("unnamed")) == []


@pytest.mark.usefixtures("_no_model")
def test_a_teacher_no_better_than_the_control_is_told():
    assert teacher_warnings(context(control_map=0.4)) == []
    (warning,) = teacher_warnings(context(control_map=0.499))
    assert "0.1 mAP50-95 points above" in warning
    (warning,) = teacher_warnings(context(control_map=0.52))
    assert "2.0 mAP50-95 points below" in warning
    assert teacher_warnings(context(control_map=0.52, **{"distill.scheme": "self"})) == []


def test_hard_labels_in_place_of_the_truth_are_told_of_where_answers_are_heard():
    (warning,) = teacher_warnings(context(**{"student.labels": "pseudo"}))
    assert "--labels gt+pool" in warning
    assert teacher_warnings(context(**{"distill.scheme": "labels"})) == []
    assert teacher_warnings(context(**{"distill.scheme": "self", "student.labels": "pseudo"})) == []


def test_teacher_and_control_are_measured_alike(finished):
    """The tiny teacher is the control: same model, start, seed and labels."""
    config = load_config(finished / "config.yaml")
    same = SimpleNamespace(run=RunDir(finished), config=config, progress=tiny.Notes())
    assert stage._lead(same) == pytest.approx(0, abs=1e-9)
