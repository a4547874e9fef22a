"""A training reads what it was given, leaves a stock checkpoint, survives being stopped (faults 24, 51, 61, 64, 66)."""

import shutil
import signal
import threading
from types import SimpleNamespace

import pandas as pd
import pytest
import tiny
import torch

from kdyolo.config import RuntimeSettings, TrainSettings
from kdyolo.engine import checkpoints, environment, training
from kdyolo.engine.job import TrainJob
from kdyolo.engine.training import train, train_to_end
from kdyolo.errors import Interrupted, StageError, UntrustedFileError
from kdyolo.progress import Silent
from kdyolo.storage import sha256_by_name

pytestmark = pytest.mark.slow
STEPS = 6  # an epoch: 21 images, 4 at a time


@pytest.fixture(scope="module")
def view(labelled):
    return labelled / "split"


@pytest.fixture
def job(view, tmp_path):
    """A job of two epochs; `view` may be another one."""

    def make(folder=None, view=view, seed=0, precision="fp32", **settings):
        return TrainJob(
            folder=folder or tmp_path / "training",
            train=view / "images" / "train",
            val=view / "images" / "val",
            class_names=tiny.CLASSES,
            settings=TrainSettings(**{**tiny.TRAINING, **settings}),
            start=settings.get("weights"),
            seed=seed,
            runtime=RuntimeSettings(device="cpu", threads=1, precision=precision),
            title="test yolov5n",
            log=tmp_path / "log" / "kdyolo.log",
        )

    return make


@pytest.fixture(scope="module")
def whole(view, tmp_path_factory):
    """An uninterrupted training of three epochs; copy its folder before changing anything."""
    folder = tmp_path_factory.mktemp("whole") / "training"
    settings = TrainSettings(**{**tiny.TRAINING, "epochs": 3})
    runtime = RuntimeSettings(device="cpu", threads=1, precision="fp32")
    train_folder, val_folder = view / "images" / "train", view / "images" / "val"
    log = folder.with_name("kdyolo.log")
    job = TrainJob(folder, train_folder, val_folder, tiny.CLASSES, settings, None, 0, runtime, "t", log)
    return train(job, Silent())


@pytest.fixture
def again(whole, tmp_path, job):
    """A private copy of that training's folder, and its job."""
    return job(shutil.copytree(whole.best.parent.parent, tmp_path / "again"), epochs=3)


def finished_epochs(results):
    return len(pd.read_csv(results))


def epochs_of(outcome):
    return pd.read_csv(outcome.results)["epoch"].tolist()


def weights_of(path):
    return checkpoints.load(path)[0].state_dict()


def same_weights(a, b):
    a, b = weights_of(a), weights_of(b)
    return all(torch.equal(a[name], b[name]) for name in a)


def test_facts_say_what_was_read_and_done(whole, view):
    facts, labels = whole.facts, sorted((view / "labels" / "train").glob("*.txt"))
    assert facts["labels_sha256"] == sha256_by_name(labels)
    assert facts["label_boxes"] == sum(len(p.read_text().splitlines()) for p in labels)
    assert (facts["images"], facts["epochs"], facts["optimizer_steps"]) == (21, 3, 3 * STEPS)
    assert 1 <= facts["best_epoch"] <= 3
    assert facts["train_seconds"] > 0
    assert (facts["device"], facts["precision"], facts["threads"]) == ("cpu", "fp32", 1)
    assert len(facts["initial_sha256"]) == 64


def test_one_row_an_epoch(whole):
    table = pd.read_csv(whole.results)
    assert table["epoch"].tolist() == [1, 2, 3]
    assert table["optimizer_steps"].tolist() == [STEPS, 2 * STEPS, 3 * STEPS]
    assert table["time"].is_monotonic_increasing
    wanted = {"train/box_loss", "train/cls_loss", "train/dfl_loss", "val/box_loss", "val/cls_loss", "val/dfl_loss"}
    assert wanted <= set(table.columns)


def test_nothing_temporary_stays(whole):
    names = {p.name for p in whole.best.parent.parent.rglob("*") if p.is_file()}
    checkpoints = {"best.pt", "last-good.pt", "last.pt", "state-1.pt", "state-2.pt"}
    assert names <= {"args.yaml", "initial.sha256", "results.csv"} | checkpoints


