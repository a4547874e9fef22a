"""The cache of exports: what finds one again, what makes another, and what a failure leaves."""

import json
import subprocess
from pathlib import Path

import pytest
import tiny

from kdyolo.engine import export
from kdyolo.errors import EnvironmentFault, StageError

ONNX, INT8 = export.BACKENDS["onnx"], export.BACKENDS["openvino-int8"]


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("KDYOLO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(export, "missing", lambda backend: None)
    monkeypatch.setattr(export, "versions", lambda backend: {"ultralytics": "1"})
    return tmp_path / "cache"


@pytest.fixture
def worker(monkeypatch):
    """Stands for the exporting process; remembers its tasks."""
    tasks = []

    def run(task):
        tasks.append(task)
        folder = Path(task["folder"])
        (folder / "model.json").write_text(json.dumps({"names": ["a"], "params": 1, "gflops": None}))
        made = folder / ("model.onnx" if task["format"] == "onnx" else "model_int8_openvino_model")
        made.write_bytes(bytes(2_000_000))
        return subprocess.CompletedProcess([], 0, "")

    monkeypatch.setattr(export, "_run", run)
    return tasks


@pytest.fixture
def checkpoint(tmp_path):
    path = tmp_path / "mine" / "best.pt"
    path.parent.mkdir()
    path.write_bytes(b"weights")
    return path


def images(folder, number=3):
    folder.mkdir()
    paths = [folder / f"{i}.jpg" for i in range(number)]
    for i, path in enumerate(paths):
        path.write_bytes(bytes([i]))
    return paths


def test_the_second_time_the_cache_is_hit(cache, worker, checkpoint):
    before = tiny.files(checkpoint.parent)
    first = export.exported(checkpoint, 64, ONNX)
    second = export.exported(checkpoint, 64, ONNX)
    assert (first.reused, second.reused, len(worker)) == (False, True, 1)
    assert first.path == second.path
    assert first.path.is_relative_to(cache)
    assert (first.size_mb, first.names, first.params) == (2.0, ("a",), 1)
    assert tiny.files(checkpoint.parent) == before


def test_a_copy_under_another_name_is_the_same_checkpoint(cache, worker, checkpoint):
    export.exported(checkpoint, 64, ONNX)
    checkpoint.rename(checkpoint.with_name("other.pt"))
    assert export.exported(checkpoint.with_name("other.pt"), 64, ONNX).reused


def test_what_decides_an_export_makes_another(cache, worker, checkpoint, tmp_path, monkeypatch):
    pictures = images(tmp_path / "pictures")
    paths = [export.exported(checkpoint, 64, ONNX).path, export.exported(checkpoint, 96, ONNX).path]
    paths += [export.exported(checkpoint, 64, INT8, part).path for part in (pictures, pictures[:2])]
    checkpoint.write_bytes(b"trained on")
    paths.append(export.exported(checkpoint, 64, ONNX).path)
    monkeypatch.setattr(export, "versions", lambda backend: {"ultralytics": "2"})
    paths.append(export.exported(checkpoint, 64, ONNX).path)
    assert len(set(paths)) == len(worker) == 6


def test_calibration_images_are_told_by_content_not_by_folder(cache, worker, checkpoint, tmp_path):
    here, there = images(tmp_path / "here"), images(tmp_path / "there")
    assert not export.exported(checkpoint, 64, INT8, here).reused
    assert export.exported(checkpoint, 64, INT8, list(reversed(there))).reused
    with pytest.raises(ValueError, match="calibrate"):
        export.exported(checkpoint, 64, INT8)


@pytest.mark.parametrize("fault", ["exit", "nothing", "disk", "interrupt"])
def test_a_failed_export_leaves_nothing_behind(cache, checkpoint, monkeypatch, fault):
    def run(task):
        folder = Path(task["folder"])
        (folder / "half").write_bytes(b"x")
        if fault == "disk":
            raise OSError(28, "No space left on device")
        if fault == "interrupt":
            raise KeyboardInterrupt
        return subprocess.CompletedProcess([], int(fault == "exit"), "much noise\nRuntimeError: no such operator\n")

    monkeypatch.setattr(export, "_run", run)
    kind = {"disk": EnvironmentFault, "interrupt": KeyboardInterrupt}.get(fault, StageError)
    with pytest.raises(kind) as caught:
        export.exported(checkpoint, 64, ONNX)
    if kind is StageError:
        assert "no such operator" in caught.value.message
    assert list((cache / "exports").iterdir()) == []


def test_an_export_that_another_process_finished_first_is_taken(cache, worker, checkpoint, monkeypatch):
    run, others = export._run, []

    def slow(task):
        if not others:
            others.append(None)
            others[0] = export.exported(checkpoint, 64, ONNX).path
            monkeypatch.setattr(export.os, "getpid", lambda: 1)
        return run(task)

    monkeypatch.setattr(export.os, "getpid", lambda: 2 - len(others))
    monkeypatch.setattr(export, "_run", slow)
    assert export.exported(checkpoint, 64, ONNX).path == others[0]
    assert len(list((cache / "exports").iterdir())) == 1


def test_a_missing_package_is_told_with_its_extra(monkeypatch):
    monkeypatch.setattr(export.importlib.util, "find_spec", lambda name: None if name == "onnxruntime" else object())
    fault = export.missing(ONNX)
    assert "onnxruntime" in fault.message
    assert "pip install 'kdyolo[onnx]'" in fault.hint
    assert export.missing(export.BACKENDS["torch"]) is None


def test_every_extra_installs_what_its_backends_need():
    import tomllib

    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))
    extras = project["project"]["optional-dependencies"]
    for backend in export.BACKENDS.values():
        if backend.extra:
            listed = {line.split(">")[0] for line in extras[backend.extra]}
            assert set(backend.needs) <= listed


def test_the_sample_is_the_same_whatever_the_order(tmp_path):
    paths = [tmp_path / f"{i:03}.jpg" for i in range(50)]
    assert export.sample(paths[::-1], 7) == export.sample(paths, 7) == sorted(export.sample(paths, 7))
    assert len(set(export.sample(paths, 7))) == 7
    assert export.sample(paths[::-1], 50) == paths
