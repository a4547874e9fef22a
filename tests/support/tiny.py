"""The smallest real models, data sets and runs, and what tests need to watch them. Imports torch only when asked to."""

from __future__ import annotations

import contextlib
import os
import pickle
import shutil
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kdyolo import api
from kdyolo.storage import RunDir

CLASSES = ("early_blight", "late_blight", "leaf_mold", "septoria")
IMGSZ, BATCH, EPOCHS = 64, 4, 2

# One thread: two of them would wait for each other whenever something else runs on the machine.
MACHINE = {"runtime.threads": 1, "runtime.offline": True, "runtime.device": "cpu", "runtime.precision": "fp32"}
TRAINING = {"model": "yolov5n", "from_scratch": True, "epochs": EPOCHS, "imgsz": IMGSZ, "batch": BATCH}
SETTINGS: dict[str, Any] = {
    **MACHINE,
    **{f"{role}.{name}": value for role in ("teacher", "student") for name, value in TRAINING.items()},
    "pseudo.min_map50": 0.0,
    "pseudo.conf": 1e-5,
    "distill.scheme": "labels",  # models of a few steps have nothing to say to each other
    "compare.timed_images": 50,
    "compare.warmup_images": 1,
    "compare.examples": 2,
}
LEFT_BY_TRAINING = {"args.yaml", "best.pt", "initial.sha256", "results.csv", "stage.json", "training.json"}


def flags(settings: Mapping[str, Any]) -> list[str]:
    """Settings as command-line arguments."""
    return [part for key, value in settings.items() for part in ("-S", f"{key}={str(value).replace('True', 'true')}")]


class Notes:
    """A `Progress` that remembers what it was told, and calls `on_update` at every step."""

    def __init__(self, on_update=lambda: None):
        self.titles, self.messages, self.warnings, self.updates = [], [], [], 0
        self.on_update = on_update

    def start(self, title, total):
        self.titles.append(title)

    def update(self, completed, **figures):
        self.updates += 1
        self.on_update()

    def finish(self):
        pass

    def note(self, message):
        self.messages.append(message)

    def warn(self, message):
        self.warnings.append(message)


def lively_checkpoint(
    path: Path, images: Path, names: Sequence[str] = CLASSES, seed: int = 0, mean: float = -2.5
) -> Path:
    """An untrained yolov5n that finds many boxes, others in every image, with scores all over [0, 1].

    Random weights; activations and the head's outputs are normalised over the first images of a folder, the class
    logits to `mean`: far below zero it finds nothing.
    """
    from kdyolo.engine import checkpoints

    yaml = checkpoints.architecture("yolov5n")
    import cv2
    import torch
    from ultralytics.nn.tasks import DetectionModel

    shown = [cv2.resize(cv2.imread(str(p)), (IMGSZ, IMGSZ))[..., ::-1] for p in sorted(images.glob("*"))[:8]]
    batch = torch.from_numpy(np.stack(shown)).permute(0, 3, 1, 2) / 255
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(seed)
        model = DetectionModel(str(yaml), nc=len(names), verbose=False)
        norms = [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)]
        for norm in norms:
            norm.momentum = None  # running statistics become those of the batches seen from now on
            norm.reset_running_stats()
        model.train()(batch)
        for wanted, branches in ((0.0, model.model[-1].cv2), (mean, model.model[-1].cv3)):
            for level in branches:
                level[-1].register_forward_hook(lambda conv, _, out, wanted=wanted: _spread(conv, out, wanted))
        model.eval()(batch)
        for level in (*model.model[-1].cv2, *model.model[-1].cv3):
            level[-1]._forward_hooks.clear()
    for norm in norms:
        norm.momentum = 0.03
    model.names = dict(enumerate(names))
    model.args = {"task": "detect", "imgsz": IMGSZ}
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"epoch": -1, "model": model.half(), "ema": None, "optimizer": None, "train_args": model.args}, path)
    return path


def _spread(conv: Any, output: Any, mean: float) -> None:
    """Scale a last convolution so that every channel of its output has this mean and a deviation of 2."""
    std, old = output.std((0, 2, 3)) + 1e-6, output.mean((0, 2, 3))
    conv.weight.mul_((2 / std).view(-1, 1, 1, 1))
    conv.bias.copy_((conv.bias - old) * 2 / std + mean)


class Bomb:
    """Unpickling one writes a file."""

    def __init__(self, canary: Path):
        self.canary = canary

    def __reduce__(self):
        return os.system, (f"touch '{self.canary}'",)


def poisoned_checkpoint(path: Path, canary: Path) -> Path:
    """A checkpoint as torch writes it that runs a command when it is loaded carelessly."""
    import torch

    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"epoch": 0, "model": Bomb(canary), "ema": None, "optimizer": {}}, path)
    return path


def poisoned_cache(path: Path, canary: Path) -> Path:
    """A label cache that runs a command when it is unpickled."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(Bomb(canary)))
    return path


def copy_run(run: Path, to: Path) -> RunDir:
    """A private copy of a run; what a test does to it harms no other."""
    return RunDir(shutil.copytree(run, to))


def adopt(source: Path, run: Path, checkpoint: Path, **settings: Any) -> RunDir:
    """A run split and with an adopted teacher."""
    values = {**SETTINGS, "teacher.checkpoint": checkpoint, **settings}
    api.split(source, run, settings=values)
    api.train_teacher(run)
    return RunDir(run)


def files(folder: Path) -> dict[str, bytes]:
    """Relative name -> contents of every file below."""
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def mtimes(folder: Path) -> dict[str, int]:
    """Relative name -> modification time of everything below."""
    return {p.relative_to(folder).as_posix(): p.stat().st_mtime_ns for p in sorted(folder.rglob("*"))}


_seen: list[list[str]] = []
_watching = threading.Lock()


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open" and _seen and isinstance(arguments[0], str | bytes | os.PathLike):
        for names in _seen:
            names.append(os.fsdecode(arguments[0]))


@contextlib.contextmanager
def opened_files() -> Iterator[list[str]]:
    """The names of all files Python opens while the block runs."""
    with _watching:
        if not getattr(sys, "_kdyolo_test_hook", False):
            sys.addaudithook(_hook)  # hooks cannot be removed
            sys._kdyolo_test_hook = True
    names: list[str] = []
    _seen.append(names)
    try:
        yield names
    finally:
        _seen.remove(names)
