"""Memory that a model takes, measured in a process of its own where nothing else does.

python -m kdyolo.evaluation.memory < task.json
"""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

from kdyolo.config import RuntimeSettings
from kdyolo.engine import environment, resident
from kdyolo.engine.backends import open_detector
from kdyolo.engine.detector import Detector, read_image
from kdyolo.engine.export import BACKENDS

_IMAGES = 3


def peak_mb(
    backend: str,
    checkpoint: Path,
    imgsz: int,
    runtime: RuntimeSettings,
    images: Sequence[Path],
    calibration: Sequence[Path] = (),
) -> float | None:
    """Memory (10^6 bytes) a loaded model takes at its peak over a few images at batch 1, libraries not counted.

    On the CPU it is the growth of resident memory, on a CUDA device that of its used memory. None where the process
    that measures fails.

    Args:
        backend: Key of `kdyolo.engine.export.BACKENDS`.
        checkpoint: As for `open_detector`; so `imgsz`, `runtime` and `calibration`.
        imgsz: See there.
        runtime: See there.
        images: Images to run.
        calibration: See there.
    """
    task = {
        "backend": backend,
        "checkpoint": str(checkpoint.absolute()),
        "imgsz": imgsz,
        "runtime": runtime.model_dump(mode="json"),
        "images": [str(path.absolute()) for path in images[:_IMAGES]],
        "calibration": [str(path.absolute()) for path in calibration],
    }
    done = subprocess.run(
        [sys.executable, "-m", __name__], input=json.dumps(task), capture_output=True, text=True, check=False
    )
    try:
        return round(float(done.stdout.splitlines()[-1]), 1)
    except (IndexError, ValueError):
        return None


def _measure(task: dict[str, Any]) -> float:
    environment.harden()
    backend = BACKENDS[task["backend"]]
    for name in ("torch", "torchvision", "ultralytics", *backend.needs):
        if name not in ("onnx", "onnxslim", "nncf"):  # these only export
            importlib.import_module(name)
    start = _used()
    paths = [Path(path) for path in task["images"]]
    detector = open_detector(
        backend.name,
        Path(task["checkpoint"]),
        task["imgsz"],
        RuntimeSettings(**task["runtime"]),
        calibration=[Path(path) for path in task["calibration"]],
    )
    resident.forget_peak()  # of reading the file
    _infer(detector, paths)
    if detector.device.type == "cuda":
        return (_used_of_cuda(detector.device) - start[1]) / 1e6
    return (resident.peak_bytes() - start[0]) / 1e6


def _used() -> tuple[int, int]:
    """Resident memory (bytes) of this process, and used memory of the first CUDA device, its context included."""
    import torch

    return psutil.Process().memory_info().rss, _used_of_cuda("cuda:0") if torch.cuda.is_available() else 0


def _used_of_cuda(device: Any) -> int:
    import torch

    free, total = torch.cuda.mem_get_info(device)
    return total - free


def _infer(detector: Detector, paths: Sequence[Path]) -> None:
    for image in filter(lambda one: one is not None, map(read_image, paths)):
        assert image is not None
        batch = detector.preprocess([image])
        detector.postprocess(detector.infer(batch), batch, [image], 0.25, 0.7)
    detector.synchronise()


if __name__ == "__main__":
    print(_measure(json.load(sys.stdin)))
