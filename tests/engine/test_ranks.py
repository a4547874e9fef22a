"""Two CPU processes train one model: together, alike, and ending together whatever happens to one of them."""

import functools
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pandas as pd
import psutil
import pytest
import tiny
import torch

from kdyolo.config import RuntimeSettings, TrainSettings, load_config
from kdyolo.engine import checkpoints, environment, ranks
from kdyolo.engine.job import TrainJob
from kdyolo.engine.training import train, train_to_end
from kdyolo.errors import ConfigError, EnvironmentFault, Interrupted, StageError
from kdyolo.progress import Silent
from kdyolo.stages.training import check_training

SUPPORT = Path(__file__).parents[1] / "support"
STEPS = 6  # an epoch: 21 images, 4 at a time, 2 of them in each process


@pytest.fixture(scope="module", autouse=True)
def probes():
    """Lets the processes find the tests' trainers."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(SUPPORT))
        yield


def job_of(view, folder, processes=2, **settings):
    return TrainJob(
        folder=folder,
        train=view / "images" / "train",
        val=view / "images" / "val",
        class_names=tiny.CLASSES,
        settings=TrainSettings(**{**tiny.TRAINING, **settings}),
        start=None,
        seed=0,
        runtime=RuntimeSettings(device="cpu", threads=1, precision="fp32", processes=processes),
        title="test yolov5n",
        log=folder.parent / "kdyolo.log",
    )


def watching(folder):
    import rank_probes

    return functools.partial(rank_probes.watching, folder)


def offspring():
    return [p for p in psutil.Process().children(recursive=True) if p.status() != psutil.STATUS_ZOMBIE]


@pytest.fixture(scope="module")
def view(labelled):
    return labelled / "split"


@pytest.fixture(scope="module")
def pair(view, tmp_path_factory):
    """An uninterrupted training of two epochs, and the folder of what its processes noted."""
    folder = tmp_path_factory.mktemp("pair")
    notes = tiny.Notes()
    outcome = train(job_of(view, folder / "training"), notes, watching(folder))
    assert (notes.titles, notes.updates, notes.warnings) == (["test yolov5n"], 2 * (STEPS + 1), [])
    return outcome, folder


def weights_of(path):
    return checkpoints.load(path)[0].state_dict()


def same_weights(a, b):
    a, b = weights_of(a), weights_of(b)
    return all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize(
    ("given", "refused"),
    [
        ({"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1"}, True),
        ({"RANK": "0", "WORLD_SIZE": "1"}, False),
        ({"WORLD_SIZE": "4"}, False),
        ({"RANK": "0", "WORLD_SIZE": "many"}, False),
    ],
)
def test_nobody_else_may_start_the_processes(monkeypatch, tmp_path, given, refused):
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    config = load_config(overrides=tiny.SETTINGS)
    if not refused:
        check_training(config, config.student)
        return
    job = job_of(tmp_path, tmp_path / "training", processes=1)
    for call in (lambda: check_training(config, config.student), lambda: train(job, Silent())):
        with pytest.raises(ConfigError, match="one of 2 processes of torchrun") as caught:
            call()
        assert "--device 0,1" in caught.value.hint
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_it_leaves_a_stock_checkpoint_and_one_row_an_epoch(pair, tmp_path):
    from ultralytics import YOLO

    checkpoints.save_stripped(pair[0].best, tmp_path / "best.pt")
    assert YOLO(tmp_path / "best.pt").names == dict(enumerate(tiny.CLASSES))
    table = pd.read_csv(pair[0].results)
    assert table["epoch"].tolist() == [1, 2]
    assert table["optimizer_steps"].tolist() == [STEPS, 2 * STEPS]
    assert not list((pair[1] / "training").rglob("*.tmp"))


@pytest.mark.slow
def test_facts_say_what_both_did(pair, view, tmp_path):
    import rank_probes

    facts, noted = pair[0].facts, rank_probes.steps(pair[1])
    assert (facts["images"], facts["epochs"], facts["optimizer_steps"]) == (21, 2, 2 * STEPS)
    assert (facts["processes"], facts["device"], facts["threads"]) == (2, "cpu (2 processes)", 1)
    assert [len(one) for one in noted] == [2 * STEPS] * 2
    hashes = [one["weights_sha256"] for one in facts["ranks"]]
    assert hashes[0] == hashes[1]
    assert [one["images"] for one in facts["ranks"]] == [11, 11]
    alone = train(job_of(view, tmp_path / "alone", processes=1, epochs=1), Silent()).facts
    for fact in ("initial_sha256", "labels_sha256", "label_boxes", "images"):
        assert facts[fact] == alone[fact], fact
    assert "processes" not in alone


@pytest.mark.slow
def test_each_image_goes_to_one_of_them(pair, view):
    import rank_probes

    images = {path.name for path in (view / "images" / "train").iterdir()}
    orders = []
    for epoch in (0, 1):
        seen = [
            [f for step in one if step["epoch"] == epoch for f in step["files"]] for one in rank_probes.steps(pair[1])
        ]
        assert set(seen[0]) | set(seen[1]) == images
        assert len(set(seen[0]) & set(seen[1])) <= 1  # 21 images for two
        orders.append(seen)
    assert orders[0] != orders[1]


@pytest.mark.slow
def test_they_see_different_things_and_learn_the_same(pair):
    import rank_probes

    for ours, theirs in zip(*rank_probes.steps(pair[1]), strict=True):
        assert ours["pixels"] != theirs["pixels"]
        assert ours["losses"] != theirs["losses"]
        assert ours["gradients"] == theirs["gradients"]


@pytest.mark.slow
def test_a_step_follows_the_sum_of_the_gradients_of_both_halves(pair):
    """That of the whole batch in one process is another: ultralytics divides by the labels of the images at hand.

    Batch statistics, too, are those of each process's own images. So the sum is what a single process can check.
    """
    from ultralytics.utils.loss import v8DetectionLoss

    kept = [torch.load(pair[1] / f"rank-{rank}.pt", weights_only=True) for rank in (0, 1)]
    wanted: dict[str, torch.Tensor] = {}
    for one in kept:
        model = checkpoints.build("yolov5n", len(tiny.CLASSES)).float().to(memory_format=torch.channels_last)
        model.args = environment_args()
        model.load_state_dict(one["state"])
        for name, parameter in model.named_parameters():
            parameter.requires_grad = ".dfl" not in name
        batch = {**one["raw"], "img": one["raw"]["img"].float() / 255}
        loss, _ = v8DetectionLoss(model)(model.train()(batch["img"]), batch)
        given = float(one["loss"])  # ultralytics multiplies it by the number of processes
        assert given == pytest.approx(2 * float(loss.detach().sum()), rel=1e-5)
        loss.sum().backward()
        for name, parameter in model.named_parameters():
            if parameter.grad is not None:
                wanted[name] = wanted.get(name, 0) + parameter.grad
    assert wanted.keys() == kept[0]["gradients"].keys()
    for name, gradient in wanted.items():
        torch.testing.assert_close(kept[0]["gradients"][name], gradient, rtol=1e-4, atol=1e-6 * float(gradient.norm()))


def environment_args():
    from ultralytics.cfg import get_cfg

    return get_cfg()


@pytest.mark.slow
def test_ctrl_c_keeps_finished_epochs_and_the_rest_comes_out_alike(pair, view, tmp_path):
    notes, pressed = tiny.Notes(), []

    def press():
        if notes.updates >= STEPS + 3 and not pressed:  # an epoch's end is an update as well
            pressed.append(True)
            signal.raise_signal(signal.SIGINT)

    notes.on_update = press
    job = job_of(view, tmp_path / "training")
    with pytest.raises(Interrupted, match="after 1 finished epochs") as caught:
        train(job, notes)
    assert caught.value.exit_code == 130
    assert offspring() == []
    assert len(pd.read_csv(job.folder / "results.csv")) == 1
    outcome = train(job, Silent())
    assert same_weights(outcome.best.with_name("last.pt"), pair[0].best.with_name("last.pt"))
    assert outcome.facts["ranks"] == pair[0].facts["ranks"]
    figures = [pd.read_csv(o.results).drop(columns="time") for o in (outcome, pair[0])]
    assert figures[0].equals(figures[1])


@pytest.mark.slow
def test_one_that_is_killed_ends_all_and_says_so(view, tmp_path):
    notes = tiny.Notes()

    def kill():
        if notes.updates == 2:
            [second] = [p for p in offspring() if p.environ().get("RANK") == "1"]
            second.kill()

    notes.on_update = kill
    job = job_of(view, tmp_path / "training", epochs=1000)
    with pytest.raises(StageError, match=r"Process 2 of 2 of test yolov5n was killed by signal 9") as caught:
        train(job, notes)
    assert str(job.log) in caught.value.hint
    assert offspring() == []


@pytest.mark.slow
def test_none_outlives_a_parent_that_is_killed(view, tmp_path):
    folders = [view / "images" / "train", view / "images" / "val", tmp_path / "training"]
    environ = {**os.environ, "TMPDIR": str(tmp_path), "OMP_NUM_THREADS": "1"}
    parent = subprocess.Popen([sys.executable, SUPPORT / "rank_parent.py", *folders], env=environ)
    try:
        patiently(lambda: (tmp_path / "training" / "results.csv").is_file(), 120)
        children = psutil.Process(parent.pid).children(recursive=True)
        assert len(children) >= 2
    finally:
        parent.kill()
        parent.wait()
    patiently(lambda: not any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children), 20)
    assert not list(tmp_path.glob("kdyolo-ranks-*"))


def patiently(condition, seconds):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.slow
def test_what_one_of_them_stops_at_is_what_the_training_stops_at(view, tmp_path):
    import rank_probes

    job = job_of(view, tmp_path / "training")
    with pytest.raises(StageError, match=r"^The second process stops\.$") as caught:
        train(job, Silent(), functools.partial(rank_probes.failing, "ours"))
    assert caught.value.hint == "Do this."
    assert offspring() == []


@pytest.mark.slow
def test_a_bug_in_one_of_them_is_in_the_log(view, tmp_path):
    import rank_probes

    job = job_of(view, tmp_path / "training")
    with pytest.raises(StageError, match="Process 2 of 2 of test yolov5n failed: RuntimeError: a bug"):
        train(job, Silent(), functools.partial(rank_probes.failing, "bug"))
    assert "in fail\n    raise faults[kind]" in job.log.read_text()


def said(job, *scripts):
    """What `ranks` makes of processes that say and do this."""
    workers = []
    for rank, script in enumerate(scripts):
        code = f"import sys, os, time; say = lambda s: print(s, flush=True)\n{script}"
        process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        workers.append(ranks._Worker(rank, process))
    try:
        ranks._Watch(job, workers, tiny.Notes(), threading.Event()).until_done()
    finally:
        for worker in workers:
            worker.process.kill()
            ranks._end(worker.process)
    return [worker.result for worker in workers]


FAILED = 'say(\'{"kind": "failed", "error": "%s", "message": "%s", "hint": "", "os_error": %s}\')'
WAITS = "time.sleep(60)"


def test_the_reason_counts_and_not_who_noticed_first(tmp_path):
    job = job_of(tmp_path, tmp_path)
    lost = FAILED % ("", "RuntimeError: connection closed by peer", "null")
    with pytest.raises(StageError, match="connection closed by peer"):
        said(job, lost, WAITS)
    with pytest.raises(StageError, match=r"Process 2 of 2 .* was killed by signal 9"):
        said(job, lost, "time.sleep(1); os.kill(os.getpid(), 9)")
    with pytest.raises(ConfigError, match=r"^no such grid$"):
        said(job, lost, f"time.sleep(1); {FAILED % ('ConfigError', 'no such grid', 'null')}")
    with pytest.raises(StageError, match=r"Process 1 of 2 .* ended with exit code 3"):
        said(job, "sys.exit(3)", WAITS)
    with pytest.raises(OSError, match="No space left on device") as caught:
        said(job, FAILED % ("", "OSError", '[28, \\"No space left on device\\", \\"/run/x\\"]'), WAITS)
    assert (caught.value.errno, caught.value.filename) == (28, "/run/x")
    done = 'say(\'{"kind": "done", "best": "b"}\')'
    assert said(job, done, f"{done}; sys.exit(1)") == [{"kind": "done", "best": "b"}] * 2


def test_weights_that_drifted_apart_are_no_result(tmp_path, monkeypatch):
    result = {"best": "b", "results": "r", "facts": {}, "device": "cpu", "images": 1}
    workers = [ranks._Worker(rank, None, {**result, "weights_sha256": str(rank)}) for rank in (0, 1)]

    class Done:
        def __init__(self, *arguments):
            pass

        def until_done(self):
            pass

    monkeypatch.setattr(ranks, "_started", lambda tasks: __import__("contextlib").nullcontext(workers))
    monkeypatch.setattr(ranks, "_Watch", Done)
    with pytest.raises(StageError, match="ended with different weights"):
        ranks.train(job_of(tmp_path, tmp_path), {}, Silent(), threading.Event(), None)
    workers[1].result["weights_sha256"] = "0"
    facts = ranks.train(job_of(tmp_path, tmp_path), {}, Silent(), threading.Event(), None)["facts"]
    assert facts["processes"] == 2


@pytest.fixture
def two_gpus(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)


def runtime(device, processes=None):
    return RuntimeSettings(device=device, processes=processes)


def test_a_list_of_gpus_is_one_process_for_each(two_gpus):
    assert environment.share_out(runtime("0,1")) == ["0", "1"]
    assert environment.share_out(runtime("cuda:1, cuda:0")) == ["1", "0"]
    assert environment.share_out(runtime("auto")) == environment.share_out(runtime("cuda")) == ["0"]
    assert environment.share_out(runtime("cpu", 3)) == ["cpu"] * 3
    assert environment.resolve_device("1,0") == "1"
    assert ranks.name_of(["0", "1"]) == "cuda:0,1"


@pytest.mark.parametrize(
    ("device", "processes", "kind", "message"),
    [
        ("0,2", None, EnvironmentFault, "No CUDA device '2'"),
        ("0,0", None, ConfigError, "twice"),
        ("0,cuda:0", None, ConfigError, "twice"),
        ("0,00", None, ConfigError, "twice"),
        ("0,cpu", None, ConfigError, "beside a GPU"),
        ("0,", None, ConfigError, "Unknown device"),
        ("0,1", 3, ConfigError, "runs in 2 processes, not in 3"),
        ("cuda", 2, ConfigError, "runs in 1 processes, not in 2"),
    ],
)
def test_what_cannot_be_is_refused_up_front(two_gpus, device, processes, kind, message):
    with pytest.raises(kind, match=message) as caught:
        environment.require_machine(runtime(device, processes))
    assert caught.value.hint


def test_a_batch_that_cannot_be_shared_is_refused(two_gpus):
    environment.require_batch(runtime("0,1"), 16)
    environment.require_batch(runtime("auto"), 7)
    with pytest.raises(ConfigError, match="2 processes cannot share a batch of 7") as caught:
        environment.require_batch(runtime("0,1"), 7)
    assert "--batch 8" in caught.value.hint
    with pytest.raises(ConfigError, match="3 processes cannot share a batch of 1"):
        environment.require_batch(runtime("cpu", 3), 1)


def test_threads_are_shared():
    assert [environment.threads_each(n, 3) for n in (1, 3, 8)] == [1, 1, 2]


def test_a_finished_training_is_not_started_again(tmp_path):
    shutil.copy(__file__, tmp_path / "best.pt")
    (tmp_path / "training.json").write_text('{"processes": 2}')
    assert train_to_end(job_of(tmp_path, tmp_path), Silent()) == {"processes": 2}