def test_one_changed_label_changes_the_record_and_the_weights(whole, view, job, tmp_path):
    other = shutil.copytree(view, tmp_path / "view")
    label = next(p for p in sorted((other / "labels" / "train").glob("*.txt")) if p.read_text())
    label.write_text(label.read_text() + "0 0.5 0.5 0.9 0.9\n")
    outcome = train(job(view=other, epochs=3), Silent())
    assert outcome.facts["labels_sha256"] != whole.facts["labels_sha256"]
    assert outcome.facts["label_boxes"] == whole.facts["label_boxes"] + 1
    assert outcome.facts["initial_sha256"] == whole.facts["initial_sha256"]
    assert not same_weights(outcome.best, whole.best)


def test_the_same_again_gives_the_same_weights(whole, job):
    outcome = train(job(epochs=3), Silent())
    assert same_weights(outcome.best.with_name("last.pt"), whole.best.with_name("last.pt"))
    figures = [pd.read_csv(o.results).drop(columns="time") for o in (outcome, whole)]
    assert figures[0].equals(figures[1])


def test_another_seed_starts_elsewhere(whole, job):
    assert train(job(seed=1, epochs=1), Silent()).facts["initial_sha256"] != whole.facts["initial_sha256"]


def test_a_given_start_is_where_it_starts(job, lively, tmp_path):
    settings = {"weights": lively, "from_scratch": False, "epochs": 1}
    first = train(job(tmp_path / "a", **settings), Silent())
    second = train(job(tmp_path / "b", seed=5, **settings), Silent())
    assert first.facts["initial_sha256"] == second.facts["initial_sha256"]  # no seed in it


def test_the_stripped_best_is_a_stock_checkpoint(whole, tmp_path):
    from ultralytics import YOLO

    checkpoints.save_stripped(whole.best, tmp_path / "best.pt")
    assert YOLO(tmp_path / "best.pt").names == dict(enumerate(tiny.CLASSES))
    saved = torch.load(tmp_path / "best.pt", weights_only=False)
    assert saved["optimizer"] is None
    assert saved["ema"] is None
    assert same_weights(tmp_path / "best.pt", whole.best)


def stop_after(batches):
    """A progress that asks to stop, as Ctrl-C does, at the given batch of this process."""
    notes = tiny.Notes()

    def count():
        if notes.updates == batches:
            signal.raise_signal(signal.SIGINT)

    notes.on_update = count
    return notes


def test_a_stopped_training_goes_on_even_after_a_move(whole, job, tmp_path):
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(Interrupted, match="after 1 finished epochs") as caught:
        train(job(tmp_path / "old", epochs=3), stop_after(STEPS + 3))  # an epoch's end is an update as well
    assert caught.value.exit_code == 130
    assert signal.getsignal(signal.SIGINT) is before
    assert finished_epochs(tmp_path / "old" / "results.csv") == 1
    (tmp_path / "old").rename(tmp_path / "new")
    outcome = train(job(tmp_path / "new", epochs=3), Silent())
    assert not (tmp_path / "old").exists()
    assert epochs_of(outcome) == [1, 2, 3]
    for fact in ("initial_sha256", "optimizer_steps", "labels_sha256", "epochs", "images"):
        assert outcome.facts[fact] == whole.facts[fact], fact
    assert pd.read_csv(outcome.results)["time"].is_monotonic_increasing
    assert same_weights(outcome.best.with_name("last.pt"), whole.best.with_name("last.pt"))
    figures = [pd.read_csv(o.results).drop(columns="time") for o in (outcome, whole)]
    assert figures[0].equals(figures[1])


def test_without_its_state_a_training_goes_on_from_the_average(job, whole):
    again = job(epochs=3)
    with pytest.raises(Interrupted):
        train(again, stop_after(2 * (STEPS + 1) + 2))
    cut(again.folder / "weights" / "state-1.pt")
    notes = tiny.Notes()
    outcome = train(again, notes)
    assert "goes on from its averaged weights" in notes.warnings[0]
    assert epochs_of(outcome) == [1, 2, 3]
    assert not same_weights(outcome.best.with_name("last.pt"), whole.best.with_name("last.pt"))


