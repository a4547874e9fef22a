"""Stages `student` and `baseline`: the same start, images and steps; only the labels differ, and they are read."""

import shutil

import pytest
import tiny
import torch
from builders import tree_state, write_image

from kdyolo import api
from kdyolo.boxes import iou_matrix, xywh_to_xyxy
from kdyolo.datasets.formats.labels import read_labels
from kdyolo.datasets.view import load_view
from kdyolo.engine import checkpoints
from kdyolo.errors import ConfigError, DatasetError, Interrupted, RunExistsError, StageError, UntrustedFileError
from kdyolo.storage import RunDir, sha256_by_name

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def arms(labelled, tmp_path_factory):
    """Student and control on the labels of the lively teacher, and the student of every other kind of label."""
    run = tiny.copy_run(labelled, tmp_path_factory.mktemp("arms") / "run")
    students = {labels: api.train_student(run.root, settings={"student.labels": labels}, resume=True) for labels in (
        "gt", "gt+pseudo", "pseudo"
    )}  # fmt: skip
    folders = {"gt": "old/student-1", "gt+pseudo": "old/student-2", "pseudo": "student"}
    control = api.train_student(run.root, baseline=True)
    return run, students, {name: run.root / folder for name, folder in folders.items()}, control


@pytest.fixture
def run(labelled, tmp_path):
    return tiny.copy_run(labelled, tmp_path / "run")


def student_labels(folder):
    files = (folder / "data" / "labels" / "train").glob("*.txt")
    return {path.name: path.read_text() for path in files}


def folder_labels(folder):
    return {path.name: path.read_text() for path in folder.glob("*.txt")}


def test_the_student_reads_the_teachers_labels_and_the_control_the_truth(arms):
    run, students, folders, control = arms
    pseudo = folder_labels(run.stage("pseudo") / "labels" / "train")
    truth = folder_labels(run.stage("split") / "labels" / "train")
    assert student_labels(folders["pseudo"]) == pseudo
    assert student_labels(folders["gt"]) == student_labels(run.stage("baseline")) == truth
    for record, folder in ((students["pseudo"], folders["pseudo"]), (control, run.stage("baseline"))):
        labels = folder / "data" / "labels" / "train"
        assert record.facts["labels_sha256"] == sha256_by_name(labels.glob("*.txt"))
        assert record.facts["label_boxes"] == sum(len(t.splitlines()) for t in student_labels(folder).values())
    assert students["pseudo"].facts["label_boxes"] == run.record("pseudo").facts["boxes"]
    assert students["pseudo"].facts["labels_sha256"] != control.facts["labels_sha256"]
    assert students["gt"].facts["labels_sha256"] == control.facts["labels_sha256"]
    assert (students["pseudo"].facts["labels"], control.facts["labels"]) == ("pseudo", "gt")


def test_truth_and_labels_together(arms):
    run, _, folders, _ = arms
    added = 0
    for name in student_labels(folders["gt+pseudo"]):
        both_cls, both = read_labels(folders["gt+pseudo"] / "data" / "labels" / "train" / name)
        truth_cls, truth = read_labels(run.stage("split") / "labels" / "train" / name)
        count = len(truth_cls)
        assert both_cls[:count].tolist() == truth_cls.tolist()
        assert abs(both[:count] - truth).max(initial=0) <= 1e-6
        assert (iou_matrix(xywh_to_xyxy(both[count:]), xywh_to_xyxy(truth)) < 0.5 + 1e-4).all()
        added += len(both_cls) - count
    assert added > 0


def test_an_equal_start_and_equally_many_steps(arms):
    _, students, _, control = arms
    records = [*students.values(), control]
    assert len({record.facts["initial_sha256"] for record in records}) == 1
    assert {record.facts["optimizer_steps"] for record in records} == {2 * 6}
    assert {record.facts["images"] for record in records} == {21}


def weights(path):
    return checkpoints.load(path)[0].state_dict()


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(weights(a).values(), weights(b).values(), strict=True))


def test_other_labels_give_another_student(arms):
    run, _, folders, _ = arms
    assert not same(folders["pseudo"] / "best.pt", folders["gt"] / "best.pt")
    assert not same(folders["pseudo"] / "best.pt", folders["gt+pseudo"] / "best.pt")
    # The student on ground truth is the control: with the same labels there is no difference left.
    assert same(folders["gt"] / "best.pt", run.stage("baseline") / "best.pt")


def test_what_a_student_leaves(arms):
    run, students, _, _ = arms
    folder = run.stage("student")
    names = set(tiny.files(folder))
    images = {n for n in names if n.startswith("data/")}
    assert names - images == tiny.LEFT_BY_TRAINING
    assert {n.split("/")[1] for n in images} == {"images", "labels"}
    outputs = {name.removeprefix("student/") for name in students["pseudo"].outputs}
    assert outputs == {"best.pt", "results.csv", *(n for n in images if n.endswith(".txt"))}


def test_a_label_changed_by_hand_is_noticed(run):
    label = sorted((run.stage("pseudo") / "labels" / "train").glob("*.txt"))[2]
    label.write_text("0 0.5 0.5 0.5 0.5\n")
    with pytest.raises((DatasetError, RunExistsError), match=label.name):
        api.train_student(run.root)


