"""Checkpoints: only known model classes are ever built from a file, and official weights come from one place."""

from __future__ import annotations

import errno
import http.client
import io
import re
import shutil
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from kdyolo.config import TrainSettings
from kdyolo.engine.environment import harden
from kdyolo.errors import ConfigError, EnvironmentFault, UntrustedFileError
from kdyolo.storage import atomic_path, cache_folder

OFFICIAL_URL = "https://github.com/ultralytics/assets/releases/download/v8.4.0"
ADAPTERS = "kdyolo_adapters"
"""Attribute of a student in training that holds plain convolutions for a distillation; final checkpoints lack it."""
GFLOPS_IMGSZ = 640
_TIMEOUT = 30.0
_NO_ROOM = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)
_NEXT = (
    "Give a checkpoint trained with the ultralytics package (a 'u' variant such as yolov5xu.pt), or use --from-scratch."
)


class DamagedFileError(UntrustedFileError):
    """A checkpoint that cannot be read: cut short, empty, or something else altogether."""


def architecture(model: str) -> Path:
    """Ultralytics' own description of a size; by its full path, so that no file of that name lying about is taken."""
    harden()
    from ultralytics.utils import ROOT

    return Path(ROOT) / "cfg" / "models" / "v5" / f"{model}.yaml"


def gflops(model: Any) -> float | None:
    """Floating-point operations (billions) of one image at `GFLOPS_IMGSZ`; None where they cannot be counted."""
    from ultralytics.utils.torch_utils import get_flops

    return round(float(get_flops(model, GFLOPS_IMGSZ)), 2) or None  # it says 0 where it cannot tell


def load(path: Path) -> tuple[Any, dict[str, Any]]:
    """Read a detection checkpoint without running anything it names.

    Args:
        path: A .pt file of the ultralytics package.

    Returns:
        The fp32 model in evaluation mode, and the checkpoint's dictionary.

    Raises:
        ConfigError: No such file, or a model that detects nothing.
        DamagedFileError: It is cut short or no such checkpoint (exit code 4).
        UntrustedFileError: It names functions or classes beyond model parts (exit code 4).
    """
    if not path.is_file():
        raise ConfigError(f"No checkpoint at {path}.", "Check the path.")
    harden()
    from ultralytics.nn.tasks import DetectionModel, load_checkpoint

    _refuse_what_is_no_archive(path)
    _refuse_foreign_imports(path)
    try:
        model, checkpoint = load_checkpoint(path)
    except Exception as error:
        # Damage and foreign content surface as a dozen kinds of error: for the user they are one.
        raise DamagedFileError(f"{_size(path)} is not a usable checkpoint: {_first_line(error)}", _NEXT) from error
    if not isinstance(model, DetectionModel) or type(model.model[-1]).__name__ != "Detect":
        raise ConfigError(f"{path} holds a {type(model).__name__}, not a detector.", _NEXT)
    return model, checkpoint