def test_mosaics_from_disk_go_on_alike_as_well(job, monkeypatch):
    """With images too many for memory, mosaics are made of those seen last."""
    from kdyolo.engine import trainer

    monkeypatch.setattr(trainer.psutil, "virtual_memory", lambda: SimpleNamespace(total=1))
    whole = train(job(epochs=2), Silent())
    assert whole.facts["cached"] is False
    weights = weights_of(whole.best.with_name("last.pt"))
    shutil.rmtree(whole.best.parent)
    with pytest.raises(Interrupted):
        train(job(epochs=2), stop_after(STEPS + 3))
    outcome = train(job(epochs=2), Silent())
    again = weights_of(outcome.best.with_name("last.pt"))
    assert all(torch.equal(value, again[name]) for name, value in weights.items())


def test_stopped_before_the_first_epoch_is_done(job, whole):
    with pytest.raises(Interrupted, match="after 0 finished epochs"):
        train(job(epochs=3), stop_after(2))
    outcome = train(job(epochs=3), Silent())
    assert epochs_of(outcome) == [1, 2, 3]
    assert same_weights(outcome.best, whole.best)


def test_outside_the_main_thread_signals_are_left_alone(monkeypatch):
    monkeypatch.setattr(threading, "current_thread", lambda: object())
    before = signal.getsignal(signal.SIGTERM)
    with training._stop_signals() as stop:
        assert signal.getsignal(signal.SIGTERM) is before
        assert not stop.is_set()


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def test_a_cut_checkpoint_falls_back_to_the_one_before(job):
    """As after a crash in epoch 3: last.pt, of epoch 2, is cut; last-good.pt is of epoch 1."""
    again = job(epochs=3)
    weights = again.folder / "weights"
    with pytest.raises(Interrupted):
        train(again, stop_after(2 * (STEPS + 1) + 2))
    assert finished_epochs(again.folder / "results.csv") == 2
    cut(weights / "last.pt")
    notes = tiny.Notes()
    outcome = train(again, notes)
    assert "is cut short" in notes.warnings[0]
    assert "one epoch is trained again" in notes.warnings[1]
    assert epochs_of(outcome) == [1, 2, 3]
    assert outcome.facts["optimizer_steps"] == 3 * STEPS


def test_both_cut_starts_anew(again, whole):
    for name in ("last.pt", "last-good.pt"):
        cut(again.folder / "weights" / name)
    notes = tiny.Notes()
    outcome = train(again, notes)
    assert "starts from its first epoch" in notes.warnings[-1]
    assert epochs_of(outcome) == [1, 2, 3]
    assert same_weights(outcome.best, whole.best)


def test_a_process_that_died_after_its_last_epoch_is_no_dead_end(again, whole):
    outcome = train(again, Silent())
    assert epochs_of(outcome) == [1, 2, 3]
    assert outcome.facts["initial_sha256"] == whole.facts["initial_sha256"]
    assert outcome.facts["optimizer_steps"] == 3 * STEPS


def test_the_same_with_one_epoch_only(job):
    first = train(job(epochs=1), Silent())
    second = train(job(epochs=1), Silent())
    assert epochs_of(second) == [1]
    assert first.facts["initial_sha256"] == second.facts["initial_sha256"]


def test_to_the_end_leaves_the_model_the_table_and_the_facts(job, again, whole):
    facts = train_to_end(again, Silent())
    assert {p.name for p in again.folder.iterdir()} >= {"best.pt", "results.csv", "training.json"}
    assert not (again.folder / "weights").exists()
    assert facts["initial_sha256"] == whole.facts["initial_sha256"]
    saved = (again.folder / "best.pt").stat().st_mtime_ns
    assert train_to_end(again, Silent()) == facts  # a process that died just after does not train again
    assert (again.folder / "best.pt").stat().st_mtime_ns == saved


