"""The student beside its teacher: every scheme trains, compares fairly with the control and leaves a stock model."""

import shutil

import pandas as pd
import pytest
import tiny
import torch

from kdyolo import api
from kdyolo.engine import checkpoints, environment
from kdyolo.errors import ConfigError, DatasetError, Interrupted, StageError
from kdyolo.pipeline import chain, plan, resolve
from kdyolo.storage import RunDir

pytestmark = pytest.mark.slow

# The lively teacher's boxes are not where the truth is, so what it stored pairs with its own labels only.
SCHEMES = {
    "cached": {"distill.scheme": "cached", "student.labels": "pseudo"},
    "online-teacher": {
        "distill.scheme": "online-teacher",
        "distill.method": "response+cwd:0.5",
        "student.labels": "gt",
    },
    "born-again": {"distill.scheme": "self"},
    "ema": {"distill.scheme": "self", "distill.self_teacher": "ema"},
    "deep": {"distill.scheme": "self", "distill.self_teacher": "deep"},
    "mutual": {"distill.scheme": "mutual", "distill.method": "response+at"},
}
LOUD = {"distill.weight": 1.0, "distill.warmup_epochs": 0, "distill.schedule": "constant", "distill.until_tail": False}


@pytest.fixture(scope="module")
def control(labelled, tmp_path_factory):
    run = tiny.copy_run(labelled, tmp_path_factory.mktemp("control") / "run")
    return run, api.train_student(run.root, baseline=True, settings={"student.labels": "gt"})


@pytest.fixture(scope="module")
def undistilled(labelled, control, tmp_path_factory):
    """Labels -> run and record of a student that learns from them alone."""
    run = tiny.copy_run(labelled, tmp_path_factory.mktemp("undistilled") / "run")
    settings = {"distill.scheme": "labels", "student.labels": "pseudo"}
    return {"gt": (*control, "baseline"), "pseudo": (run, api.train_student(run.root, settings=settings), "student")}


@pytest.fixture(scope="module", params=SCHEMES)
def student(request, labelled, tmp_path_factory):
    run = tiny.copy_run(labelled, tmp_path_factory.mktemp(request.param) / "run")
    return run, api.train_student(run.root, settings={**SCHEMES[request.param], **LOUD})


@pytest.fixture
def run(labelled, tmp_path):
    return tiny.copy_run(labelled, tmp_path / "run")


def weights(run, stage):
    return checkpoints.load(run.stage(stage) / "best.pt")[0].state_dict()