def save_untrained(model: str, class_names: Sequence[str], seed: int, target: Path) -> None:
    """Write a model of random weights as a stock checkpoint: a teacher that has learnt nothing."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        untrained = build(model, len(class_names))
    untrained.names = dict(enumerate(class_names))
    untrained.args = {"task": "detect"}
    held = {"epoch": -1, "model": untrained.half(), "ema": None, "optimizer": None, "train_args": untrained.args}
    with atomic_path(target) as temporary:
        torch.save(held, temporary)


def save_stripped(source: Path, target: Path) -> None:
    """Write the model of a training checkpoint, without optimiser or training state, atomically.

    The result is a stock ultralytics checkpoint in half precision: plain ``YOLO(target)`` loads it.
    """
    import torch

    model, checkpoint = load(source)
    model.args = dict(model.args)
    model.criterion = None
    if hasattr(model, ADAPTERS):
        delattr(model, ADAPTERS)
    model.half().requires_grad_(False)
    dropped = dict.fromkeys(("optimizer", "best_fitness", "stopper", "ema", "updates", "scaler"))
    buffer = io.BytesIO()  # written by Python: torch's own writer does not say that a disk is full
    torch.save({**checkpoint, **dropped, "epoch": -1, "model": model}, buffer)
    with atomic_path(target) as temporary:
        temporary.write_bytes(buffer.getbuffer())


def official_weights(model: str, offline: bool, section: str) -> Path:
    """The official pretrained checkpoint of a size, from the cache or the network.

    Args:
        model: The size, for example ``yolov5n``.
        offline: Do not use the network.
        section: Of the settings that ask for it, for the message.

    Raises:
        EnvironmentFault: It is not cached and cannot be fetched, or there is no room for it.
        UntrustedFileError: What the network or the cache gave is not a checkpoint; it is not kept.
    """
    name = f"{model}u.pt"
    cached = cache_folder() / "weights" / name
    if cached.is_file():
        return cached
    choice = (
        f"Name a checkpoint you have (-S {section}.weights=FILE), or train with --from-scratch, or put {name} into "
        f"{cached.parent}."
    )
    if offline:
        raise EnvironmentFault(f"The official weights {name} are not in the cache and --offline is on.", choice)
    with atomic_path(cached) as temporary:
        try:
            with urlopen(f"{OFFICIAL_URL}/{name}", timeout=_TIMEOUT) as answer, temporary.open("wb") as file:  # noqa: S310
                shutil.copyfileobj(answer, file)
        except (OSError, http.client.HTTPException) as error:
            if isinstance(error, OSError) and error.errno in _NO_ROOM:
                raise
            reason = _first_line(error)
            raise EnvironmentFault(f"The official weights {name} could not be fetched ({reason}).", choice) from error
        _refuse_what_is_no_archive(temporary)
        _refuse_foreign_imports(temporary)
    return cached


def require_start(settings: TrainSettings, offline: bool) -> None:
    """Make sure, without fetching anything, that a training has something to start from.

    Raises:
        EnvironmentFault: It needs official weights that are not cached, and the network is off.
    """
    if offline and not settings.from_scratch and settings.weights is None:
        official_weights(settings.model, offline, settings.section)


def starting_point(settings: TrainSettings, offline: bool, section: str) -> Path | None:
    """The checkpoint a training starts from: given, official, or None for random weights.

    Raises:
        ConfigError: The file holds another size.
        UntrustedFileError: See `load`.
        EnvironmentFault: The official weights cannot be had.
    """
    if settings.from_scratch:
        return None
    path = settings.weights or official_weights(settings.model, offline, section)
    model, _ = load(path)
    if _parameters(model) != _parameters(build(settings.model, len(model.names))):
        held = describe_architecture(model)
        raise ConfigError(
            f"{path} holds a model of {_parameters(model) / 1e6:.1f} M parameters ({held}), not a {settings.model}.",
            f"Let --weights and {section}.model name the same model.",
        )
    return path


def build(model: str, nc: int) -> Any:
    """A model of a size with random weights, for `nc` classes."""
    harden()
    from ultralytics.nn.tasks import DetectionModel

    return DetectionModel(str(architecture(model)), nc=nc, verbose=False)


def _parameters(model: Any) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def describe_architecture(model: Any) -> str:
    """'yolov5m' where the model says so (checkpoints of early versions do not), else 'unnamed'."""
    described = model.yaml if isinstance(model.yaml, dict) else {}
    stem, scale = Path(str(described.get("yaml_file", ""))).stem, str(described.get("scale", ""))
    if re.fullmatch("yolov5[nsmlx]?", stem) and scale:
        return f"yolov5{scale}"
    return "unnamed"


def _refuse_what_is_no_archive(path: Path) -> None:
    with path.open("rb") as file:
        head = file.read(512)
    if not head:
        raise DamagedFileError(f"{_size(path)} is empty.", _NEXT)
    if head.lstrip()[:1] == b"<":
        raise DamagedFileError(f"{_size(path)} is a web page, not a checkpoint: a download went wrong.", _NEXT)
    if not zipfile.is_zipfile(path):
        raise DamagedFileError(f"{_size(path)} is cut short, or is no PyTorch checkpoint.", _NEXT)
    try:
        with zipfile.ZipFile(path) as archive:
            names, damaged = archive.namelist(), archive.testzip()  # torch itself does not compare checksums
    except Exception as error:  # a bent archive surfaces as several kinds of error
        raise DamagedFileError(f"{_size(path)} is damaged: {_first_line(error)}", _NEXT) from error
    if damaged:
        raise DamagedFileError(f"{_size(path)} is damaged: {damaged} is not what was written.", _NEXT)
    if any(name.endswith("constants.pkl") for name in names):
        raise UntrustedFileError(f"{_size(path)} is a TorchScript export, which cannot be trained.", _NEXT)


def _refuse_foreign_imports(path: Path) -> None:
    """List what the pickle would import, without importing it, and refuse anything but model parts."""
    import torch

    try:
        names = torch.serialization.get_unsafe_globals_in_checkpoint(str(path))
    except Exception as error:
        raise DamagedFileError(f"{_size(path)} cannot be read as a checkpoint: {_first_line(error)}", _NEXT) from error
    if any(name.startswith(("models.yolo.", "models.common.")) for name in names):
        raise UntrustedFileError(
            f"{path} comes from the original YOLOv5 repository, whose anchor-based models this tool cannot use.",
            "Train or fetch the anchor-free 'u' variant with the ultralytics package, for example yolov5xu.pt.",
        )
    foreign = [name for name in names if not _is_model_part(name)]
    if foreign:
        raise UntrustedFileError(f"{path} would import {', '.join(sorted(foreign)[:8])}; it was not loaded.", _NEXT)


def _is_model_part(name: str) -> bool:
    plain = ("numpy.dtype", "numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar", "builtins.getattr")
    modules = ("torch.nn.modules.", "ultralytics.nn.", "ultralytics.utils.", "ultralytics.yolo.utils.", "pathlib.")
    return name in plain or name.startswith(modules)


def _size(path: Path) -> str:
    return f"{path} ({path.stat().st_size} bytes)"


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
