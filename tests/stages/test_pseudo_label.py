"""Stage `pseudo`: which boxes become labels, of which images, and what becomes of the rest (faults 51, 55, 56, 58)."""

import json
import shutil

import numpy as np
import pytest
import tiny
from builders import write_image

from kdyolo import api
from kdyolo.datasets.formats.labels import read_labels
from kdyolo.datasets.sample import SPLITS
from kdyolo.datasets.view import load_view
from kdyolo.engine import detector as engine
from kdyolo.engine.detector import Detector
from kdyolo.errors import ConfigError, DatasetError, RunExistsError, StageError, UntrustedFileError
from kdyolo.pseudo.table import read_table
from kdyolo.storage import RunDir, sha256_by_name, sha256_file, write_json


@pytest.fixture
def run(labelled, tmp_path):
    """A private copy of the labelled run."""
    return tiny.copy_run(labelled, tmp_path / "run")


def label(run, progress=None, force=False, **settings):
    values = {f"pseudo.{name}": value for name, value in settings.items()}
    return api.pseudo_label(run.root, settings=values, resume=True, force=force, progress=progress)


def test_every_training_image_gets_a_label_file_and_no_other(labelled):
    run = RunDir(labelled)
    view, record = load_view(run.stage("split")), run.record("pseudo")
    written = {p.name for p in (run.stage("pseudo") / "labels").rglob("*.txt")}
    assert written == {image.label.name for image in view.splits["train"]}
    assert {p.name for p in (run.stage("pseudo") / "labels").iterdir()} == {"train"}
    facts = record.facts
    assert facts["images"] == facts["labelled"] + facts["background"] + facts["quarantined"] == len(written)
    assert facts["labelled"] > 0
    assert facts["background"] > 0  # the lively teacher finds nothing in some
    assert facts["boxes"] == sum(facts["boxes_per_class"].values())
    assert facts["teacher_sha256"] == sha256_file(run.stage("teacher") / "best.pt")
    files = sorted((run.stage("pseudo") / "labels").rglob("*.txt"))
    assert facts["labels_sha256"] == sha256_by_name(files)


def test_labels_are_the_kept_rows_of_the_table(labelled):
    run = RunDir(labelled)
    table = read_table(run.stage("pseudo") / "predictions.csv")
    kept = table[table["kept"]]
    assert len(kept) == run.record("pseudo").facts["boxes"]
    assert (kept["score"] >= 0.6).all()
    rest = table[~table["kept"]]["score"]
    assert len(rest) > 0
    assert ((rest < 0.6) & (rest > 0.1)).all()
    assert set(table["teacher_sha256"]) == {run.record("pseudo").facts["teacher_sha256"]}
    for name, rows in kept.groupby("image"):
        folder, _, file = name.partition("/")
        cls, xywhn = read_labels(run.stage("pseudo") / "labels" / folder / f"{file.rpartition('.')[0]}.txt")
        assert cls.tolist() == rows["class_id"].tolist()
        np.testing.assert_allclose(xywhn, rows[["x", "y", "w", "h"]].to_numpy(), atol=1e-6)
        assert [tiny.CLASSES[c] for c in cls] == rows["class"].tolist()


def test_boxes_are_where_the_teacher_sees_them(labelled, lively):
    """Units: a label, turned back into pixels, is the box plain ultralytics finds."""
    from ultralytics import YOLO

    run = RunDir(labelled)
    view = load_view(run.stage("split"))
    image = max(view.splits["train"], key=lambda i: (run.stage("pseudo/labels/train") / i.label.name).stat().st_size)
    plain = YOLO(lively).predict(image.image, imgsz=64, conf=0.6, iou=0.7, device="cpu", verbose=False)[0].boxes
    cls, xywhn = read_labels(run.stage("pseudo") / "labels" / "train" / image.label.name)
    assert len(cls) >= 5
    # Plain ultralytics may give one box several times, where boxes that leave the image are cut to the same one.
    far = np.abs(plain.xywhn.numpy()[:, None] - xywhn).max(axis=2) + (plain.cls.numpy()[:, None] != cls)
    assert (far.min(axis=0) < 0.01).all()
    assert (far.min(axis=1) < 0.01).all()


def test_the_same_again_gives_the_same_bytes(run):
    before = {k: v for k, v in tiny.files(run.stage("pseudo")).items() if k != "stage.json"}
    label(run, force=True)
    assert {k: v for k, v in tiny.files(run.stage("pseudo")).items() if k != "stage.json"} == before