@pytest.mark.parametrize("name", ["last.pt", "last-good.pt"])
def test_a_poisoned_checkpoint_is_refused_not_passed_over(again, tmp_path, name):
    weights = again.folder / "weights"
    if name == "last-good.pt":
        cut(weights / "last.pt")
    tiny.poisoned_checkpoint(weights / name, tmp_path / "canary")
    with pytest.raises(UntrustedFileError, match=r"posix\.system"):
        train(again, Silent())
    assert not (tmp_path / "canary").exists()


def test_a_torn_last_row_does_not_stay(again):
    """The disk was full in the middle of the row of epoch 3, so its checkpoint is missing as well."""
    weights, results = again.folder / "weights", again.folder / "results.csv"
    (weights / "last-good.pt").replace(weights / "last.pt")
    results.write_text(results.read_text().rstrip().rpartition("\n")[0] + "\n1")
    assert epochs_of(train(again, Silent())) == [1, 2, 3]


def test_what_a_crash_left_of_best_is_not_taken_for_it(tmp_path, monkeypatch):
    checkpoints.architecture("n")
    from kdyolo.engine.trainer import DetectionTrainer, Trainer

    trainer = object.__new__(Trainer)
    monkeypatch.setattr("kdyolo.engine.state.save", lambda *arguments: None)
    trainer.optimizer, trainer.last, trainer.best = None, tmp_path / "last.pt", tmp_path / "best.pt"
    trainer.best_fitness, trainer.fitness = 0.5, 0.4
    (tmp_path / "best.pt").write_bytes(b"best of epoch 1")
    (tmp_path / ".best.pt.tmp").write_bytes(b"half of epoch 2")
    (tmp_path / "last.pt").write_bytes(b"epoch 1")

    def save(self):
        self.last.write_bytes(b"epoch 2")  # which is not the best this time
        return True

    monkeypatch.setattr(DetectionTrainer, "save_model", save)
    assert trainer.save_model() is True
    saved = {"best.pt": b"best of epoch 1", "last.pt": b"epoch 2", "last-good.pt": b"epoch 1"}
    assert tiny.files(tmp_path) == saved
    assert (trainer.last, trainer.best) == (tmp_path / "last.pt", tmp_path / "best.pt")


@pytest.mark.parametrize("links", [True, False])
def test_the_best_of_an_epoch_survives_the_epochs_after_it(tmp_path, monkeypatch, links):
    checkpoints.architecture("n")
    from kdyolo.engine import trainer as module

    def no_link(source, target):
        raise OSError("no links here")

    if not links:
        monkeypatch.setattr(module.os, "link", no_link)
    trainer = object.__new__(module.Trainer)
    monkeypatch.setattr("kdyolo.engine.state.save", lambda *arguments: None)
    trainer.optimizer, trainer.last, trainer.best = None, tmp_path / "last.pt", tmp_path / "best.pt"
    trainer.best_fitness = 0.4
    for epoch, fitness in enumerate([0.4, 0.3, 0.2]):
        text = f"epoch {epoch}".encode()
        monkeypatch.setattr(module.DetectionTrainer, "save_model", lambda self, text=text: self.last.write_bytes(text))
        trainer.fitness = fitness
        trainer.save_model()
    assert tiny.files(tmp_path) == {"best.pt": b"epoch 0", "last-good.pt": b"epoch 1", "last.pt": b"epoch 2"}


@pytest.mark.parametrize("split", ["train", "val"])
@pytest.mark.parametrize("what", ["image", "label"])
def test_an_image_that_would_silently_be_left_out_stops_the_training(view, job, tmp_path, split, what):
    broken = shutil.copytree(view, tmp_path / "view")
    if what == "image":
        sorted((broken / "images" / split).glob("*"))[1].write_bytes(b"")
    else:
        sorted((broken / "labels" / split).glob("*.txt"))[1].write_text("0 0.5 0.5 1.7 0.2\n")
    with pytest.raises(StageError, match=r"only \d+ of \d+ images"):
        train(job(view=broken, epochs=1), Silent())


