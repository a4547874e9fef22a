"""The ground ultralytics stands on: private settings, no installs, no trackers, all cores; and what the machine has."""

from __future__ import annotations

import contextlib
import ctypes
import importlib.metadata
import importlib.util
import io
import logging
import os
import platform
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil

from kdyolo.config import RuntimeSettings
from kdyolo.errors import ConfigError, EnvironmentFault
from kdyolo.storage import cache_folder
from kdyolo.text import without_escapes

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of malloc.h
TRACKERS = ("tensorboard", "mlflow", "wandb", "clearml", "comet", "dvc", "raytune")


def physical_cores() -> int:
    """Physical cores this process may use."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(psutil.cpu_count(logical=False) or allowed, allowed))


def require_trackers(names: Sequence[str]) -> None:
    """Make sure that experiment trackers are installed.

    Raises:
        EnvironmentFault: One is not.
    """
    for name in names:
        if importlib.util.find_spec(name) is None:
            raise EnvironmentFault(f"{name} is not installed.", f"Run `pip install 'kdyolo[{name}]'`.")


def harden(track: Sequence[str] | None = None) -> None:
    """Import ultralytics so that it installs, reports, downloads and unpickles nothing on its own.

    Its settings are read once, at import, so the environment is prepared first; a process that imported it earlier
    gets the same switches set on the modules. Call before any other use of the package.

    Args:
        track: Experiment trackers the user asked for; all others are off. None: as they are, at first all off.

    Raises:
        EnvironmentFault: The settings folder cannot be written, or a tracker is not installed.
    """
    require_trackers(track or ())
    folder = cache_folder() / "ultralytics"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EnvironmentFault(f"Cannot write {folder}: {error.strerror}.", "Set KDYOLO_CACHE to a folder.") from error
    os.environ.setdefault("OMP_NUM_THREADS", str(physical_cores()))
    os.environ.update(
        YOLO_CONFIG_DIR=str(folder), YOLO_AUTOINSTALL="false", ULTRALYTICS_SAFE_LOAD="1", YOLO_OFFLINE="true"
    )
    os.environ.setdefault("YOLO_VERBOSE", "true")
    # OpenVINO and NNCF report to their maker through this package; None is Python's way to say: not importable.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    with contextlib.redirect_stdout(io.StringIO()):  # it announces a new settings file
        import torchvision  # noqa: F401 - ultralytics' NMS takes the fast path only when this is loaded
        import ultralytics.nn.tasks
        import ultralytics.utils.checks
        import ultralytics.utils.downloads
    ultralytics.nn.tasks.SAFE_LOAD = True
    ultralytics.utils.AUTOINSTALL = ultralytics.utils.checks.AUTOINSTALL = False
    # It looks for files it is given by slightly other names too, and fetches those: `checkpoints` has its own way.
    ultralytics.utils.downloads.attempt_download_asset = lambda file, *args, **kwargs: str(file)
    wanted: dict[str, bool] = {"sync": False}
    first = not getattr(harden, "done", False)
    if first:
        ultralytics.utils.LOGGER.handlers = [logging.NullHandler()]  # stdout belongs to the caller; see `noise_to`
    if first or track is not None:
        wanted |= {name: name in (track or ()) for name in TRACKERS}
    harden.done = True  # type: ignore[attr-defined] # once a process
    settings = ultralytics.utils.SETTINGS
    if any(settings.get(name) != value for name, value in wanted.items()):
        settings.update(wanted)


class _PlainLog(io.TextIOWrapper):
    def write(self, text: str) -> int:
        return super().write(without_escapes(text))


@contextlib.contextmanager
def noise_to(log: Path) -> Iterator[None]:
    """Send what ultralytics prints and warns to a file while the block runs."""
    import ultralytics.utils

    logger = ultralytics.utils.LOGGER
    log.parent.mkdir(parents=True, exist_ok=True)
    with _PlainLog(log.open("ab"), encoding="utf-8", errors="backslashreplace") as file:
        handler = logging.StreamHandler(file)
        before, logger.handlers = logger.handlers, [handler]
        try:
            with contextlib.redirect_stdout(file), warnings.catch_warnings():
                warnings.showwarning = lambda message, category, *rest: print(f"{category.__name__}: {message}")
                yield
        finally:
            logger.handlers = before


def resolve_device(wanted: str) -> str:
    """'cpu' or a CUDA index as text, from 'auto', 'cpu', 'cuda', 'cuda:1' or '1'; of a list, '0,1', its first one.

    Errors as `resolve_devices`.
    """
    return resolve_devices(wanted)[0]


def torch_device(wanted: str) -> str:
    """As `resolve_device`, in the words of torch: 'cpu' or 'cuda:0'."""
    device = resolve_device(wanted)
    return device if device == "cpu" else f"cuda:{device}"


def resolve_devices(wanted: str) -> list[str]:
    """As `resolve_device`, but all of a list: one CUDA index, or 'cpu', for each process of a training.

    Raises:
        EnvironmentFault: A device is not there.
        ConfigError: The text names no device, one twice, or the processor as one of several.
    """
    found = [_resolve(name.strip()) for name in wanted.split(",")]
    if len(found) > 1 and "cpu" in found:
        raise ConfigError(
            f"The processor cannot train beside a GPU: '{wanted}'.", "List CUDA indices only, for example 0,1."
        )
    if len(set(found)) < len(found):
        raise ConfigError(f"A device is listed twice in '{wanted}'.", "Give each CUDA index once, for example 0,1.")
    return found


def _resolve(wanted: str) -> str:
    import torch

    name = wanted.lower().removeprefix("cuda:")
    if name == "auto":
        return "0" if torch.cuda.is_available() else "cpu"
    if name == "cpu":
        return "cpu"
    if name == "cuda":
        name = "0"
    if not name.isdigit():
        raise ConfigError(f"Unknown device '{wanted}'.", "Use auto, cpu, cuda, a CUDA index, or several: 0,1.")
    if not torch.cuda.is_available() or int(name) >= torch.cuda.device_count():
        raise EnvironmentFault(
            f"No CUDA device '{wanted}' on this machine ({torch.cuda.device_count()} found).", "Use --device cpu."
        )
    return str(int(name))


def share_out(runtime: RuntimeSettings) -> list[str]:
    """The device of each process that a training runs in, see `resolve_devices`; mostly just one.

    Raises:
        ConfigError: A number of processes is asked for that is not that of the GPUs. Else as `resolve_devices`.
        EnvironmentFault: This torch cannot train in several processes. Else as `resolve_devices`.
    """
    import torch.distributed

    devices = resolve_devices(runtime.device)
    if runtime.processes is not None and devices == ["cpu"]:
        devices *= runtime.processes
    elif runtime.processes not in (None, len(devices)):
        listed = ",".join(devices)
        raise ConfigError(
            f"A training on device {listed} runs in {len(devices)} processes, not in {runtime.processes}.",
            "Leave runtime.processes out and list the GPUs to use: --device 0,1.",
        )
    if len(devices) > 1 and not torch.distributed.is_available():
        raise EnvironmentFault("This torch was built without torch.distributed.", "Train on one device.")
    return devices


def require_batch(runtime: RuntimeSettings, batch: int) -> None:
    """Make sure that the processes of a training can share its batches.

    Raises:
        ConfigError: A batch cannot be divided by their number. Else, and `EnvironmentFault`, as `share_out`.
    """
    if runtime.device in ("auto", "cpu") and runtime.processes is None:
        return  # the usual case need not wait for torch
    count = len(share_out(runtime))
    if batch % count:
        near = max(count, round(batch / count) * count)
        raise ConfigError(
            f"{count} processes cannot share a batch of {batch} images equally.",
            f"The batch is that of all together: --batch {near}, for example.",
        )


def processor_has_bf16() -> bool:
    """Whether the CPU multiplies bfloat16 in hardware (AVX512-BF16 or AMX); elsewhere bf16 is slower than fp32."""
    import torch

    capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    if capabilities:
        return any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16"))
    return bool(getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)())


def resolve_precision(runtime: RuntimeSettings) -> str:
    """'fp32', 'bf16' (autocast) or, on CUDA only, 'amp' (ultralytics' mixed precision).

    Raises:
        EnvironmentFault: bf16 was asked for and the device lacks it.
    """
    import torch

    cpu = resolve_device(runtime.device) == "cpu"
    has_bf16 = processor_has_bf16() if cpu else torch.cuda.is_bf16_supported(including_emulation=False)
    if runtime.precision == "bf16" and not has_bf16:
        raise EnvironmentFault("This device has no bfloat16 arithmetic.", "Leave out --precision, or use fp32.")
    if runtime.precision == "auto":
        return ("bf16" if has_bf16 else "fp32") if cpu else "amp"
    return runtime.precision


def require_machine(runtime: RuntimeSettings) -> None:
    """Make sure that the device, the precision and the trackers somebody asked for are there.

    What is left to kdyolo's choice is not looked at, so that the usual case need not wait for torch.

    Raises:
        ConfigError: The device's name is none.
        EnvironmentFault: Something is missing.
    """
    require_trackers(runtime.track)
    if runtime.device not in ("auto", "cpu") or runtime.processes is not None:
        share_out(runtime)
    if runtime.precision == "bf16":
        resolve_precision(runtime)


def threads_each(threads: int | None, processes: int = 1) -> int:
    """CPU threads of each process that shares `threads` (None: all physical cores), at least one."""
    return max(1, (threads or physical_cores()) // processes)


def prepare_cpu(threads: int | None, processes: int = 1) -> int:
    """Let torch use its share of the CPU threads, see `threads_each`, and reuse its memory; returns the threads.

    Ultralytics resets the threads when it picks a device, so this comes after.
    """
    import torch

    count = threads_each(threads, processes)
    torch.set_num_threads(count)
    _keep_freed_memory()
    return count


def _keep_freed_memory() -> None:
    """Tell glibc to keep freed blocks for the next step instead of handing them back to the system.

    By default every large tensor is mapped anew and each of its pages cleared on first touch, a tenth of a training
    step's time. The process's peak memory stays the same. Where the C library is another one, nothing happens.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        for parameter, value in ((_M_MMAP_THRESHOLD, 1 << 30), (_M_TRIM_THRESHOLD, (1 << 31) - 1)):
            mallopt(parameter, value)


def describe() -> dict[str, Any]:
    """What `kdyolo doctor` shows of the learning side of this machine."""
    harden()
    import torch

    weights = cache_folder() / "weights"
    return {
        "torch": torch.__version__,
        "torchvision": importlib.metadata.version("torchvision"),
        "ultralytics": importlib.metadata.version("ultralytics"),
        "device": torch.cuda.get_device_name(0) if torch.cuda.is_available() else "cpu",
        "processor": processor_name(),
        "threads": physical_cores(),
        "physical_cores": psutil.cpu_count(logical=False) or 1,
        "bf16": processor_has_bf16(),
        "weights_cache": str(weights),
        "cached_weights": sorted(path.name for path in weights.glob("*.pt")),
    }


def processor_name() -> str:
    """The CPU's name as the system tells it."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
