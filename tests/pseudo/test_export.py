"""Pseudo-labels leave a run with their scores, and come back reviewed."""

import json

import numpy as np
import pytest
from builders import make_yolo_dataset, tree_state, write_image
from label_files import boxes_of, load

from kdyolo.config import AuditSettings, DataSettings
from kdyolo.datasets.formats.convert import take_back
from kdyolo.datasets.view import build_view
from kdyolo.errors import ConfigError, DatasetError, RunExistsError
from kdyolo.progress import Silent
from kdyolo.pseudo.export import export
from kdyolo.pseudo.table import PseudoLabels, write_table
from kdyolo.storage import RunDir, StageRecord

NAMES = ("cat", "dog")


def found(*boxes):
    """(class, x1, y1, x2, y2, score, kept) in pixels of a 64 x 48 image."""
    rows = np.array(boxes, dtype=np.float64).reshape(-1, 7)
    x1, y1, x2, y2 = rows[:, 1:5].T / np.array([[64], [48], [64], [48]])
    xywhn = np.stack([(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1], axis=1)
    return PseudoLabels(rows[:, 0].astype(np.int64), xywhn, rows[:, 5], rows[:, 6].astype(bool))


@pytest.fixture
def run(tmp_path):
    """A run with two training images, one of them background, one that gave up its labels, and one from a pool."""
    run = RunDir(tmp_path / "run")
    dataset = load(make_yolo_dataset(tmp_path / "in", n=4))
    parts = ("train", "train", "val", "pool")
    folder = run.stage("split")
    folder.mkdir(parents=True)
    build_view(
        folder, NAMES, [(part, sample.name, sample) for part, sample in zip(parts, dataset.samples, strict=True)]
    )
    labels = {
        "train/img000.jpg": found((1, 4, 4, 20, 30, 0.75, True), (0, 0, 0, 9, 9, 0.25, False)),
        "train/img001.jpg": found((0, 0, 0, 9, 9, 0.2, False)),
        "pool/img003.jpg": found((0, 8, 8, 16, 16, 0.5, True)),
        "pool/pool-new.png": found(),
    }
    write_image(run.stage("pseudo") / "images/pool/pool-new.png", 9)
    for name in labels:
        file = run.stage("pseudo") / "labels" / f"{name.rpartition('.')[0]}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("")
    write_table(run.stage("pseudo") / "predictions.csv", labels, NAMES, "f" * 64)
    run.write_record(
        StageRecord(
            stage="pseudo", status="done", key="", sequence=1, settings={}, inputs={}, versions={},
            outputs=run.hash_outputs([run.stage("pseudo") / "predictions.csv"]), facts={"teacher_sha256": "f" * 64},
        )
    )  # fmt: skip
    return run


def leave(run, to, out, which="all", **more):
    return export(run, to, out, which, Silent(), **more)


@pytest.mark.parametrize("to", ["yolo", "coco", "cvat", "label-studio"])
def test_kept_boxes_with_their_scores(run, tmp_path, to):
    before = tree_state(run.root)
    facts = leave(run, to, tmp_path / "out")
    assert (facts["images"], facts["boxes"], facts["splits"]) == (4, 2, {"train": 4})
    assert facts["teacher_sha256"] == "f" * 64
    dataset = load(tmp_path / "out")
    assert boxes_of(dataset, "img000.jpg") == [("dog", 4, 4, 20, 30)]
    assert boxes_of(dataset, "img003.jpg") == [("cat", 8, 8, 16, 16)]
    assert [len(sample.cls) for sample in dataset.samples] == [1, 0, 1, 0]
    assert all(sample.label for sample in dataset.samples)
    if to == "yolo":
        assert "img000.jpg,0,0.75" in (tmp_path / "out/confidences.csv").read_text()
    else:
        assert dataset.samples[0].conf.tolist() == [0.75]
    assert tree_state(run.root) == before


@pytest.mark.parametrize(("which", "images"), [("train", 2), ("pool", 2), ("all", 4)])
def test_parts(run, tmp_path, which, images):
    assert leave(run, "coco", tmp_path / "out", which)["images"] == images


def test_all_scores(run, tmp_path):
    assert leave(run, "coco", tmp_path / "out", all_scores=True)["boxes"] == 4


def test_background_is_a_prediction_as_well(run, tmp_path):
    leave(run, "label-studio", tmp_path / "out")
    tasks = json.loads((tmp_path / "out/tasks.json").read_text())
    assert all("annotations" not in task for task in tasks)
    assert {task["predictions"][0]["model_version"] for task in tasks} == {"kdyolo teacher ffffffffffff"}
    assert [task["predictions"][0].get("score") for task in tasks] == [0.75, None, 0.5, None]


def test_reviewed_labels_come_back(run, tmp_path):
    leave(run, "label-studio", tmp_path / "out")
    tasks = json.loads((tmp_path / "out/tasks.json").read_text())
    for task in tasks[:2]:  # a person accepts the first prediction, and draws a box where there was none
        result = task.pop("predictions")[0]["result"]
        task["annotations"] = [{"id": 1, "result": result}]
    tasks[1]["annotations"][0]["result"] = tasks[0]["annotations"][0]["result"]
    (tmp_path / "reviewed.json").write_text(json.dumps(tasks[:2]))
    images = tmp_path / "out/images"
    facts = take_back(
        tmp_path / "reviewed.json", images, tmp_path / "clean", DataSettings(), AuditSettings(), Silent(), names=NAMES
    )
    assert (facts["images"], facts["boxes"], facts["unlabelled"], facts["unreviewed"]) == (2, 2, 2, 0)
    clean = load(tmp_path / "clean")
    assert (clean.names, boxes_of(clean, "img001.jpg")) == (NAMES, [("dog", 4, 4, 20, 30)])
    assert [sample.given for sample in clean.samples] == [("train",)] * 2


def test_what_cannot_be_exported(run, tmp_path):
    with pytest.raises(ConfigError, match="inside each other"):
        leave(run, "coco", run.root / "out")
    (tmp_path / "full").mkdir()
    (tmp_path / "full/x").write_text("")
    with pytest.raises(RunExistsError):
        leave(run, "coco", tmp_path / "full")
    assert leave(run, "coco", tmp_path / "full", force=True)["images"] == 4
    with (run.stage("pseudo") / "predictions.csv").open("a") as file:
        file.write("train/x.jpg,0,cat,0.5,0.5,0.1,0.1,0.9,True,0\n")
    with pytest.raises(DatasetError, match=r"predictions\.csv .* was changed"):
        leave(run, "coco", tmp_path / "out")
    with pytest.raises(ConfigError, match="no run at"):
        leave(RunDir(tmp_path / "none"), "coco", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_run_without_a_pool(run, tmp_path):
    for path in (run.stage("pseudo") / "labels/pool").iterdir():
        path.unlink()
    with pytest.raises(DatasetError, match="no labelled image in pool"):
        leave(run, "coco", tmp_path / "out", "pool")