def test_a_label_changed_during_the_training_is_noticed(run, monkeypatch):
    from kdyolo.engine import training

    train = training.train

    def train_and_change(job, progress, make):
        sorted((job.train.parent.parent / "labels" / "train").glob("*.txt"))[0].write_text("0 0.5 0.5 0.5 0.5\n")
        return train(job, progress, make)

    monkeypatch.setattr(training, "train", train_and_change)
    with pytest.raises(StageError, match="did not read the label files it was given"):
        api.train_student(run.root, settings={"student.epochs": 1})
    assert run.record("student").status == "failed"


def test_malicious_weights(run, tmp_path):
    bad = tiny.poisoned_checkpoint(tmp_path / "bad.pt", tmp_path / "canary")
    settings = {"student.weights": bad, "student.from_scratch": False}
    for baseline in (False, True):
        with pytest.raises(UntrustedFileError, match=r"posix\.system"):
            api.train_student(run.root, baseline=baseline, settings=settings)
    assert not (tmp_path / "canary").exists()


def test_missing_weights(run, tmp_path):
    with pytest.raises(ConfigError, match="There is no file"):
        api.train_student(run.root, settings={"student.weights": tmp_path / "x.pt", "student.from_scratch": False})


def test_malicious_checkpoint_of_an_interrupted_training(run, tmp_path, monkeypatch):
    from kdyolo.engine import training

    def die(job, progress, make):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(training, "train", die)
        with pytest.raises(Interrupted, match="Stopped"):
            api.train_student(run.root)
    tiny.poisoned_checkpoint(run.stage("student") / "weights" / "last.pt", tmp_path / "canary")
    with pytest.raises(UntrustedFileError, match=r"posix\.system"):
        api.train_student(run.root)
    assert not (tmp_path / "canary").exists()


@pytest.fixture
def pooled(run, tmp_path):
    """The run with four more images from a pool, one of which the teacher could not read."""
    from kdyolo.engine import detector

    for i in range(4):
        write_image(tmp_path / "pool" / f"new{i}.png", 50 + i, (96, 96))
    real = detector.read_image
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(detector, "read_image", lambda p: None if p.name == "pool-new3.png" else real(p))
        api.pseudo_label(run.root, settings={"pseudo.images": tmp_path / "pool"}, resume=True)
    return run


def test_pool_labels_reach_the_student_and_the_control_takes_as_many_steps(pooled):
    student = api.train_student(pooled.root, settings={"student.epochs": 1})
    control = api.train_student(pooled.root, baseline=True)
    names = student_labels(pooled.stage("student"))
    assert {n for n in names if n.startswith("pool-")} == {"pool-new0.txt", "pool-new1.txt", "pool-new2.txt"}
    theirs = folder_labels(pooled.stage("pseudo") / "labels" / "pool")
    assert {n: t for n, t in names.items() if n.startswith("pool-")} == theirs
    assert student.facts["images"] == control.facts["images"] == 24
    assert student.facts["optimizer_steps"] == control.facts["optimizer_steps"] == 6
    assert student.facts["initial_sha256"] == control.facts["initial_sha256"]
    again = {n: t for n, t in student_labels(pooled.stage("baseline")).items() if "~2" in n}
    truth = folder_labels(pooled.stage("split") / "labels" / "train")
    assert len(again) == 3
    assert all(truth[n.replace("~2", "")] == text for n, text in again.items())


def test_the_pool_is_not_for_a_student_on_ground_truth(pooled):
    record = api.train_student(pooled.root, settings={"student.epochs": 1, "student.labels": "gt"})
    assert record.facts["images"] == 21


def test_images_a_teacher_could_not_read_are_missing_in_every_arm(labelled, tmp_path):
    run = tiny.copy_run(labelled, tmp_path / "run")
    record = run.record("pseudo")
    gone = sorted((run.stage("pseudo") / "labels" / "train").glob("*.txt"))[0]
    gone.unlink()
    del record.outputs[f"pseudo/labels/train/{gone.name}"]
    run.write_record(record)
    from kdyolo.config import load_config
    from kdyolo.progress import Silent
    from kdyolo.stages import teaching
    from kdyolo.stages.base import StageContext

    context = StageContext(run, load_config(run.config), Silent())
    names = {
        labels: {x.image.stem for x in teaching.lessons_of(context, labels)} for labels in ("pseudo", "gt", "gt+pseudo")
    }
    assert names["pseudo"] == names["gt"] == names["gt+pseudo"]
    everything = {image.image.stem for image in load_view(run.stage("split")).splits["train"]}
    assert names["gt"] == everything - {gone.stem}


def test_the_users_images_are_as_they_were(demo_set, labelled, tmp_path):
    """The student's images are links to the user's: training must not touch them."""
    data = shutil.copytree(demo_set, tmp_path / "data")
    before = tree_state(data)
    run = RunDir(tmp_path / "run")
    api.split(data, run.root, settings={**tiny.SETTINGS, "student.epochs": 1, "pseudo.conf": 0.6})
    api.train_teacher(run.root, settings={"teacher.checkpoint": labelled / "teacher" / "best.pt"})
    api.pseudo_label(run.root)
    api.train_student(run.root)
    api.train_student(run.root, baseline=True)
    assert {k: v[0] for k, v in tree_state(data).items()} == {k: v[0] for k, v in before.items()}
    assert {k: v[2] for k, v in tree_state(data).items()} == {k: v[2] for k, v in before.items()}