def equal(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_only_what_it_hears_tells_it_from_others(student, undistilled):
    run, record = student
    other, plain, stage = undistilled[record.facts["labels"]]
    for fact in ("initial_sha256", "optimizer_steps", "images", "labels_sha256"):
        assert record.facts[fact] == plain.facts[fact], fact
    assert not equal(weights(run, "student"), weights(other, stage))
    assert record.facts["scheme"] in ("cached", "online-teacher", "self", "mutual")


def test_the_loss_of_every_epoch_is_in_the_table(student):
    run, _ = student
    table = pd.read_csv(run.stage("student") / "results.csv")
    assert len(table) == tiny.EPOCHS
    assert (table["train/kd_loss"] > 0).all()
    assert (table["val/kd_loss"] == 0).all()
    assert (table["kd_weight"] == 1).all()


def test_it_leaves_a_stock_checkpoint(student):
    run, _ = student
    path = run.stage("student") / "best.pt"
    named = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    assert not [name for name in named if "kdyolo" in name]
    model, _ = checkpoints.load(path)
    assert not hasattr(model, checkpoints.ADAPTERS)
    stock = checkpoints.build("yolov5n", len(model.names))
    assert model.state_dict().keys() == stock.state_dict().keys()
    from ultralytics import YOLO

    assert YOLO(path).predict(torch.zeros(1, 3, 64, 64), verbose=False)


def test_a_teacher_of_no_weight_leaves_the_control(run, control):
    other, _ = control
    api.train_student(run.root, settings={"distill.scheme": "cached", "distill.weight": 0, "student.labels": "gt"})
    assert equal(weights(run, "student"), weights(other, "baseline"))


def test_the_weight_may_find_itself(run, monkeypatch):
    from kdyolo.distill import schedule

    monkeypatch.setattr(schedule.Balance.__init__, "__defaults__", (3, 0.9, 20.0))
    settings = {**SCHEMES["cached"], **LOUD, "distill.weight": "auto", "distill.ratio": 0.25}
    api.train_student(run.root, settings=settings)
    table = pd.read_csv(run.stage("student") / "results.csv")
    assert table["kd_weight"].iloc[-1] > 0
    assert 0 < table["kd_gradient_ratio"].iloc[-1] <= 0.26
    assert table["kd_gradient_cosine"].between(-1, 1).all()


@pytest.mark.parametrize("weight", [1, "auto"])
@pytest.mark.parametrize("name", SCHEMES)
def test_an_interrupted_distillation_ends_as_if_it_had_not_been(run, tmp_path, name, weight):
    settings = {**SCHEMES[name], **LOUD, "student.epochs": 3, "distill.weight": weight}
    whole = tiny.copy_run(run.root, tmp_path / "whole")
    api.train_student(whole.root, settings=settings)
    stop = tiny.Notes(on_update=lambda: _interrupt_once(stop))
    with pytest.raises(Interrupted):
        api.train_student(run.root, settings=settings, progress=stop)
    record = api.train_student(run.root)
    assert record.facts["epochs"] == 3
    assert equal(weights(run, "student"), weights(whole, "student"))
    tables = [pd.read_csv(r.stage("student") / "results.csv").drop(columns="time") for r in (run, whole)]
    assert tables[0].equals(tables[1])
    assert (tables[0]["train/kd_loss"][1:] > 0).all()


@pytest.mark.parametrize("name", ["online-teacher", "mutual"])
@pytest.mark.parametrize("settings", [{"student.nbs": 2 * tiny.BATCH}, {"runtime.precision": "bf16"}], ids=str)
def test_gradients_may_accumulate_and_precision_be_half(run, name, settings):
    if settings.get("runtime.precision") == "bf16" and not environment.processor_has_bf16():
        pytest.skip("this processor has no bf16 arithmetic")
    for stage in (api.train_teacher, api.pseudo_label):
        stage(run.root, settings=settings, resume=True)
    record = api.train_student(run.root, settings={**SCHEMES[name], **LOUD, **settings})
    table = pd.read_csv(run.stage("student") / "results.csv")
    assert (table["train/kd_loss"] > 0).all()
    steps = record.facts["optimizer_steps"]
    assert steps < 12 if "student.nbs" in settings else steps == 12  # while lr warms up it accumulates less
    found = weights(run, "student")
    assert all(value.isfinite().all() for value in found.values())
    assert {value.dtype for value in found.values() if value.is_floating_point()} == {torch.float32}


@pytest.fixture
def asked(monkeypatch):
    """How often the teacher was asked; the fifth time, in the training, its answer is not finite."""
    from kdyolo.distill.teachers import FrozenTeacher

    answer, times = FrozenTeacher.answer, []

    def spoilt(self, pixels):
        output = answer(self, pixels)
        times.append(0)
        if len(times) == 5:
            output.scores.fill_(float("nan"))
        return output

    monkeypatch.setattr(FrozenTeacher, "answer", spoilt)
    return times


def test_an_answer_that_is_not_finite_is_not_learned(run, asked):
    settings = {**SCHEMES["online-teacher"], **LOUD, "student.epochs": 17, "more_seeds": [3]}
    record = api.train_student(run.root, settings=settings)
    assert record.facts["batches_without_teacher"] == 1
    assert [one.get("batches_without_teacher") for one in record.facts["seeds"]] == [1, None]
    assert all(value.isfinite().all() for value in weights(run, "student").values())


def test_too_many_answers_that_are_not_finite_stop_the_training(run, asked):
    with pytest.raises(StageError, match="not finite on 1 batches, more than 1 %"):
        api.train_student(run.root, settings={**SCHEMES["online-teacher"], **LOUD})
    assert len(asked) == 5


def test_a_teacher_that_never_answers_is_told_before_the_first_step(run, monkeypatch):
    from kdyolo.distill.outputs import HeadOutput

    monkeypatch.setattr(HeadOutput, "is_finite", lambda self: False)
    with pytest.raises(StageError, match=r"not finite on \d of the first \d batches"):
        api.train_student(run.root, settings={**SCHEMES["online-teacher"], **LOUD})


@pytest.mark.parametrize("name", ["online-teacher", "ema", "mutual"])
def test_an_epoch_that_failed_is_done_again_with_its_teacher(run, monkeypatch, name):
    """A step in the second epoch makes the student's weights NaN."""
    from kdyolo.distill.trainer import DistillTrainer

    step, steps = DistillTrainer.optimizer_step, []

    def spoilt(self):
        step(self)
        steps.append(0)
        if len(steps) == 8:
            next(self.model.parameters()).data.fill_(float("nan"))

    monkeypatch.setattr(DistillTrainer, "optimizer_step", spoilt)
    notes = tiny.Notes()
    record = api.train_student(run.root, settings={**SCHEMES[name], **LOUD, "student.epochs": 3}, progress=notes)
    assert [warning for warning in notes.warnings if "not finite in epoch 2" in warning]
    assert (record.facts["epochs"], record.facts["optimizer_steps"]) == (3, 18)
    table = pd.read_csv(run.stage("student") / "results.csv")
    assert (table["train/kd_loss"] > 0).all()
    assert (table["val/kd_loss"] == 0).all()
    assert all(value.isfinite().all() for value in weights(run, "student").values())


def test_soft_labels_of_an_older_version_are_told_before_the_control_is_trained(run):
    import numpy as np

    file = run.stage("pseudo") / "soft_labels.npz"
    with np.load(file) as held:
        old = {**held, "version": np.array(1)}
    np.savez_compressed(file, **old)
    record = run.record("pseudo")
    record.outputs |= run.hash_outputs([file])
    run.write_record(record)
    with pytest.raises(DatasetError, match="version 1, not 2"):
        plan(run, resolve(run, overrides=SCHEMES["cached"]), chain())


def test_a_peer_is_another_one_and_learns(run, monkeypatch):
    from kdyolo.distill.teachers import Peer

    seen = []
    step = Peer.step

    def watched(self, trainer):
        before = [p.detach().clone() for p in self.model.parameters()]
        step(self, trainer)
        moved = [not torch.equal(a, b) for a, b in zip(before, self.model.parameters(), strict=True)]
        seen.append((sum(moved) / len(moved), trainer.model.model[0].conv.weight.detach().clone()))
        assert not torch.equal(self.model.model[0].conv.weight, seen[-1][1])

    monkeypatch.setattr(Peer, "step", watched)
    record = api.train_student(run.root, settings={**SCHEMES["mutual"], **LOUD})
    assert len(seen) == record.facts["optimizer_steps"]
    assert all(share > 0.9 for share, _ in seen[1:])


def test_two_students_that_start_alike_are_refused(run, lively):
    settings = {**SCHEMES["mutual"], "student.from_scratch": False, "student.weights": str(lively)}
    with pytest.raises(ConfigError, match="start from the same weights"):
        api.train_student(run.root, settings=settings)


def test_the_average_of_itself_is_what_it_was(run, monkeypatch):
    from kdyolo.distill.teachers import AveragedTeacher

    gaps = []
    step = AveragedTeacher.step

    def watched(self, trainer):
        now = trainer.model.state_dict()["model.0.conv.weight"].detach().clone()
        before = self.model.state_dict()["model.0.conv.weight"].detach().clone()
        step(self, trainer)
        keep = min(1 - 1 / (self.steps + 1), 0.999)
        after = self.model.state_dict()["model.0.conv.weight"]
        gaps.append(float((after - keep * before - (1 - keep) * now).abs().max()))

    monkeypatch.setattr(AveragedTeacher, "step", watched)
    api.train_student(run.root, settings={**SCHEMES["ema"], **LOUD})
    assert len(gaps) == 12
    assert max(gaps) < 1e-6


def test_each_generation_is_taught_by_the_one_before(run, control):
    settings = {"distill.scheme": "self", "distill.generations": 2, **LOUD}
    record = api.train_student(run.root, settings=settings)
    assert len(record.facts["generations"]) == 2
    assert record.facts["train_seconds"] > sum(g["train_seconds"] for g in record.facts["generations"])
    folder, (first, _) = run.stage("student"), control
    held = [checkpoints.load(folder / part / "best.pt")[0].state_dict() for part in ("generation-0", "generation-1")]
    assert equal(held[0], weights(first, "baseline"))  # the first one has no teacher: it is the control
    assert not equal(held[0], held[1])
    assert not equal(held[1], weights(run, "student"))


def _interrupt_once(notes):
    import os
    import signal

    if notes.updates == 9:  # of six steps and one update an epoch
        os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"distill.scheme": "cached", "distill.method": "response+cwd"}, "'cwd' needs the teacher at every step"),
        ({"distill.scheme": "cached", "distill.method": "respnse"}, "Did you mean 'response'"),
        ({"distill.scheme": "cached", "pseudo.augment": True}, "no soft labels"),
    ],
)
def test_what_cannot_work_is_told_before_anything_is_trained(run, settings, told):
    with pytest.raises(ConfigError, match=told):
        plan(run, resolve(run, overrides=settings), chain())


def test_soft_labels_of_another_teacher_are_refused(run, tmp_path):
    other = tiny.copy_run(run.root, tmp_path / "other")
    file = RunDir(other.root).stage("pseudo") / "soft_labels.npz"
    from kdyolo.distill.soft_labels import Origin, SoftLabels, write_soft_labels

    write_soft_labels(
        file, {"train/x.jpg": SoftLabels.nothing(4)}, {"train/x.jpg": "0"}, Origin("0" * 64, 64, tiny.CLASSES)
    )
    record = other.record("pseudo")
    record.outputs |= other.hash_outputs([file])
    other.write_record(record)
    with pytest.raises(DatasetError, match="of another teacher"):
        api.train_student(other.root, settings={"distill.scheme": "cached"}, resume=True)
    shutil.rmtree(other.root)
