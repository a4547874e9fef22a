"""Students in two processes: each hears its teacher, and both are one student in the end."""

import functools
from pathlib import Path

import pandas as pd
import pytest
import tiny
import torch

from kdyolo import api
from kdyolo.engine import checkpoints
from kdyolo.errors import ConfigError, StageError
from kdyolo.stages import training

pytestmark = pytest.mark.slow

LOUD = {"distill.warmup_epochs": 0, "distill.schedule": "constant", "distill.until_tail": False}
TOGETHER = {**LOUD, "runtime.processes": 2, "student.labels": "gt"}


@pytest.fixture
def run(labelled, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1] / "support"))
    return tiny.copy_run(labelled, tmp_path / "run")


@pytest.fixture
def watched(tmp_path, monkeypatch):
    """Has trainings write down their steps, see `rank_probes`."""
    import rank_probes

    monkeypatch.setattr(training, "listening", functools.partial(rank_probes.listening, tmp_path))
    return lambda: rank_probes.steps(tmp_path)


def test_an_adapter_and_the_automatic_weight_are_one_for_both(run, watched):
    settings = {**TOGETHER, "distill.scheme": "online-teacher", "distill.method": "cwd", "distill.weight": "auto"}
    record = api.train_student(run.root, settings=settings)
    ours, theirs = watched()
    weights = [step["weight"] for step in ours]
    assert weights == [step["weight"] for step in theirs]
    assert weights[0] == 0 < weights[-1]
    for mine, its in zip(ours, theirs, strict=True):
        assert mine["gradients"] == its["gradients"]
        assert mine["adapters"] == its["adapters"]
        if mine["weight"]:
            assert mine["losses"]["kd_loss"] > 0 < its["losses"]["kd_loss"]
            assert mine["losses"]["kd_loss"] != its["losses"]["kd_loss"]
            assert mine["adapter_length"] > 0
    compared = [(mine["compared"], its["compared"]) for mine, its in zip(ours, theirs, strict=True) if mine["compared"]]
    assert len(compared) >= 3
    assert all(mine != its for mine, its in compared)  # each measures its own images; the weight is of the mean
    table = pd.read_csv(run.stage("student") / "results.csv")
    assert (table["train/kd_loss"] >= 0).all()
    assert table["kd_weight"].iloc[-1] == pytest.approx(weights[-1], abs=1e-6)
    assert record.facts["processes"] == 2
    assert record.facts["preflight"]["kd_loss"] > 0
    saved = torch.load(run.stage("student") / "best.pt", weights_only=False)["model"]
    assert not hasattr(saved, checkpoints.ADAPTERS)
    stock = checkpoints.build("yolov5n", len(tiny.CLASSES))
    assert saved.state_dict().keys() == stock.state_dict().keys()


@pytest.mark.parametrize("scheme", ["mutual", "ema"])
def test_what_learns_beside_the_student_is_one_as_well(run, scheme):
    """The weights that are compared at the end are those of peer and average, too."""
    named = {"distill.scheme": "mutual"} if scheme == "mutual" else {"distill.scheme": "self"}
    settings = {**TOGETHER, **named, "distill.self_teacher": "ema", "student.epochs": 1}
    facts = api.train_student(run.root, settings=settings).facts
    hashes = [one["weights_sha256"] for one in facts["ranks"]]
    assert hashes[0] == hashes[1]
    assert (pd.read_csv(run.stage("student") / "results.csv")["train/kd_loss"] > 0).all()


def test_adapters_may_rest(run):
    """In the first step and the last epoch the teacher has no say, so no process has a gradient for them."""
    settings = {
        "distill.scheme": "online-teacher",
        "distill.method": "cwd",
        "student.epochs": 4,
        "runtime.processes": 2,
    }
    facts = api.train_student(run.root, settings=settings).facts
    table = pd.read_csv(run.stage("student") / "results.csv")
    assert table["kd_weight"].iloc[-1] == 0 < table["kd_weight"].iloc[0]
    assert facts["epochs"] == 4


def test_what_one_finds_before_the_first_step_stops_both(run, monkeypatch):
    import rank_probes

    monkeypatch.setattr(training, "listening", rank_probes.deaf)
    settings = {**TOGETHER, "distill.scheme": "online-teacher", "distill.method": "cwd"}
    with pytest.raises(StageError, match="nothing to say about the first 8 batches"):
        api.train_student(run.root, settings=settings)
    assert run.record("student").status == "failed"
    assert not list((run.stage("student") / "weights").glob("*"))


def test_a_batch_for_two_is_checked_before_anything_runs(run):
    with pytest.raises(ConfigError, match="2 processes cannot share a batch of 5"):
        api.train_student(run.root, settings={**TOGETHER, "student.batch": 5, "student.epochs": 1})
    assert not run.stage("student").exists()
