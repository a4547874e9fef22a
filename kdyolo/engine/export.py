"""Exports of checkpoints for other inference engines: made once by ultralytics, kept in the cache, never beside a file.

An export is found again by what decides it: the checkpoint's bytes, the image size, the backend, the versions of the
packages, and for int8 the images it was calibrated on.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kdyolo.config import stable_hash
from kdyolo.engine.environment import processor_has_bf16
from kdyolo.errors import EnvironmentFault, StageError
from kdyolo.storage import cache_folder, sha256_file, storage_fault, write_json

MOST_CALIBRATION = 300
"""Images int8 is calibrated on; nncf looks at no more by default, and recommends about as many."""
LARGEST_BATCH = 16
"""Images a TensorRT engine takes at once; the others have no such limit."""
_FACTS = "export.json"
_MODEL = "model.json"


@dataclass(frozen=True)
class Backend:
    """A way to run a model.

    Attributes:
        name: As in ``--backends``.
        format: Ultralytics' name of the export, "" for the checkpoint itself.
        made: The exported file or folder.
        needs: Packages to export and to run it.
        extra: The extra of kdyolo that installs them, "" where pip alone does not.
        quantize: 8 for int8.
        precision: Arithmetic of an exported model; that of a checkpoint is told by its detector.
    """

    name: str
    format: str = ""
    made: str = ""
    needs: tuple[str, ...] = ()
    extra: str = ""
    quantize: int | None = None
    precision: str = "fp32"


@dataclass(frozen=True)
class Export:
    """An exported model.

    Attributes:
        path: File or folder.
        reused: Whether it was in the cache.
        names: Class names by id.
        params: Parameters of the checkpoint.
        gflops: At 640 px, of the checkpoint; None where unknown.
    """

    path: Path
    reused: bool
    names: tuple[str, ...]
    params: int
    gflops: float | None

    @property
    def size_mb(self) -> float:
        """Size on disk (10^6 bytes)."""
        return size_mb(self.path)


def size_mb(path: Path) -> float:
    """Size of a file, or of all files in a folder (10^6 bytes)."""
    files = path.rglob("*") if path.is_dir() else [path]
    return round(sum(file.stat().st_size for file in files if file.is_file()) / 1e6, 2)


BACKENDS = {
    backend.name: backend
    for backend in (
        Backend("torch-fp32"),
        Backend("torch"),
        Backend("onnx", "onnx", "model.onnx", ("onnx", "onnxruntime", "onnxslim"), "onnx"),
        Backend("openvino", "openvino", "model_openvino_model", ("openvino",), "openvino"),
        Backend("openvino-bf16", "openvino", "model_openvino_model", ("openvino",), "openvino", None, "bf16"),
        Backend("openvino-int8", "openvino", "model_int8_openvino_model", ("openvino", "nncf"), "openvino", 8, "int8"),
        Backend("torchscript", "torchscript", "model.torchscript"),
        Backend("tensorrt", "engine", "model.engine", ("onnx", "onnxruntime", "onnxslim", "tensorrt")),
    )
}
DEFAULT_BACKENDS = ("torch-fp32", "torch", "onnx", "openvino", "openvino-int8")


def missing(backend: Backend) -> EnvironmentFault | None:
    """Why this machine cannot run a backend, or None."""
    lacking = [name for name in backend.needs if importlib.util.find_spec(name) is None]
    if lacking:
        words = f"pip install 'kdyolo[{backend.extra}]'" if backend.extra else f"pip install {' '.join(lacking)}"
        return EnvironmentFault(f"{backend.name} needs {', '.join(lacking)}, not installed here.", f"Run `{words}`.")
    if backend.name == "tensorrt" and not _has_cuda():
        return EnvironmentFault("tensorrt needs a CUDA device, and there is none.", "Leave it out of --backends.")
    if backend.name == "openvino-bf16" and not processor_has_bf16():
        return EnvironmentFault("This processor has no bfloat16 arithmetic.", "Leave openvino-bf16 out of --backends.")
    return None


def _has_cuda() -> bool:
    import torch

    return bool(torch.cuda.is_available())


def versions(backend: Backend) -> dict[str, str]:
    """Versions of what makes an export."""
    names = ("ultralytics", "torch", *backend.needs)
    return {name: importlib.metadata.version(name) for name in names}


def sample(paths: Sequence[Path], most: int = MOST_CALIBRATION) -> list[Path]:
    """At most `most` of the images, chosen by chance and the same each time, in the order of their names."""
    ordered = sorted(paths)
    if len(ordered) <= most:
        return ordered
    chosen = np.random.default_rng(0).choice(len(ordered), most, replace=False)
    return [ordered[index] for index in sorted(chosen)]


def exported(checkpoint: Path, imgsz: int, backend: Backend, calibration: Sequence[Path] = ()) -> Export:
    """The export of a checkpoint, from the cache or made now.

    Args:
        checkpoint: A detection checkpoint that `checkpoints.load` takes.
        imgsz: Long side of images (px); other sizes work as well, but int8 is calibrated at this one.
        backend: One of `BACKENDS` with a format.
        calibration: Images for int8, see `sample`; not used otherwise.

    Raises:
        EnvironmentFault: A package is missing, or the cache cannot be written.
        StageError: The library failed; nothing is left in the cache.
    """
    if fault := missing(backend):
        raise fault
    if backend.quantize and not calibration:
        raise ValueError("int8 needs images to calibrate on")
    images = sample(calibration) if backend.quantize else []
    facts = {
        "checkpoint": sha256_file(checkpoint),
        "imgsz": imgsz,
        "format": backend.format,
        "quantize": backend.quantize,
        "calibration": stable_hash([sha256_file(path) for path in images]) if images else None,
        "versions": versions(backend),
    }
    folder = cache_folder() / "exports" / stable_hash(facts)[:32]
    if reused := (folder / _FACTS).is_file():
        return _read(folder, backend, reused)
    task = {
        "checkpoint": str(checkpoint.absolute()),
        "imgsz": imgsz,
        "format": backend.format,
        "quantize": backend.quantize,
        "device": "0" if backend.format == "engine" else "cpu",
        "largest_batch": LARGEST_BATCH,
        "images": [str(path.absolute()) for path in images],
    }
    _fill(folder, lambda made: _make(backend, task, made, facts))
    return _read(folder, backend, reused)


def _read(folder: Path, backend: Backend, reused: bool) -> Export:
    held = json.loads((folder / _MODEL).read_text(encoding="utf-8"))
    return Export(folder / backend.made, reused, tuple(held["names"]), held["params"], held["gflops"])


def _fill(folder: Path, make: Callable[[Path], None]) -> None:
    """Let `make` fill a folder beside the wanted one, which appears only when it is complete."""
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        make(temporary)
        with contextlib.suppress(FileExistsError):
            shutil.rmtree(folder, ignore_errors=True)  # without its facts it was never finished
            temporary.rename(folder)
    except OSError as error:
        if (folder / _FACTS).is_file():  # another process was first
            return
        raise storage_fault(error, folder) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _make(backend: Backend, task: dict[str, Any], folder: Path, facts: dict[str, Any]) -> None:
    start = time.monotonic()
    done = _run({**task, "folder": str(folder)})
    if done.returncode != 0 or not (folder / backend.made).exists():
        said = [line for line in done.stdout.splitlines() if line.strip()]
        raise StageError(
            f"The export to {backend.name} failed: {said[-1] if said else f'exit code {done.returncode}'}",
            f"Leave {backend.name} out of --backends.",
        )
    write_json(folder / _FACTS, {**facts, "seconds": round(time.monotonic() - start, 1)})


def _run(task: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    """The worker with a task, and all it printed."""
    return subprocess.run(
        [sys.executable, "-m", "kdyolo.engine.export_worker"],
        input=json.dumps(task),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        cwd=task["folder"],  # a library that writes where it stands writes there
        env={**os.environ, "KDYOLO_CACHE": str(cache_folder())},
        check=False,
    )
