"""Fixtures every test may use; the functions behind them are in tests/support/builders.py."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import builders
import pytest
import tiny


def pytest_configure(config: pytest.Config) -> None:
    """Give each process of a parallel test run a core of its own.

    The threads of two trainings on the same cores wait for each other most of the time.
    """
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    if worker and hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[int(worker.removeprefix("gw")) % len(cores)]})


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test reads or fills the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KDYOLO_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


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


@pytest.fixture(scope="session")
def demo_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small demo data set, read-only by convention."""
    from kdyolo.datasets.demo import generate

    return generate(tmp_path_factory.mktemp("demo") / "leaves", images=30, imgsz=96, seed=0)


@pytest.fixture(scope="session")
def lively(tmp_path_factory: pytest.TempPathFactory, demo_set: Path) -> Path:
    """`tiny.lively_checkpoint` with the classes of the demo set; read-only by convention."""
    return tiny.lively_checkpoint(tmp_path_factory.mktemp("lively") / "lively.pt", demo_set / "images")


@pytest.fixture(scope="session")
def labelled(tmp_path_factory: pytest.TempPathFactory, demo_set: Path, lively: Path) -> Path:
    """A run as far as its pseudo-labels, by the adopted `lively` teacher; copy it with `tiny.copy_run`."""
    from kdyolo import api

    run = tiny.adopt(demo_set, tmp_path_factory.mktemp("labelled") / "run", lively, **{"pseudo.conf": 0.6})
    api.pseudo_label(run.root)
    return run.root


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, demo_set: Path) -> Path:
    """A finished run whose teacher is the student's size; copy it with `tiny.copy_run`."""
    from kdyolo import api

    run = tmp_path_factory.mktemp("finished") / "run"
    api.run(demo_set, run, settings=tiny.SETTINGS)
    return run
