"""What a distillation costs: four ratios, each measured in one run.

    python scripts/bench_distill.py --data path/to/data [--teacher yolov5x] [--only cached-step,online-step,store,size]

- *cached-step*: a training step of the student with stored predictions over one without, loader included; both trainers
  in one process, steps in turn.
- *online-step*: an epoch of ultralytics' own distillation (`distill_model`) over one of ours with the same teacher
  (`--scheme online-teacher --method native`, and `response`), in alternating processes.
- *store*: images a second of `yolo predict` as it comes against those of the pass that stores predictions.
- *size*: KB an image of the stored predictions.

The teacher has random weights: the time does not depend on what it has learnt, but the size of the store does, so that
one is read from a finished run (`--run`). Run it on an idle machine.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from bench_train import epoch_seconds, kdyolo_names, prepare

from kdyolo.config import Config, RuntimeSettings, load_config
from kdyolo.engine import checkpoints
from kdyolo.progress import Silent

NATIVE = """
import sys, json
from ultralytics import YOLO
a = json.loads(sys.argv[1])
YOLO("yolov5n.yaml").train(data=a["data"], epochs=a["epochs"], imgsz=a["imgsz"], batch=a["batch"], device="cpu",
    optimizer="AdamW", lr0=0.001, nbs=a["batch"], pretrained=False, plots=False, project=a["out"], name="native",
    distill_model=a["teacher"])
"""
OURS = """
import sys, json
from pathlib import Path
from kdyolo.config import Distilling, RuntimeSettings, TrainSettings
from kdyolo.distill.plan import Distillation
from kdyolo.engine.job import TrainJob
from kdyolo.engine.training import train
from kdyolo.progress import Silent
a = json.loads(sys.argv[1])
view = Path(a["data"]).parent
job = TrainJob(Path(a["out"]) / "kdyolo", view / "images/train", view / "images/val", tuple(a["names"]),
    TrainSettings(model="yolov5n", from_scratch=True, epochs=a["epochs"], imgsz=a["imgsz"], batch=a["batch"]),
    None, 0, RuntimeSettings(device="cpu"), "bench", Path(a["out"]) / "log")
told = Distillation(Distilling(scheme="online-teacher", method=a["method"], weight=1.0, until_tail=False),
    teachers=((Path(a["teacher"]), {}),))
def make(**arguments):
    from kdyolo.distill.trainer import DistillTrainer
    return DistillTrainer(told, **arguments)
