"""Fixtures every test may use; the functions behind them are in tests/support/builders.py."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import builders
import pytest


@pytest.fixture
def make_yolo_dataset(tmp_path: Path) -> Callable[..., Path]:
    """`builders.make_yolo_dataset`, by default in a fresh folder."""

    def make(folder: Path | None = None, **arguments: object) -> Path:
        return builders.make_yolo_dataset(folder or tmp_path / "data", **arguments)  # type: ignore[arg-type]

    return make


@pytest.fixture
def make_voc_dataset(tmp_path: Path) -> Callable[..., Path]:
    """`builders.make_voc_dataset`, by default in a fresh folder."""

    def make(folder: Path | None = None, **arguments: object) -> Path:
        return builders.make_voc_dataset(folder or tmp_path / "voc", **arguments)  # type: ignore[arg-type]

    return make


@pytest.fixture
def real_dataset() -> Callable[[str], Path]:
    """Folder of a real data set by name; the test is skipped where it is absent.

    Looked for in the folder KDYOLO_TEST_DATA names, else in ``../shared/datasets`` beside the repository.
    """
    base = os.environ.get("KDYOLO_TEST_DATA") or Path(__file__).resolve().parents[2] / "shared" / "datasets"

    def find(name: str) -> Path:
        folder = Path(base) / name
        if not folder.is_dir():
            pytest.skip(f"real data set {name!r} not found in {base}; set KDYOLO_TEST_DATA")
        return folder

    return find
