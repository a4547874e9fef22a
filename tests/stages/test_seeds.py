"""Student and control once more with other seeds, in pairs."""

import pytest
import tiny
import torch

from kdyolo import api
from kdyolo.cli import options
from kdyolo.config import load_config
from kdyolo.engine import checkpoints
from kdyolo.errors import ConfigError, Interrupted

pytestmark = pytest.mark.slow


def weights(path):
    return checkpoints.load(path)[0].state_dict()


def equal(a, b):
    return all(torch.equal(value, b[name]) for name, value in a.items())


def test_each_seed_is_a_training_of_its_own_and_the_arms_are_paired(labelled, tmp_path):
    settings = {"more_seeds": [3], "student.labels": "pseudo"}
    run = tiny.copy_run(labelled, tmp_path / "run")
    student = api.train_student(run.root, settings=settings)
    control = api.train_student(run.root, baseline=True)
    ours, theirs = student.facts["seeds"], control.facts["seeds"]
    assert [one["seed"] for one in ours] == [one["seed"] for one in theirs] == [0, 3]
    assert [one["initial_sha256"] for one in ours] == [one["initial_sha256"] for one in theirs]
    assert ours[0]["initial_sha256"] != ours[1]["initial_sha256"]
    assert {"student/best.pt", "student/seed-3/best.pt", "student/seed-3/results.csv"} <= set(student.outputs)
    alone = tiny.copy_run(labelled, tmp_path / "alone")
    api.train_student(alone.root, settings={"student.labels": "pseudo"})
    assert equal(weights(run.stage("student") / "best.pt"), weights(alone.stage("student") / "best.pt"))
    assert not equal(weights(run.stage("student") / "seed-3" / "best.pt"), weights(run.stage("student") / "best.pt"))


def test_a_finished_seed_is_not_trained_again(labelled, tmp_path):
    run, notes = tiny.copy_run(labelled, tmp_path / "run"), tiny.Notes()

    def stop():
        if len(notes.titles) == 2:
            raise Interrupted("Stopped.", "")

    notes.on_update = stop
    with pytest.raises(Interrupted):
        api.train_student(run.root, settings={"more_seeds": [3]}, progress=notes)
    done = (run.stage("student") / "best.pt").stat().st_mtime_ns
    again = tiny.Notes()
    api.train_student(run.root, progress=again)
    assert [title for title in again.titles if "student" in title] == ["student yolov5n (seed-3)"]
    assert (run.stage("student") / "best.pt").stat().st_mtime_ns == done


def test_generations_of_each_seed_are_their_own(labelled, tmp_path):
    run = tiny.copy_run(labelled, tmp_path / "run")
    api.train_student(run.root, settings={"more_seeds": [3], "distill.scheme": "self", "student.epochs": 1})
    assert (run.stage("student") / "seed-3" / "generation-0" / "best.pt").is_file()


def test_from_the_command_line():
    assert options.parse_seeds(None, 4) == {"seed": 4}
    assert options.parse_seeds("2,0,1", None) == {"seed": 2, "more_seeds": [0, 1]}
    for text, seed in (("0,x", None), ("0,1", 3), ("", None)):
        with pytest.raises(ConfigError):
            options.parse_seeds(text, seed)
    with pytest.raises(ConfigError, match="different numbers"):
        load_config(overrides=options.parse_seeds("1,1", None))
    with pytest.raises(ConfigError, match="different numbers"):
        load_config(overrides=options.parse_seeds("1,-1", None))
