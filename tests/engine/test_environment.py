"""The ground ultralytics stands on: private, silent, offline (faults 1, 42, 71); and what the machine has."""

import json
import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import tiny

from kdyolo.config import RuntimeSettings
from kdyolo.engine import environment
from kdyolo.errors import ConfigError, EnvironmentFault


@pytest.fixture(scope="module")
def watched(labelled, tmp_path_factory):
    """What a training did in a process with a fresh home, no network, and poisoned caches beside its images."""
    base = tmp_path_factory.mktemp("watched")
    view = shutil.copytree(labelled / "split", base / "view")
    for name in ("train", "val", "test"):
        tiny.poisoned_cache(view / "labels" / f"{name}.cache", base / "canary")
    tiny.poisoned_cache(view / "images" / "train.cache", base / "canary")
    (base / "home").mkdir()
    command = [
        *(sys.executable, Path(tiny.__file__).with_name("watched_training.py")),
        *(view / "images" / "train", view / "images" / "val", base / "work"),
    ]
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("YOLO", "ULTRALYTICS", "OMP", "XDG"))}
    environ = {**kept, "HOME": str(base / "home"), "KDYOLO_CACHE": str(base / "cache")}
    done = subprocess.run(
        [str(part) for part in command], env=environ, cwd=base, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return base, json.loads(done.stdout), done


def test_nothing_is_fetched_sent_or_started(watched):
    attempts = watched[1]["attempts"]
    assert [a for a in attempts if a[0] != "process"] == []
    # Python's own ctypes asks the system where a library is; an installer or a download would be another matter.
    assert [a for a in attempts if "ldconfig" not in a[1]] == []
    assert watched[1]["events"] in (False, None)
    assert watched[1]["autoinstall"] is False


def test_poisoned_caches_are_not_unpickled(watched):
    assert not (watched[0] / "canary").exists()
    assert watched[1]["facts"]["images"] == 21


def test_ultralytics_settings_are_private_and_trackers_off(watched):
    base, seen, _ = watched
    assert seen["settings_file"].startswith(str(base / "cache"))
    assert {seen["settings"][name] for name in (*environment.TRACKERS, "sync")} == {False}
    assert [p for p in (base / "home").rglob("*") if "ltralytics" in p.name] == []


def test_a_training_prints_nothing_and_leaves_nothing_about(watched):
    base, _, done = watched
    assert len(done.stdout.splitlines()) == 1
    assert done.stderr == ""
    assert {p.name for p in base.iterdir()} == {"view", "home", "cache", "work"}
    assert "yolov5n" in (base / "work" / "log.txt").read_text()


def test_what_ultralytics_says_goes_to_a_file_while_asked(tmp_path, capsys):
    environment.harden()
    import ultralytics.utils

    before = ultralytics.utils.LOGGER.handlers

    def speak():
        with environment.noise_to(tmp_path / "log" / "x.log"):
            print("printed")
            ultralytics.utils.LOGGER.info("\x1b[34mlogged\x1b[0m ✅")
            warnings.warn("warned", stacklevel=1)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        speak()
    assert ultralytics.utils.LOGGER.handlers == before
    assert capsys.readouterr() == ("", "")
    text = (tmp_path / "log" / "x.log").read_text()
    assert all(word in text for word in ("printed", "logged ✅", "warned"))


def test_the_cache_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("KDYOLO_CACHE", str(tmp_path / "mine"))
    assert environment.cache_folder() == tmp_path / "mine"
    monkeypatch.delenv("KDYOLO_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert environment.cache_folder() == tmp_path / "xdg" / "kdyolo"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/dev/null/nowhere")
    folder = environment.cache_folder()
    assert "kdyolo" in folder.name
    assert not str(folder).startswith("/dev/null")
    monkeypatch.setattr("pathlib.Path.home", lambda: (_ for _ in ()).throw(RuntimeError("no home")))
    assert environment.cache_folder() == folder


def test_a_cache_folder_that_cannot_be_written(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("KDYOLO_CACHE", str(tmp_path / "file"))
    with pytest.raises(EnvironmentFault, match="Cannot write") as caught:
        environment.harden()
    assert "KDYOLO_CACHE" in caught.value.hint


def test_devices(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    assert [environment.resolve_device(name) for name in ("auto", "cpu", "CPU")] == ["cpu"] * 3
    for name in ("cuda", "cuda:0", "0", "3"):
        with pytest.raises(EnvironmentFault, match="No CUDA device") as caught:
            environment.resolve_device(name)
        assert "--device cpu" in caught.value.hint
    for name in ("gpu", "cuda:x", "", "-1", "mps"):
        with pytest.raises(ConfigError, match="Unknown device"):
            environment.resolve_device(name)
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert [environment.resolve_device(n) for n in ("auto", "cuda", "cuda:1", "1")] == ["0", "0", "1", "1"]
    with pytest.raises(EnvironmentFault, match="2 found"):
        environment.resolve_device("cuda:2")


@pytest.mark.parametrize("has", [True, False])
def test_precision_on_a_processor(monkeypatch, has):
    monkeypatch.setattr(environment, "processor_has_bf16", lambda: has)
    assert environment.resolve_precision(RuntimeSettings(device="cpu")) == ("bf16" if has else "fp32")
    assert environment.resolve_precision(RuntimeSettings(device="cpu", precision="fp32")) == "fp32"
    wanted = RuntimeSettings(device="cpu", precision="bf16")
    if has:
        assert environment.resolve_precision(wanted) == "bf16"
    else:
        with pytest.raises(EnvironmentFault, match="no bfloat16"):
            environment.resolve_precision(wanted)


def test_what_doctor_shows():
    shown = environment.describe()
    assert json.loads(json.dumps(shown)) == shown
    assert shown["threads"] >= 1
    assert shown["ultralytics"].startswith("8.4.")