@pytest.fixture
def fitness(monkeypatch):
    """A function that sets from which epoch on, and how often, validation says NaN."""
    checkpoints.architecture("n")
    from kdyolo.engine.trainer import Trainer

    validate, told = Trainer.validate, []

    def spoil(first, times=100):
        def spoilt(self):
            metrics, good = validate(self)
            bad = self.epoch >= first and len(told) < times
            told.extend([self.epoch] * bad)
            return metrics, float("nan") if bad else good

        monkeypatch.setattr(Trainer, "validate", spoilt)

    return spoil


def test_metrics_that_are_not_finite_stop_the_training_and_are_not_saved(job, fitness):
    fitness(first=0)
    with pytest.raises(StageError, match="not finite after epoch 1") as caught:
        train(job(), Silent())
    assert "lr0" in caught.value.hint
    assert "there are no good weights yet" in caught.value.hint
    assert not list((job().folder / "weights").glob("*.pt"))


def test_an_epoch_that_failed_is_done_again_from_the_one_before(job, fitness):
    fitness(first=1, times=1)
    notes = tiny.Notes()
    outcome = train(job(epochs=3), notes)
    assert epochs_of(outcome) == [1, 2, 3]
    assert [warning for warning in notes.warnings if "not finite in epoch 2" in warning]


def test_an_epoch_that_always_fails_stops_and_leaves_the_good_weights(job, fitness):
    fitness(first=1)
    notes = tiny.Notes()
    with pytest.raises(StageError, match="not finite after epoch 2") as caught:
        train(job(epochs=3), notes)
    assert len(notes.warnings) == 3
    last = job().folder / "weights" / "last.pt"
    assert str(last) in caught.value.hint
    assert finished_epochs(job().folder / "results.csv") == 1
    assert all(value.isfinite().all() for value in weights_of(last).values())


def test_a_loss_that_is_not_finite_after_going_on_leaves_the_good_weights(job, tmp_path, monkeypatch):
    checkpoints.architecture("n")
    from kdyolo.engine.precision import Fp32DetectionLoss

    with pytest.raises(Interrupted):
        train(job(epochs=3), stop_after(STEPS + 2))
    last = job().folder / "weights" / "last.pt"
    before = shutil.copyfile(last, tmp_path / "before.pt")
    loss = Fp32DetectionLoss.loss
    monkeypatch.setattr(Fp32DetectionLoss, "loss", lambda *given: (loss(*given)[0] * float("nan"), loss(*given)[1]))
    with pytest.raises(StageError, match="not finite after epoch 2") as caught:
        train(job(epochs=3), Silent())
    assert str(last) in caught.value.hint
    assert same_weights(last, before)


def test_validation_runs_the_network_in_bf16_and_decodes_in_fp32(job, monkeypatch):
    """Ultralytics' validator switches CPU autocast off, so an autocast around it would do nothing."""
    from ultralytics.nn.modules.head import Detect

    if not environment.processor_has_bf16():
        pytest.skip("this processor has no bf16 arithmetic")
    heads, decoded = [], []
    head, decode = Detect.forward_head, Detect._inference

    def spy_head(self, *args, **kwargs):
        raw = head(self, *args, **kwargs)
        heads.append((torch.is_inference_mode_enabled(), raw["scores"].dtype))
        return raw

    def spy_decode(self, raw):
        output = decode(self, raw)
        decoded.append(output.dtype)
        return output

    monkeypatch.setattr(Detect, "forward_head", spy_head)
    monkeypatch.setattr(Detect, "_inference", spy_decode)
    train(job(precision="bf16", epochs=1), Silent())
    in_validation = {dtype for validating, dtype in heads if validating}
    assert in_validation == {torch.bfloat16}
    assert set(decoded) == {torch.float32}


def test_bf16_trains_to_about_the_same_loss(job, whole):
    if not environment.processor_has_bf16():
        pytest.skip("this processor has no bf16 arithmetic")
    outcome = train(job(precision="bf16", epochs=3), Silent())
    assert outcome.facts["precision"] == "bf16"
    assert outcome.facts["initial_sha256"] == whole.facts["initial_sha256"]
    ours, theirs = (pd.read_csv(o.results)["train/cls_loss"].iloc[0] for o in (outcome, whole))
    assert ours == pytest.approx(theirs, rel=0.1)
    assert {p.dtype for p in checkpoints.load(outcome.best)[0].parameters()} == {torch.float32}
