"""Stage `teacher`: train or adopt (faults 51-54)."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
import tiny
import torch

from kdyolo import api
from kdyolo.datasets.trained_on import write_trained_on
from kdyolo.datasets.view import load_view
from kdyolo.engine import checkpoints
from kdyolo.errors import ConfigError, DatasetError, RunExistsError, UntrustedFileError
from kdyolo.stages.train_teacher import match_classes
from kdyolo.storage import RunDir, sha256_file

OURS = ["early", "late", "mold"]


def test_equal_lists_need_no_map():
    assert match_classes(OURS, OURS, None) == {0: 0, 1: 1, 2: 2}


@pytest.mark.parametrize(
    "theirs", [["late", "early", "mold"], ["early", "late"], [*OURS, "x"], ["Early", "late", "mold"]]
)
def test_any_other_list_does(theirs):
    with pytest.raises(ConfigError, match="not the data set's") as caught:
        match_classes(theirs, OURS, None)
    assert "--map-classes" in caught.value.hint
    assert all(f"{name}=" in caught.value.hint for name in theirs)


def test_a_map_translates_and_drops():
    theirs = ["spot", "leaf", "mold", "late blight"]
    given = {"mold": "mold", "late blight": "late", "spot": "late"}
    assert match_classes(theirs, OURS, given) == {2: 2, 3: 1, 0: 1}


@pytest.mark.parametrize(
    ("given", "says"),
    [({"nobody": "late"}, "'nobody'"), ({"early": "nothing"}, "'nothing'"), ({}, "map is empty")],
)
def test_a_map_that_cannot_be(given, says):
    with pytest.raises(ConfigError, match=says):
        match_classes(OURS, OURS, given)


@pytest.fixture
def split(demo_set, tmp_path):
    run = tmp_path / "run"
    api.split(demo_set, run, settings=tiny.SETTINGS)
    return RunDir(run)


def adopt(run, checkpoint, **settings):
    values = {"teacher.checkpoint": checkpoint, **{f"teacher.{name}": value for name, value in settings.items()}}
    return api.train_teacher(run.root, settings=values)


def classes(run):
    return json.loads((run.stage("teacher") / "classes.json").read_text())


def test_an_adopted_teacher_is_the_file_itself(split, lively):
    record = adopt(split, lively)
    assert set(record.outputs) == {"teacher/best.pt", "teacher/classes.json"}
    theirs, ours = (checkpoints.load(p)[0].state_dict() for p in (lively, split.stage("teacher") / "best.pt"))
    assert all(torch.equal(theirs[name], ours[name]) for name in theirs)
    assert record.facts["adopted_sha256"] == sha256_file(lively)
    assert record.facts["model"] == "yolov5n"
    assert record.facts["adopted_from"] == str(lively)
    assert classes(split) == {"0": 0, "1": 1, "2": 2, "3": 3}
    assert record.inputs["checkpoint"] == sha256_file(lively)
    assert {p.name for p in split.stage("teacher").iterdir()} == {"best.pt", "classes.json", "stage.json"}


def test_a_teacher_of_other_classes_needs_a_map(split, demo_set, tmp_path):
    other = tiny.lively_checkpoint(tmp_path / "other.pt", demo_set / "images", ("septoria", "rust", "late_blight"))
    with pytest.raises(ConfigError, match="septoria, rust, late_blight"):
        adopt(split, other)
    assert split.record("teacher").status == "failed"
    assert not (split.stage("teacher") / "best.pt").exists()
    record = adopt(split, other, map_classes={"septoria": "septoria", "late_blight": "late_blight"})
    assert record.status == "done"
    assert classes(split) == {"0": 3, "2": 1}
    labels = api.pseudo_label(split.root, settings={"pseudo.conf": 0.5})
    counts = labels.facts["boxes_per_class"]
    assert counts["septoria"] > 0
    assert counts["late_blight"] > 0
    assert counts["early_blight"] == counts["leaf_mold"] == 0


def _no_checkpoint(folder):
    """Settings left out mean 'as before'; a file can take one back."""
    (folder / "own.yaml").write_text("teacher: {checkpoint: null}\n")
    return folder / "own.yaml"


def test_a_malicious_teacher_is_refused(split, tmp_path):
    bad = tiny.poisoned_checkpoint(tmp_path / "bad.pt", tmp_path / "canary")
    with pytest.raises(UntrustedFileError, match=r"posix\.system"):
        adopt(split, bad)
    weights = {"teacher.checkpoint": None, "teacher.weights": bad, "teacher.from_scratch": False}
    with pytest.raises(UntrustedFileError, match=r"posix\.system"):
        api.train_teacher(split.root, settings=weights, config=_no_checkpoint(tmp_path), force=True)
    assert not (tmp_path / "canary").exists()


def listed(split, checkpoint, name):
    """The teacher in a folder of its own, beside a list that says it was trained on a split of this run."""
    folder = split.root.with_name(f"from-elsewhere-{name}")
    folder.mkdir()
    images = load_view(split.stage("split")).splits[name]
    write_trained_on(folder / "trained_on.csv", images)
    return Path(shutil.copy(checkpoint, folder / "best.pt")), len(images)


def test_a_teacher_that_saw_test_images_is_refused(split, lively):
    checkpoint, count = listed(split, lively, "test")
    with pytest.raises(DatasetError, match=f"trained on {count} of the {count} test images") as caught:
        adopt(split, checkpoint)
    assert "teacher.allow_seen_test" in caught.value.hint
    assert not (split.stage("teacher") / "best.pt").exists()


@pytest.mark.parametrize("how", ["force", "setting"])
def test_and_adopted_when_the_user_says_so(split, lively, how):
    checkpoint, count = listed(split, lively, "test")
    values = {"teacher.checkpoint": checkpoint, **({"teacher.allow_seen_test": True} if how == "setting" else {})}
    notes = tiny.Notes()
    record = api.train_teacher(split.root, settings=values, force=how == "force", progress=notes)
    assert record.facts["saw"] == {"images": count, "train": 0, "val": 0, "test": count, "pool": 0}
    assert any("test images" in warning for warning in notes.warnings)
    assert "teacher/trained_on.csv" in record.outputs


def test_a_teacher_of_the_same_training_images_is_welcome(split, lively):
    checkpoint, count = listed(split, lively, "train")
    record = adopt(split, checkpoint)
    assert record.facts["saw"] == {"images": count, "train": count, "val": 0, "test": 0, "pool": 0}


def test_the_list_may_be_named(split, lively, tmp_path):
    checkpoint, _ = listed(split, lively, "test")
    moved = checkpoint.with_name("trained_on.csv").rename(tmp_path / "list.csv")
    with pytest.raises(DatasetError, match="test images"):
        adopt(split, checkpoint, trained_on=moved)
    with pytest.raises(ConfigError, match=r"none\.csv") as caught:
        adopt(split, checkpoint, trained_on=tmp_path / "none.csv")
    assert "teacher.trained_on" in caught.value.hint


def test_a_teacher_without_a_list_is_adopted_with_a_warning(split, lively):
    notes = tiny.Notes()
    record = api.train_teacher(split.root, settings={"teacher.checkpoint": lively}, progress=notes)
    assert record.facts["saw"] is None
    assert any("Nothing says what this teacher was trained on" in warning for warning in notes.warnings)


def test_a_missing_teacher(split, tmp_path):
    with pytest.raises(ConfigError, match="There is no file"):
        adopt(split, tmp_path / "none.pt")


def test_another_checkpoint_is_not_taken_silently(split, lively, demo_set, tmp_path):
    adopt(split, lively)
    other = tiny.lively_checkpoint(tmp_path / "b.pt", demo_set / "images", seed=1)
    with pytest.raises(RunExistsError, match="the files of 'checkpoint' changed"):
        adopt(split, other)


def test_an_image_changed_since_the_split_is_named(split):
    image = sorted((split.stage("split") / "images" / "train").glob("*"))[3]
    image.unlink()  # it is a link to the demo set
    image.write_bytes(b"another picture")
    with pytest.raises(DatasetError, match=image.name):
        api.train_teacher(split.root)


@pytest.mark.slow
def test_a_trained_teacher_leaves_a_stock_checkpoint_and_one_row_an_epoch(finished):
    run = RunDir(finished)
    record = run.record("teacher")
    assert {p.name for p in run.stage("teacher").iterdir()} == {
        "classes.json",
        "trained_on.csv",
        *tiny.LEFT_BY_TRAINING,
    }
    assert set(record.outputs) == {
        "teacher/best.pt",
        "teacher/results.csv",
        "teacher/classes.json",
        "teacher/trained_on.csv",
    }
    assert pd.read_csv(run.stage("teacher") / "results.csv")["epoch"].tolist() == [1, 2]
    model, saved = checkpoints.load(run.stage("teacher") / "best.pt")
    assert saved["optimizer"] is None
    assert tuple(model.names.values()) == tiny.CLASSES
    assert record.facts["labels"] == "gt"
    assert record.facts["images"] == run.record("split").facts["splits"]["train"]["images"]


@pytest.mark.slow
def test_training_opens_no_test_image(split):
    with tiny.opened_files() as names:
        api.train_teacher(split.root, settings={"teacher.epochs": 1})
    read = {name for name in names if "/split/" in name}
    assert any("/images/train/" in name for name in read)
    assert any("/images/val/" in name for name in read)
    # The pipeline hashes recorded files, test labels among them; nobody looks at a test image.
    assert not [name for name in read if "/images/test/" in name]
