"""One batch before a distillation: what is told, what is refused, and that nothing is left behind."""

import dataclasses
import json
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
import tiny
import torch
from builders import tree_state

from kdyolo import api
from kdyolo.config import load_config
from kdyolo.distill import preflight, teachers
from kdyolo.distill.method import Objective
from kdyolo.distill.soft_labels import FILE, Origin, SoftLabels, write_soft_labels
from kdyolo.engine import checkpoints
from kdyolo.errors import ConfigError, DatasetError, StageError
from kdyolo.stages import preflight as stage
from kdyolo.stages import train_student
from kdyolo.stages.preflight import MILLIONS, teacher_warnings
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
    assert ("grid" in checks) is (settings is ONLINE)
    if settings is ONLINE:
        assert checks["grid"]["told"] == "cells of 8, 16, 32 px, 16 bins a side, of teacher and student alike"
    forecast = found["forecast"]
    born_again = forecast["plain_step_seconds"] if settings == {"distill.scheme": "self"} else 0
    expected = 12 * (forecast["step_seconds"] + born_again)  # two epochs of six steps
    assert forecast["seconds"] == pytest.approx(expected, rel=0.01)
    assert forecast["memory_mb"] > 100
    assert (forecast["cache_mb"] > 0) is (settings is CACHED)
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize("scheme", ["online-teacher", "mutual"])
def test_epochs_at_the_end_that_hear_no_teacher_are_forecast_so(labelled, scheme):
    settings = {**ONLINE, "distill.scheme": scheme, "student.epochs": 8, "distill.method": "response"}
    forecast = api.preflight(labelled, settings=settings)["forecast"]
    taught, plain = forecast["step_seconds"], forecast["plain_step_seconds"]
    expected = 6 * (8 * taught if scheme == "mutual" else 6 * taught + 2 * plain)
    assert forecast["seconds"] == pytest.approx(expected, rel=0.01)


def test_without_a_distillation_there_is_nothing_to_look_at(labelled):
    with pytest.raises(ConfigError, match="no distillation loss"):
        api.preflight(labelled, settings={"distill.scheme": "labels"})


def test_before_the_labels_are_written_it_says_what_to_do_first(labelled, tmp_path):
    run = tiny.copy_run(labelled, tmp_path / "run")
    (run.stage("pseudo") / "stage.json").unlink()
    with pytest.raises(DatasetError, match="'pseudo'"):
        api.preflight(run.root, settings=ONLINE)


def test_the_forecast_is_that_of_all_generations_and_seeds(labelled):
    settings = {"distill.scheme": "self", "distill.generations": 3, "more_seeds": [1]}
    forecast = api.preflight(labelled, settings=settings)["forecast"]
    one = 12 * (forecast["plain_step_seconds"] + 3 * forecast["step_seconds"])
    assert forecast["seconds"] == pytest.approx(2 * one, rel=0.01)


@pytest.mark.parametrize("scheme", ["mutual", "self"])
def test_a_plain_step_has_no_teacher_in_it(labelled, monkeypatch, scheme):
    asked = []
    for kind in (teachers.Peer, teachers.AveragedTeacher):

        def answer(self, pixels, answered=kind.answer):
            asked.append(trainer[0].criterion.weight)
            return answered(self, pixels)

        monkeypatch.setattr(kind, "answer", answer)
    look, trainer = preflight.look, []
    monkeypatch.setattr(preflight, "look", lambda one: trainer.append(one) or look(one))
    own = {"distill.self_teacher": "ema"} if scheme == "self" else {}
    api.preflight(labelled, settings={"distill.scheme": scheme, **own})
    assert asked == [1.0, 1.0, 1.0]  # of the first look, and of two timed steps
    assert trainer[0].teacher is not None


def test_memory_is_that_of_the_steps_and_not_what_the_process_once_took(labelled):
    before = torch.ones(100_000_000)  # 400 MB, as of a teacher trained before
    highest = psutil.Process().memory_info().rss / 1e6
    del before
    memory = api.preflight(labelled, settings=ONLINE)["forecast"]["memory_mb"]
    assert memory < highest - 200


def test_what_is_stored_is_foretold_before_it_is(labelled, tmp_path):
    run = tiny.copy_run(labelled, tmp_path / "run")
    real = api.preflight(run.root, settings=CACHED)["forecast"]["cache_mb"]
    assert real == round((run.stage("pseudo") / "soft_labels.npz").stat().st_size / 1e6, 2)
    (run.stage("pseudo") / "stage.json").unlink()
    with pytest.raises(DatasetError, match="'pseudo'") as caught:
        api.preflight(run.root, settings=CACHED)
    assert re.search(r"store about 0\.0\d+ MB", caught.value.hint)


