"""``split.labels_fraction``: some training images keep their labels, the others are unlabelled to every later stage."""

import pytest
import tiny

from kdyolo import api
from kdyolo.datasets.view import load_view
from kdyolo.errors import ConfigError
from kdyolo.storage import RunDir

TRAIN = 21


def split(source, run, fraction):
    api.split(source, run, settings={**tiny.SETTINGS, "split.labels_fraction": fraction})
    return RunDir(run)


def names(run, part):
    return {image.source for image in load_view(run.stage("split")).splits[part]}


def test_parts_are_nested_and_the_other_splits_stay(demo_set, tmp_path):
    whole, half, third = (split(demo_set, tmp_path / f"{f}", f) for f in (1.0, 0.5, 0.35))
    assert names(third, "train") < names(half, "train") < names(whole, "train")
    assert names(whole, "pool") == set()
    for run in (half, third):
        assert names(run, "train") | names(run, "pool") == names(whole, "train")
        assert not names(run, "train") & names(run, "pool")
        assert [names(run, part) for part in ("val", "test")] == [names(whole, part) for part in ("val", "test")]


def test_no_label_of_the_pool_is_anywhere_in_the_run(demo_set, tmp_path):
    run = split(demo_set, tmp_path / "run", 0.5)
    view = load_view(run.stage("split"))
    assert len(view.splits["pool"]) == run.record("split").facts["pool"] > 0
    hidden = {image.image.stem for image in view.splits["pool"]}
    assert not hidden & {path.stem for path in run.root.rglob("*.txt")}


def test_too_small_a_share_is_refused_with_the_smallest_that_works(demo_set, tmp_path):
    with pytest.raises(ConfigError, match="share of labels") as caught:
        split(demo_set, tmp_path / "run", 0.01)
    assert "--labels-fraction 0." in caught.value.hint


@pytest.mark.slow
def test_student_and_control_see_equally_much_and_only_the_student_sees_the_pool(demo_set, lively, tmp_path):
    run = split(demo_set, tmp_path / "run", 0.5)
    api.train_teacher(run.root, settings={"teacher.checkpoint": lively})
    pseudo = api.pseudo_label(run.root, settings={"pseudo.conf": 0.6, "pseudo.min_map50": 0})
    assert pseudo.facts["images"] == TRAIN
    pool = {image.image.stem for image in load_view(run.stage("split")).splits["pool"]}
    assert {path.stem for path in (run.stage("pseudo") / "labels" / "pool").iterdir()} == pool
    student = api.train_student(run.root, settings={"student.epochs": 1})
    control = api.train_student(run.root, baseline=True)
    assert student.facts["images"] == control.facts["images"] == TRAIN
    assert student.facts["optimizer_steps"] == control.facts["optimizer_steps"]
    learnt = {p.stem.split("~")[0] for p in (run.stage("baseline") / "data" / "images" / "train").iterdir()}
    assert not learnt & pool
    assert {p.stem for p in (run.stage("student") / "data" / "images" / "train").iterdir()} >= pool


@pytest.mark.slow
def test_a_teacher_of_few_labels_takes_as_many_steps_as_one_of_all(demo_set, tmp_path):
    run = split(demo_set, tmp_path / "run", 0.5)
    facts = api.train_teacher(run.root, settings={"teacher.model": "yolov5n", "teacher.epochs": 1}).facts
    assert facts["images"] == TRAIN
    listed = (run.stage("teacher") / "trained_on.csv").read_text().splitlines()
    assert len(listed) - 1 == len(names(run, "train")) < TRAIN
