"""Read a json file that may be large, and may mean harm."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kdyolo.errors import DatasetError

MAX_BYTES = 500_000_000
MAX_CONTAINERS = 20_000_000
_HEAD = 1_000_000


def load_json(path: Path, slim: Callable[[dict[str, Any]], dict[str, Any]] | None = None) -> Any:
    """Plain data of a json file.

    Args:
        path: The file.
        slim: Called with every object as it is read; returns what to keep of it, so that masks never add up in memory.

    Raises:
        DatasetError: It cannot be read, is too large or nested too deeply, or is no json.
    """
    try:
        if (size := path.stat().st_size) > MAX_BYTES:
            raise DatasetError(
                f"{path} has {size / 1e6:.0f} MB; kdyolo reads at most {MAX_BYTES // 1_000_000} MB of json.",
                "Split it into several files, or leave out what are no boxes.",
            )
        data = path.read_bytes()
    except OSError as error:
        raise DatasetError(f"Cannot read {path}: {error.strerror}.", "Check its permissions.") from error
    if data.count(b"[") + data.count(b"{") > MAX_CONTAINERS:
        raise DatasetError(
            f"{path} holds more than {MAX_CONTAINERS} lists and objects.", "Split it into several files."
        )
    try:
        return json.loads(data.decode("utf-8-sig"), object_hook=slim)
    except RecursionError as error:
        raise DatasetError(
            f"{path} is nested too deeply.", "No label file needs that: check where it is from."
        ) from error
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path} is not UTF-8 text.", "Save it as UTF-8.") from error
    except ValueError as error:
        raise DatasetError(f"{path} is no valid json: {error}.", "Export it again.") from error


def head_of(path: Path) -> bytes:
    """The first megabyte of a file, to tell what it is; empty where it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(_HEAD)
    except OSError:
        return b""


def as_number(value: Any) -> float:
    """A json number as a float, infinite where it is too large; NaN for anything else, logic values included."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return float("nan")
    try:
        return float(value)
    except OverflowError:
        return float("inf")