@pytest.mark.parametrize(("classes", "found"), [(1, 20), (80, 3), (3, 0)])
def test_the_forecast_of_what_is_stored_is_near_what_it_becomes(tmp_path, monkeypatch, classes, found):
    """Where the teacher finds as many boxes as it is taken to."""
    names, count = tuple(f"class {i}" for i in range(classes)), 50
    label = tmp_path / "labels.txt"
    label.write_text("0 0.5 0.5 0.1 0.1\n" * found)
    images = {"train": [SimpleNamespace(label=label)] * 30, "pool": [None] * 20}
    monkeypatch.setattr("kdyolo.datasets.view.load_view", lambda folder: SimpleNamespace(splits=images, names=names))
    few = int(stage._BOXES * found)
    soft = dataclasses.replace(SoftLabels.nothing(classes), xywhn=np.ones((few, 4)), probs=np.ones((few, classes)),
                               spread=np.ones((few, 4)), score=np.ones(few), cls=np.zeros(few))  # fmt: skip
    stored = {f"train/tomato_{i:05}.jpg": soft for i in range(count)}
    write_soft_labels(tmp_path / FILE, stored, dict.fromkeys(stored, "0" * 64), Origin("0" * 64, 64, names))
    run = SimpleNamespace(stage=tmp_path.joinpath, record={}.get)
    forecast = stage._cache_mb(SimpleNamespace(run=run, config=load_config()))
    assert forecast == pytest.approx((tmp_path / FILE).stat().st_size / 1e6, rel=0.25)


@pytest.mark.parametrize("command", [api.preflight, api.train_student])
def test_students_that_would_start_alike_are_refused_before_anything_is_trained(labelled, tmp_path, lively, command):
    run = tiny.copy_run(labelled, tmp_path / "run")
    for weights in (None, str(lively)):
        start = {"student.from_scratch": False, "student.weights": weights}
        with pytest.raises(ConfigError, match="start from the same weights") as caught:
            command(run.root, settings={"distill.scheme": "mutual", **start})
        assert "--from-scratch" in caught.value.hint
    assert not run.stage("student").exists()


def test_a_whole_run_refuses_them_before_its_teacher(demo_set, tmp_path):
    start = {"distill.scheme": "mutual", "student.from_scratch": False, "runtime.offline": False}
    with pytest.raises(ConfigError, match="start from the same weights"):
        api.run(demo_set, tmp_path / "run", settings={**tiny.SETTINGS, **start})
    assert not (tmp_path / "run").exists()


HINTON = {"distill.scheme": "cached", "distill.method": "hinton"}


def test_hinton_with_one_class_is_refused_when_the_split_is_done(demo_set, tmp_path):
    data = shutil.copytree(demo_set, tmp_path / "data")
    for file in (data / "labels").rglob("*.txt"):
        file.write_text("".join(f"0 {line.split(maxsplit=1)[1]}\n" for line in file.read_text().splitlines()))
    (data / "data.yaml").write_text("path: .\ntrain: images\nval: images\nnames: [leaf]\n")
    run = RunDir(tmp_path / "run")
    with pytest.raises(ConfigError, match="'hinton' says nothing with 1 class: it needs 2"):
        api.run(data, run.root, settings={**tiny.SETTINGS, **HINTON})
    assert run.record("split").status == "done"
    assert not run.stage("teacher").exists()
    with pytest.raises(ConfigError, match="'hinton' says nothing with 1 class"):  # and now before it starts
        api.run(run=run.root)


def test_hinton_of_a_teacher_that_knows_one_class_is_refused(labelled, tmp_path):
    run = tiny.copy_run(labelled, tmp_path / "run")
    (run.stage("teacher") / "classes.json").write_text('{"0": 2}')
    config = load_config(run.config)
    for scheme, refused in (("cached", True), ("online-teacher", True), ("self", False)):
        config.distill = config.distill.model_copy(update={"scheme": scheme, "method": "hinton"})
        if refused:
            with pytest.raises(ConfigError, match="'hinton' says nothing with 1 class"):
                train_student.STAGE.check(run, config)
        else:
            train_student.STAGE.check(run, config)
    config.distill = config.distill.model_copy(update={"scheme": "cached", "method": "bckd"})
    train_student.STAGE.check(run, config)


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
    """The records say what the control reaches and how large teachers are; there is no model to look at."""
    monkeypatch.setattr(stage, "_on_validation", lambda context, control: control.facts["map"])
    monkeypatch.setattr(stage, "_sizes", lambda run: [MILLIONS[run.require("teacher").facts["model"]]])


