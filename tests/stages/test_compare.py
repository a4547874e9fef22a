"""Stage `compare`: three arms, measured alike, on the test split."""

import json

import numpy as np
import pandas as pd
import pytest
import tiny

from kdyolo import api
from kdyolo.config import RuntimeSettings
from kdyolo.datasets.view import load_view
from kdyolo.engine.detector import Detector
from kdyolo.errors import DatasetError, RunExistsError, UntrustedFileError
from kdyolo.evaluation.accuracy import evaluate
from kdyolo.evaluation.splits import detect, truths
from kdyolo.stages import compare as module
from kdyolo.storage import RunDir, sha256_file, write_json

pytestmark = pytest.mark.slow
ARMS = {"teacher": "teacher", "student": "student", "control": "baseline"}


@pytest.fixture
def run(finished, tmp_path):
    return tiny.copy_run(finished, tmp_path / "run")


@pytest.fixture(scope="module")
def results(finished):
    return json.loads((finished / "compare" / "results.json").read_text())


def test_all_arms_are_measured_alike(results, finished):
    run = RunDir(finished)
    assert list(results["arms"]) == ["teacher", "student", "control"]
    assert results["split"] == "test"
    assert results["images"] == len(load_view(run.stage("split")).splits["test"]) == 4
    assert results["classes"] == list(tiny.CLASSES)
    for arm, stage in ARMS.items():
        measured, facts = results["arms"][arm], run.record(stage).facts
        assert measured["sha256"] == sha256_file(finished / measured["checkpoint"])
        assert measured["checkpoint"] == f"{stage}/best.pt"
        assert measured["model"] == "yolov5n"
        assert 2.4e6 < measured["params"] < 2.6e6
        assert 7 < measured["gflops"] < 7.5
        assert 4 < measured["size_mb"] < 8
        assert measured["epochs"] == 2
        for fact in ("labels_sha256", "initial_sha256", "optimizer_steps", "train_seconds", "label_boxes"):
            assert measured[fact] == facts[fact]
        for name in ("precision", "recall", "mAP50", "mAP75", "mAP50_95"):
            assert 0 <= measured[name] <= 1
        assert measured["fps"] == pytest.approx(1000 / measured["latency_ms"]["mean"], rel=0.01)
        assert 0 < measured["latency_ms"]["p50"] <= measured["latency_ms"]["p95"]
    assert results["same_start"] is True
    assert results["same_steps"] is True
    assert results["measured"]["precision"] == "fp32"
    assert results["measured"]["timed_images"] == 50


def test_a_teacher_of_the_students_size_and_recipe_is_the_control(results, finished):
    """Both learnt the ground truth from the same start with the same seed: the same weights, the same figures."""
    teacher, control = results["arms"]["teacher"], results["arms"]["control"]
    assert teacher["initial_sha256"] == control["initial_sha256"]
    for name in ("mAP50", "mAP50_95", "precision", "recall", "per_class", "curves", "optimizer_steps", "label_boxes"):
        assert teacher[name] == control[name], name
    tables = [(finished / "compare" / f"predictions_{arm}.csv").read_bytes() for arm in ("teacher", "control")]
    assert tables[0] == tables[1]
    assert tables[0].count(b"\n") > 1
    assert results["arms"]["student"]["labels_sha256"] != control["labels_sha256"]
    epochs = [pd.read_csv(finished / stage / "results.csv").drop(columns="time") for stage in ("teacher", "baseline")]
    pd.testing.assert_frame_equal(*epochs)


@pytest.fixture(scope="module")
def lively_results(finished, lively, tmp_path_factory):
    """A comparison with a teacher that finds something, though nothing right."""
    run = tiny.copy_run(finished, tmp_path_factory.mktemp("lively-compare") / "run")
    settings = {"teacher.checkpoint": lively, "pseudo.conf": 0.6, "compare.conf": 0.05}
    api.run(run=run.root, settings=settings, resume=True)
    return run, json.loads((run.stage("compare") / "results.json").read_text())


