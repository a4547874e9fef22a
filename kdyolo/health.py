"""Whether the installation and the machine are fit for work; the network is not touched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

MIN_FREE_BYTES = 2_000_000_000  # a YOLOv5x training keeps two checkpoints with their optimiser


def examine() -> dict[str, Any]:
    """Facts about the machine; what is broken is listed under ``faults``."""
    import platform

    import kdyolo
    from kdyolo.engine.environment import describe

    facts: dict[str, Any] = {"kdyolo": kdyolo.__version__, "python": platform.python_version()}
    packages, faults = _packages()
    if not faults:
        try:
            facts |= describe()
        except Exception as error:
            faults.append(f"torch and ultralytics cannot be used: {type(error).__name__}: {error}")
    facts["packages"] = packages
    disk, disk_faults = _disk(Path.cwd())
    return {**facts, **disk, "faults": faults + disk_faults}


def _packages() -> tuple[dict[str, str], list[str]]:
    """Version of everything kdyolo requires, extras left out."""
    import importlib.metadata
    import re

    versions, faults = {}, []
    for requirement in importlib.metadata.requires("kdyolo") or []:
        if "extra ==" in requirement:
            continue
        name = re.split(r"[^\w.-]", requirement, maxsplit=1)[0]
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            faults.append(f"the package {name} is not installed")
    return versions, faults


def _disk(folder: Path) -> tuple[dict[str, Any], list[str]]:
    import shutil
    import tempfile

    free = shutil.disk_usage(folder).free
    faults = [] if free >= MIN_FREE_BYTES else [f"only {free / 1e6:.0f} MB free in {folder}"]
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"kdyolo")
    except OSError as error:
        faults.append(f"cannot write in {folder}: {error.strerror}")
    return {"folder": str(folder), "free_gb": round(free / 1e9, 1), "writable": not faults}, faults