def context(teacher="yolov5m", teacher_map=0.5, control_map=0.4, **settings):
    """A run of which only records exist."""
    control = None if control_map is None else SimpleNamespace(status="done", facts={"map": control_map})
    facts = {
        "teacher": SimpleNamespace(facts={"model": teacher}),
        "pseudo": SimpleNamespace(facts={"teacher_val": {"mAP50_95": teacher_map}}),
    }
    root = Path("runs/x")
    run = SimpleNamespace(require=facts.get, finished={"baseline": control}.get, shown=str(root), root=root)
    return SimpleNamespace(run=run, config=load_config(overrides=settings))


@pytest.mark.usefixtures("_no_model")
def test_a_gap_that_is_too_wide_suggests_who_may_stand_between():
    assert teacher_warnings(context()) == []
    (warning,) = teacher_warnings(context("yolov5x"))
    assert "39 times" in warning
    assert "--assistant yolov5m" in warning
    assert teacher_warnings(context("yolov5x", **{"student.model": "yolov5s"})) == []


def test_the_gap_is_counted_in_the_checkpoints_whatever_they_call_themselves(tmp_path, monkeypatch):
    run = RunDir(tmp_path / "run")
    for name, model in (("best.pt", "yolov5n"), ("best-2.pt", "yolov5s")):
        run.stage("teacher").mkdir(parents=True, exist_ok=True)
        checkpoints.save_untrained(model, tiny.CLASSES, 0, run.stage("teacher") / name)
    for number in ("", "-2"):
        (run.stage("teacher") / f"classes{number}.json").write_text("{}")
    assert stage._sizes(run) == pytest.approx([MILLIONS["yolov5n"], MILLIONS["yolov5s"]], rel=0.02)
    team = context("yolov5n + yolov5s")
    team.run.stage = run.stage
    monkeypatch.setattr(stage, "_lead", lambda context: 0.1)
    assert teacher_warnings(team) == []
    monkeypatch.setattr(stage, "MAX_GAP", 3)
    (warning,) = teacher_warnings(team)
    assert warning.startswith("The largest of the teachers (yolov5n + yolov5s) has 4 times")
    monkeypatch.setattr(stage, "_sizes", lambda run: [97.2])
    (warning,) = teacher_warnings(context("unnamed"))
    assert warning.startswith("The teacher (unnamed) has 39 times")


@pytest.mark.usefixtures("_no_model")
def test_a_teacher_without_a_control_beside_it_is_told():
    (warning,) = teacher_warnings(context(control_map=None))
    assert "no control yet: `kdyolo train-student --baseline --run runs/x` first; `kdyolo run`" in warning
    assert teacher_warnings(context(control_map=None, **{"distill.scheme": "self"})) == []


def test_an_assistant_needs_no_control(tmp_path):
    (tmp_path / "config.yaml").touch()
    assert stage._is_assistant(RunDir(tmp_path / "assistant"))
    assert not stage._is_assistant(RunDir(tmp_path / "first"))
    assert not stage._is_assistant(RunDir(tmp_path / "elsewhere" / "assistant"))


def test_training_and_preflight_both_tell_that_there_is_no_control(labelled, tmp_path):
    run, notes = tiny.copy_run(labelled, tmp_path / "run"), tiny.Notes()
    checks = [check for check in api.preflight(run.root, settings=ONLINE)["checks"] if check["check"] == "teacher"]
    assert [check["level"] for check in checks] == ["warning"]
    assert "no control yet" in checks[0]["told"]
    api.train_student(run.root, settings={**ONLINE, "student.epochs": 1}, progress=notes)
    assert notes.warnings == [checks[0]["told"]]


@pytest.mark.usefixtures("_no_model")
def test_a_teacher_no_better_than_the_control_is_told():
    assert teacher_warnings(context()) == []
    (warning,) = teacher_warnings(context(control_map=0.499))
    assert "0.1 mAP50-95 points above" in warning
    (warning,) = teacher_warnings(context(control_map=0.52))
    assert "2.0 mAP50-95 points below" in warning
    assert teacher_warnings(context(control_map=0.52, **{"distill.scheme": "self"})) == []


@pytest.mark.usefixtures("_no_model")
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