def test_figures_can_be_computed_again_from_the_predictions(lively_results):
    run, results = lively_results
    view = load_view(run.stage("split"))
    truth = truths(view.splits["test"])
    for arm in ARMS:
        table = pd.read_csv(run.stage("compare") / f"predictions_{arm}.csv")
        assert set(table["image"]) <= set(truth)
        found = {}
        for name in truth:
            rows = table[table["image"] == name]
            xyxy = rows[["x1", "y1", "x2", "y2"]].to_numpy(dtype=float)
            found[name] = module_detections(xyxy, rows["score"].to_numpy(dtype=float), rows["class_id"].to_numpy())
        again = evaluate(truth, found, view.names).to_json()
        assert again["mAP50_95"] == pytest.approx(results["arms"][arm]["mAP50_95"], abs=1e-3)
    assert len(pd.read_csv(run.stage("compare") / "predictions_teacher.csv")) > 50


def test_the_operating_point_is_chosen_on_validation_images(lively_results):
    run, results = lively_results
    view = load_view(run.stage("split"))
    detector = Detector(run.stage("teacher") / "best.pt", tiny.IMGSZ, RuntimeSettings(device="cpu"), view.names)
    images = view.splits["val"]
    found = detect(detector, images, 0.05, 0.7, tiny.Notes(), "val")
    teacher = results["arms"]["teacher"]
    assert results["measured"]["confidence_from"] == "val"
    assert teacher["confidence"] == (evaluate(truths(images), found, view.names).choice or 0.25)
    assert ("teacher" in results["measured"]["without_choice"]) is (teacher["confidence"] == 0.25)
    counts = [sum(row[name] or 0 for row in teacher["per_class"]) for name in ("boxes", "found", "false_alarms")]
    assert counts == [teacher[name] for name in ("boxes", "found", "false_alarms")]


def module_detections(xyxy, score, cls):
    from kdyolo.boxes import Detections

    return Detections(xyxy, score, cls.astype(np.int64))


def test_an_adopted_teacher_shows_what_it_does_not_know(lively_results):
    _, results = lively_results
    teacher = results["arms"]["teacher"]
    assert teacher["model"] == "yolov5n"
    assert [teacher[k] for k in ("train_seconds", "initial_sha256", "optimizer_steps", "labels_sha256")] == [None] * 4
    assert results["same_start"] is True


def test_examples_are_chosen_by_the_images_alone(lively_results):
    run, _ = lively_results
    examples = json.loads((run.stage("compare") / "examples.json").read_text())
    assert sum(example["group"] == "spread" for example in examples) == 2
    for example in examples:
        assert (run.stage("split") / example["image"]).is_file()
        assert "/test/" in example["image"]
        assert example["truth"]
        assert set(example["arms"]) == set(ARMS)
        for box in example["truth"]:
            assert box["class"] in tiny.CLASSES


def test_the_comparison_says_how_sure_it_is_and_what_was_inherited(lively_results):
    run, results = lively_results
    gaps = {name: arm["mAP50_95"] for name, arm in results["arms"].items()}
    assert results["verdict"]["name"] in ("gain", "loss", "no gain", "inconclusive")
    for pair in results["uncertainty"]["pairs"]:
        interval = pair["difference"]["mAP50_95"]
        assert interval["estimate"] == pytest.approx(gaps[pair["a"]] - gaps[pair["b"]], abs=1e-9)
        assert interval["low"] <= interval["high"]
    assert results["uncertainty"]["resamples"] == 1000
    assert results["measured"]["min_effect"] == 0.5
    boxes = sum(row["boxes"] for row in results["arms"]["teacher"]["per_class"])
    for arm in results["arms"].values():
        assert sum(arm["errors"]["truth"].values()) == boxes
        assert sum(size["boxes"] for size in arm["sizes"].values()) == boxes
        assert arm["error_budget"]["AP50"] == pytest.approx(arm["mAP50"], abs=1e-5)
    shared = results["inheritance"]["errors"]
    assert sum(kind["teacher"] for name, kind in shared.items() if name != "false_box") == boxes
    # The teacher finds nothing right, and the images where that shows are among those to look at.
    examples = json.loads((run.stage("compare") / "examples.json").read_text())
    for group, ranked in results["inheritance"]["gallery"].items():
        shown = [example for example in examples if example["group"] == group]
        assert [example["image"].rsplit("/", 1)[-1] for example in shown] == [row["image"] for row in ranked[:2]]