def test_no_test_image_is_opened_and_validation_only_for_the_score(run):
    predicted = []
    original = Detector.predict

    def predict(self, paths, *arguments, **named):
        paths = list(paths)
        predicted.append({p.parent.name for p in paths})
        return original(self, paths, *arguments, **named)

    with pytest.MonkeyPatch.context() as patch, tiny.opened_files() as names:
        patch.setattr(Detector, "predict", predict)
        label(run, force=True)
    assert predicted == [{"val"}, {"train"}]
    # The pipeline verifies recorded files, test labels among them, but nobody looks at a test image.
    assert any("/split/images/train/" in name for name in names)
    assert not [name for name in names if "/images/test/" in name]


def test_a_threshold_for_each_class(run):
    record = label(run, conf={"late_blight": 0.9, "septoria": 0.95})
    thresholds = json.loads((run.stage("pseudo") / "thresholds.json").read_text())
    assert thresholds == record.facts["thresholds"]
    # The others come from validation, where this teacher is right about nothing: the lower bound.
    assert thresholds == {"early_blight": 0.25, "late_blight": 0.9, "leaf_mold": 0.25, "septoria": 0.95}
    kept = read_table(run.stage("pseudo") / "predictions.csv").query("kept")
    lowest = kept.groupby("class")["score"].min()
    assert all(lowest[name] >= threshold for name, threshold in thresholds.items() if name in lowest)
    assert lowest["early_blight"] < 0.6


def test_thresholds_follow_the_validation_split(run, monkeypatch):
    from kdyolo.evaluation import splits
    from kdyolo.evaluation.splits import truths

    def perfect(detector, images, *_):
        """Right about everything with a score of 0.8, and wrong about as much with 0.7."""
        found = {}
        for name, truth in truths(images).items():
            wrong = np.clip(truth.xyxy - 500, 0, 1) + np.array([0, 0, 3, 3])
            found[name] = engine.Detections(
                np.concatenate([truth.xyxy, wrong]),
                np.repeat([0.8, 0.7], len(truth.cls)),
                np.concatenate([truth.cls, truth.cls]),
            )
        return found

    monkeypatch.setattr(splits, "detect", perfect)
    # `None` as a setting says nothing new; the file is where it can be taken back.
    (run.root.parent / "own.yaml").write_text("pseudo: {conf: null}\n")
    record = api.pseudo_label(run.root, config=run.root.parent / "own.yaml", force=True)
    assert set(record.facts["thresholds"].values()) == {0.8}
    assert record.facts["teacher_val"]["mAP50"] == 1.0
    assert "curves" not in record.facts["teacher_val"]


def test_an_unknown_class_is_named(run):
    with pytest.raises(ConfigError, match="'blight'") as caught:
        label(run, conf={"blight": 0.5})
    assert "early_blight" in caught.value.hint


def test_a_teacher_that_finds_nothing_stops_the_chain(run, demo_set, tmp_path):
    dull = tiny.lively_checkpoint(tmp_path / "dull.pt", demo_set / "images", mean=-10_000.0)
    api.train_teacher(run.root, settings={"teacher.checkpoint": dull}, resume=True)
    with pytest.raises(StageError, match=r"found 0 boxes with a score >= 0\.005 in 21 images") as caught:
        label(run, conf=0.005)
    assert "--conf" in caught.value.hint
    assert run.record("pseudo").status == "failed"
    assert not (run.stage("pseudo") / "labels").exists()
    with pytest.raises(ConfigError, match="needs the stage 'pseudo'"):
        api.train_student(run.root)
    assert not run.stage("student").exists()


def test_a_useless_teacher_stops_unless_forced(run):
    with pytest.raises(StageError, match=r"mAP50 0\.000 on the validation split, below 0\.1") as caught:
        label(run, min_map50=0.1)
    assert "--force" in caught.value.hint
    assert not (run.stage("pseudo") / "labels").exists()
    notes = tiny.Notes()
    assert label(run, notes, force=True, min_map50=0.1).facts["boxes"] > 0
    assert [w for w in notes.warnings if "mAP50 0.000" in w]


def broken_reader(monkeypatch, names):
    """Images of these names decode no more, as after a disk error between the check and the prediction."""
    real = engine.read_image
    monkeypatch.setattr(engine, "read_image", lambda path: None if path.name in names else real(path))