train(job, Silent(), make)
"""


def cached_step(given: argparse.Namespace, data: Path, folder: Path) -> None:
    """Steps of two trainers in turn."""
    import numpy as np

    from kdyolo.datasets.formats.labels import read_labels
    from kdyolo.distill.carry import Hearsay
    from kdyolo.distill.plan import Distillation
    from kdyolo.distill.soft_labels import SoftLabels
    from kdyolo.engine.training import trial
    from kdyolo.stages.training import listening

    names, images = kdyolo_names(data), sorted((data.parent / "images" / "train").iterdir())
    rng, hearsay = np.random.default_rng(0), {}
    for image in images:  # a teacher that sees every label, and as many doubtful boxes again
        _, xywhn = read_labels(data.parent / "labels" / "train" / f"{image.stem}.txt")
        boxes = np.concatenate([xywhn, np.clip(rng.normal(xywhn, 0.1), 0.05, 0.9)]).astype(np.float32)
        probs = rng.uniform(0, 1, (len(boxes), len(names))).astype(np.float32)
        spread = rng.uniform(0, 0.1, (len(boxes), 4)).astype(np.float32)
        doubtful = np.repeat([False, True], [len(xywhn), len(xywhn)])
        soft = SoftLabels(boxes, probs, spread, probs.max(1).astype(np.float64), probs.argmax(1))
        hearsay[image.name] = Hearsay(np.zeros(len(names), dtype=bool), soft, doubtful)
    config = load_config(overrides={"distill.scheme": "cached", "distill.warmup_epochs": 0})
    from kdyolo.engine.environment import harden

    harden()
    from kdyolo.engine.trainer import Trainer

    plain = trial(_job(given, data, folder / "plain", names), Silent(), Trainer)
    told = listening(Distillation(config.distilling, hearsay=hearsay))
    heard = trial(_job(given, data, folder / "cached", names), Silent(), told)
    with plain as first, heard as second:
        steps = {"plain": _steps(first), "cached": _steps(second)}
        second.criterion.weight = 1.0
        seconds: dict[str, list[float]] = {name: [] for name in steps}
        for number in range(given.steps + 3):
            for name in list(steps) if number % 2 else list(steps)[::-1]:
                started = time.perf_counter()
                next(steps[name])
                if number >= 3:
                    seconds[name].append(time.perf_counter() - started)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    print(f"cached-step: plain {1000 * medians['plain']:.1f} ms, cached {1000 * medians['cached']:.1f} ms, "
          f"ratio {medians['cached'] / medians['plain']:.3f} ({given.steps} steps each)")  # fmt: skip


def _job(given: argparse.Namespace, data: Path, folder: Path, names: list[str]) -> Any:
    from kdyolo.engine.job import TrainJob

    config = Config()
    recipe = {"model": "yolov5n", "from_scratch": True, "imgsz": given.imgsz, "batch": given.batch, "epochs": 100}
    settings = config.student.model_copy(update=recipe)
    train, val = (data.parent / "images" / split for split in ("train", "val"))
    runtime = RuntimeSettings(device="cpu")
    folder.mkdir(parents=True)
    return TrainJob(folder, train, val, tuple(names), settings, None, 0, runtime, "bench", folder / "log")


def _steps(trainer: Any) -> Iterator[None]:
    """Training steps without end, as ultralytics takes them."""
    import torch
    from ultralytics.utils.torch_utils import autocast

    trainer.epoch, trainer.batches_done, trainer.start_epoch = 50, 0, 0
    trainer._model_train()
    while True:
        for batch in trainer.train_loader:
            with autocast(torch.bfloat16 if trainer.args.amp == "bf16" else trainer.amp, device="cpu"):
                loss, _ = trainer.model(trainer.preprocess_batch(batch))
            loss.sum().backward()
            trainer.optimizer_step()
            yield


def online_step(given: argparse.Namespace, data: Path, folder: Path) -> None:
    """Epochs in alternating processes."""
    teacher = folder / "teacher.pt"
    names = kdyolo_names(data)
    checkpoints.save_untrained(given.teacher, names, 0, teacher)
    task = {"data": str(data), "out": str(folder / "out"), "names": names, "teacher": str(teacher), "epochs": 2}
    task |= {"imgsz": given.imgsz, "batch": given.batch}
    seconds: dict[str, list[float]] = {"ultralytics": [], "native": [], "response": []}
    for _ in range(given.rounds):
        seconds["ultralytics"].append(epoch_seconds("native", NATIVE, task, folder))
        for method in ("native", "response"):
            seconds[method].append(epoch_seconds("kdyolo", OURS, {**task, "method": method}, folder))
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    told = ", ".join(f"{name} {value:.1f} s an epoch" for name, value in medians.items())
    ratios = [f"{medians['ultralytics'] / medians[method]:.2f} ({method})" for method in ("native", "response")]
    print(f"online-step, {given.teacher}: {told}; ratio {', '.join(ratios)}")


def store(given: argparse.Namespace, data: Path, folder: Path) -> None:
    """Both passes over the same images, in turn, after a warm-up, each with the threads it takes in its own process."""
    import numpy as np
    import torch
    from ultralytics import YOLO
    from ultralytics.utils import NUM_THREADS

    from kdyolo.distill.soft_labels import Origin, soften, write_soft_labels
    from kdyolo.engine.detector import Detector, read_image
    from kdyolo.engine.environment import prepare_cpu

    teacher, names = folder / "stored.pt", kdyolo_names(data)
    checkpoints.save_untrained(given.teacher, names, 0, teacher)
    images = sorted((data.parent / "images" / "train").iterdir())[: given.stored]
    detector, theirs = Detector(teacher, given.imgsz, RuntimeSettings(device="cpu"), names), YOLO(teacher)
    known = np.ones(len(names), dtype=bool)

    def ours() -> None:
        prepare_cpu(None)
        soft = {}
        for outcome in detector.predict(images, 0.1, 0.7, soft=True):
            image = read_image(outcome.path)
            assert image is not None
            assert outcome.detections is not None
            soft[outcome.path.name] = soften(outcome.detections, image.shape[1], image.shape[0], known)
        origin = Origin("0", given.imgsz, tuple(names))
        write_soft_labels(folder / "soft.npz", soft, dict.fromkeys(soft, "0"), origin)

    def plain() -> None:
        torch.set_num_threads(NUM_THREADS)  # what the library sets for the whole process when it picks the device
        for _ in theirs.predict([str(i) for i in images], imgsz=given.imgsz, stream=True, verbose=False, device="cpu"):
            pass

    passes: dict[str, Callable[[], None]] = {"yolo predict": plain, "kdyolo": ours}
    seconds: dict[str, list[float]] = {name: [] for name in passes}
    for number in range(given.rounds + 1):
        for name, work in passes.items():
            started = time.perf_counter()
            work()
            if number:
                seconds[name].append(time.perf_counter() - started)
    rates = {name: len(images) / statistics.median(values) for name, values in seconds.items()}
    print(f"store, {given.teacher}: " + ", ".join(f"{name} {rate:.2f} images/s" for name, rate in rates.items())
          + f"; ratio {rates['kdyolo'] / rates['yolo predict']:.2f}")  # fmt: skip


def size(given: argparse.Namespace, data: Path, folder: Path) -> None:
    """Of a finished run's store."""
    if given.run is None:
        print("size: not measured, give --run")
        return
    import numpy as np

    path = given.run / "pseudo" / "soft_labels.npz"
    if not path.is_file():
        print(f"size: not measured, {given.run} stores no predictions")
        return
    with np.load(path, allow_pickle=False) as held:
        images, boxes, classes = len(held["images"]), len(held["xywhn"]), len(held["classes"])
    print(f"size: {path.stat().st_size / 1000 / images:.2f} KB an image ({images} images, {boxes} boxes, "
          f"{classes} classes)")  # fmt: skip


MEASURES = {"cached-step": cached_step, "online-step": online_step, "store": store, "size": size}


def main() -> None:
    """Parse, prepare, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="labelled data set; default: the demo set")
    parser.add_argument("--run", type=Path, help="finished run, for the size of its store")
    parser.add_argument("--teacher", default="yolov5x")
    parser.add_argument("--only", default=",".join(MEASURES))
    parser.add_argument("--imgsz", type=int, default=320)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--images", type=int, default=64, help="training images of the online epochs")
    parser.add_argument("--stored", type=int, default=32, help="images of the pass that stores")
    given = parser.parse_args()
    print(json.dumps({key: str(value) for key, value in vars(given).items()}), file=sys.stderr)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        data = prepare(given.data, folder, given.images)
        for name in given.only.split(","):
            (folder / name).mkdir()
            MEASURES[name](given, data, folder / name)


if __name__ == "__main__":
    main()
