"""The demo data set in its folder: drawn once, whole or not at all, and told apart from other people's folders."""

from __future__ import annotations

import json
import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from kdyolo.datasets import demo
from kdyolo.errors import RunExistsError
from kdyolo.storage import storage_fault, write_json

MARKER = ".kdyolo-demo.json"
PARAMETERS: dict[str, Any] = {"images": 400, "imgsz": 320, "seed": 0}


def ensure(folder: Path) -> Path:
    """Draw the demo data set into `folder`, unless it is there already; returns `folder`.

    It is drawn beside the folder and renamed, so two processes at once do not disturb each other: the second finds
    the set of the first, which has the same bytes.

    Raises:
        RunExistsError: The folder holds something else; it is left alone.
        EnvironmentFault: It cannot be written.
    """
    if _is_drawn(folder):
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as partial:
            drawn = demo.generate(Path(partial) / folder.name, **PARAMETERS)
            write_json(drawn / MARKER, _marker())
            _put(drawn, folder)
    except OSError as error:
        raise storage_fault(error, folder) from error
    return folder


def _marker() -> dict[str, Any]:
    return {"generator": demo.VERSION, **PARAMETERS}


def _is_drawn(folder: Path) -> bool:
    """Whether the folder is a finished demo set; a missing or empty one is not."""
    try:
        if not os.path.lexists(folder) or (folder.is_dir() and not any(folder.iterdir())):
            return False
        if json.loads((folder / MARKER).read_bytes()) == _marker():
            return True
    except (OSError, ValueError):
        pass
    raise RunExistsError(
        f"{folder} exists, but is not the demo data set that this version draws.",
        "Give another run folder (`kdyolo demo --run DIR`), or move that folder away yourself.",
    )


def _put(drawn: Path, folder: Path) -> None:
    try:
        drawn.rename(folder)  # onto nothing or an empty folder; anything else is an error
    except OSError:
        if not _is_drawn(folder):  # else another process was quicker
            raise