def test_a_corrupt_image_costs_only_itself(run, monkeypatch):
    before = tiny.files(run.stage("pseudo") / "labels")
    images = [i.image.name for i in load_view(run.stage("split")).splits["train"]]
    lost = {images[0], images[7], images[-1]}
    broken_reader(monkeypatch, lost)
    notes = tiny.Notes()
    facts = label(run, notes, force=True).facts
    assert facts["quarantined"] == 3
    assert facts["images"] == facts["labelled"] + facts["background"] + facts["quarantined"] == 21
    assert sorted(notes.warnings) == sorted(f"train/{name} could not be labelled: unreadable." for name in lost)
    stems = {name.rpartition(".")[0] for name in lost}
    after = tiny.files(run.stage("pseudo") / "labels")
    assert after == {k: v for k, v in before.items() if k.split("/")[-1][:-4] not in stems}


def test_a_corrupt_validation_image_stops_the_score(run, monkeypatch):
    broken_reader(monkeypatch, {load_view(run.stage("split")).splits["val"][0].image.name})
    with pytest.raises(DatasetError, match="cannot be read any more"):
        label(run, force=True)


def test_a_teacher_full_of_nan_fails(run, monkeypatch):
    forward = Detector.forward

    def blind(self, batch, augment=False):
        output, raw = forward(self, batch, augment)
        return output * float("nan"), raw

    monkeypatch.setattr(Detector, "forward", blind)
    with pytest.raises(StageError, match="not finite on 21 of 21 images"):
        label(run, force=True)


def test_a_single_image_full_of_nan_among_few_fails_too(run, monkeypatch):
    """More than one in a hundred: of 21 images one is too many."""
    predict = Detector.predict

    def sometimes(self, paths, *arguments, **named):
        for i, outcome in enumerate(predict(self, paths, *arguments, **named)):
            yield engine.Prediction(outcome.path, None, "not_finite") if i == 3 else outcome

    monkeypatch.setattr(Detector, "predict", sometimes)
    with pytest.raises(StageError, match="not finite on 1 of 21 images"):
        label(run, force=True)
    monkeypatch.setattr("kdyolo.stages.pseudo_label._MAX_NOT_FINITE", 0.05)
    assert label(run, force=True).facts["quarantined"] == 1


def test_a_teacher_exchanged_by_hand_is_not_used(run, tmp_path):
    tiny.poisoned_checkpoint(run.stage("teacher") / "best.pt", tmp_path / "canary")
    with pytest.raises((DatasetError, RunExistsError), match=r"teacher/best\.pt"):
        label(run, conf=0.7)
    # Even where the record was made to fit.
    record = run.record("teacher")
    record.outputs["teacher/best.pt"] = sha256_file(run.stage("teacher") / "best.pt")
    write_json(run.stage("teacher") / "stage.json", record.model_dump(mode="json"))
    with pytest.raises(UntrustedFileError, match=r"posix\.system"):
        label(run, conf=0.7)
    assert not (tmp_path / "canary").exists()


@pytest.fixture
def pool(run, tmp_path, demo_set):
    """Three new images, a copy of one of each split, a copy of a new one, and a broken file."""
    from kdyolo.datasets.demo import generate

    new = generate(tmp_path / "more", images=34, imgsz=96, seed=0) / "images"
    folder = tmp_path / "pool"
    folder.mkdir()
    for path in sorted(new.glob("*"))[31:]:
        shutil.copy(path, folder)
    view = load_view(run.stage("split"))
    for split in SPLITS:
        images = view.splits[split]
        shutil.copy(images[0].image, folder / f"from-{split}.jpg")
    shutil.copy(folder / "leaf_00031.jpg", folder / "twice.jpg")
    (folder / "broken.jpg").write_bytes(b"")
    return folder


def test_a_pool_is_labelled_without_what_is_known(run, pool):
    facts = label(run, images=pool).facts
    assert facts["pool"] == {"images": 8, "used": 3, "duplicates": 4, "quarantined": 1}
    assert facts["images"] == 21 + 3
    labels = run.stage("pseudo") / "labels" / "pool"
    assert {p.stem for p in labels.iterdir()} == {f"pool-leaf_000{i}" for i in (31, 32, 33)}
    assert {p.stem for p in (run.stage("pseudo") / "images" / "pool").iterdir()} == {p.stem for p in labels.iterdir()}
    table = read_table(run.stage("pseudo") / "predictions.csv")
    assert {name.partition("/")[0] for name in table["image"]} == {"train", "pool"}


def test_a_changed_pool_redoes_the_labels(run, pool):
    label(run, images=pool)
    assert label(run, images=pool).sequence == run.record("pseudo").sequence
    first = run.record("pseudo").sequence
    write_image(pool / "extra.png", 77, (96, 96))
    assert label(run, images=pool).sequence > first
    assert run.record("pseudo").facts["pool"]["used"] == 4


def test_a_pool_that_is_not_there(run, tmp_path):
    with pytest.raises(ConfigError, match="There is no folder"):
        label(run, images=tmp_path / "none")