def test_a_class_map_reaches_the_comparison(finished, demo_set, tmp_path):
    run = tiny.copy_run(finished, tmp_path / "run")
    names = ("septoria", "rust", "late_blight", "leaf_mold", "early_blight")
    other = tiny.lively_checkpoint(tmp_path / "other.pt", demo_set / "images", names)
    settings = {
        "teacher.checkpoint": other,
        "teacher.map_classes": {"septoria": "leaf_mold", "late_blight": "late_blight"},
        "pseudo.conf": 0.5,
    }
    api.run(run=run.root, settings=settings, resume=True)
    seen = set(pd.read_csv(run.stage("compare") / "predictions_teacher.csv")["class"])
    assert seen == {"leaf_mold", "late_blight"}


def test_arms_are_measured_on_the_same_images_with_their_own_models(run, monkeypatch):
    predicted = []
    original = Detector.predict

    def predict(self, paths, *arguments, **named):
        paths = list(paths)
        predicted.append([p.name for p in paths])
        return original(self, paths, *arguments, **named)

    monkeypatch.setattr(Detector, "predict", predict)
    with tiny.opened_files() as names:
        api.compare(run.root, force=True)
    splits = load_view(run.stage("split")).splits
    test, val = ([image.image.name for image in splits[name]] for name in ("test", "val"))
    assert predicted == [test] * 3 + [val] * 3
    opened = [n for n in names if "/split/images/" in n]
    assert opened
    assert not [n for n in opened if "/images/train/" in n]


def test_measuring_again_gives_the_same_accuracy(run, results):
    (run.stage("compare") / "results.json").write_text('{"arms": {"student": {"mAP50": 1.0}}}')
    summary = api.run(run=run.root)
    again = json.loads((run.stage("compare") / "results.json").read_text())
    for arm in ARMS:
        for name in ("mAP50", "mAP50_95", "precision", "recall", "per_class", "params"):
            assert again["arms"][arm][name] == results["arms"][arm][name]
    assert summary["arms"]["student"]["mAP50"] == results["arms"]["student"]["mAP50"]
    assert run.record("student").sequence == 5  # nothing else ran


def test_a_test_image_changed_since_the_split(run):
    image = sorted((run.stage("split") / "images" / "test").glob("*"))[0]
    image.unlink()
    image.write_bytes(b"x")
    with pytest.raises(DatasetError, match=image.name):
        api.compare(run.root, force=True)


@pytest.mark.parametrize("stage", ["teacher", "student", "baseline"])
def test_a_checkpoint_exchanged_by_hand_is_not_measured(run, tmp_path, stage):
    tiny.poisoned_checkpoint(run.stage(stage) / "best.pt", tmp_path / "canary")
    with pytest.raises((DatasetError, RunExistsError), match=rf"{stage}/best\.pt"):
        api.compare(run.root, force=True)
    # Even where the record was made to fit.
    record = run.record(stage)
    record.outputs[f"{stage}/best.pt"] = sha256_file(run.stage(stage) / "best.pt")
    write_json(run.stage(stage) / "stage.json", record.model_dump(mode="json"))
    context = module.StageContext(run, _config(run), tiny.Notes())
    with pytest.raises(UntrustedFileError, match=r"posix\.system"):
        module.compare(context)
    assert not (tmp_path / "canary").exists()


def _config(run):
    from kdyolo.config import load_config

    return load_config(run.config)


def test_a_class_without_test_boxes_is_na_and_told(finished):
    arms = {"teacher": {"per_class": [{"class": "a", "boxes": 3}, {"class": "b", "boxes": 0}]}}
    teacher = RunDir(finished).record("teacher")
    config = _config(RunDir(finished))
    assert module._warned(arms, teacher, config) == [{"of": "no_box", "classes": ["b"]}]
    assert module._warned({"teacher": {"per_class": [{"class": "a", "boxes": 3}]}}, teacher, config) == []


def test_ratios_without_a_whole():
    assert module._ratio(0.3, 0.6) == 0.5
    assert [module._ratio(*p) for p in ((None, 0.5), (0.5, None), (0.5, 0.0))] == [None] * 3
