"""Checkpoints: what is refused unread (faults 51-53), and what a stripped one is."""

import errno
import io
import pickle
import resource
import sys
import types
import zipfile
from urllib.error import URLError

import pytest
import tiny
import torch

from kdyolo.config import TrainSettings
from kdyolo.engine import checkpoints
from kdyolo.errors import ConfigError, EnvironmentFault, UntrustedFileError


def scratch(**values):
    return TrainSettings(**{"model": "yolov5n", **values})


def test_a_checkpoint_that_runs_a_command_is_refused_and_its_imports_listed(tmp_path):
    path, canary = tmp_path / "bad.pt", tmp_path / "canary"
    tiny.poisoned_checkpoint(path, canary)
    with pytest.raises(UntrustedFileError, match=r"would import .*posix\.system.*not loaded") as caught:
        checkpoints.load(path)
    assert caught.value.exit_code == 4
    assert not isinstance(caught.value, checkpoints.DamagedFileError)
    assert not canary.exists()
    with pytest.raises(UntrustedFileError):
        checkpoints.save_stripped(path, tmp_path / "out.pt")
    with pytest.raises(UntrustedFileError):
        checkpoints.starting_point(scratch(weights=path), True, "teacher")
    assert not canary.exists()
    assert not (tmp_path / "out.pt").exists()
    torch.load(path, weights_only=False)  # the test can fail: a careless load does run it
    assert canary.exists()


def archive(path, data):
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("bad/data.pkl", data)
        file.writestr("bad/version", "3\n")
        file.writestr("bad/byteorder", "little")
    return path


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_whatever_the_pickle_protocol(tmp_path, protocol):
    canary = tmp_path / "canary"
    with pytest.raises(UntrustedFileError):
        checkpoints.load(archive(tmp_path / "bad.pt", pickle.dumps({"model": tiny.Bomb(canary)}, protocol)))
    assert not canary.exists()


@pytest.mark.parametrize(
    ("module", "name", "argument"),
    [
        ("ultralytics.utils.checks", "check_requirements", "kdyolo-no-such-package"),
        ("ultralytics.utils.downloads", "safe_download", "http://127.0.0.1/x"),
        ("ultralytics.nn.tasks", "torch_safe_load", "x.pt"),
        ("torch.nn.modules.module", "register_module_forward_hook", "x"),
        ("pathlib", "Path.unlink", "x"),
        ("builtins", "eval", "1/0"),
    ],
)
def test_a_library_function_is_no_model_part(tmp_path, module, name, argument, monkeypatch):
    called = []
    monkeypatch.setattr("subprocess.Popen.__init__", lambda *a, **k: called.append(a))
    monkeypatch.setattr("socket.socket.connect", lambda *a, **k: called.append(a))
    text = argument.encode()
    call = f"c{module}\n{name}\n".encode() + b"X" + len(text).to_bytes(4, "little") + text + b"\x85R"
    data = b"\x80\x02}X\x05\x00\x00\x00model" + call + b"s."
    with pytest.raises(UntrustedFileError):
        checkpoints.load(archive(tmp_path / "bad.pt", data))
    assert called == []


def damaged(tmp_path, lively, how):
    path, whole = tmp_path / f"{how}.pt", lively.read_bytes()
    if how == "state_dict":
        model, _ = checkpoints.load(lively)
        torch.save(model.state_dict(), path)
    elif how == "torchscript":
        with zipfile.ZipFile(path, "w") as file:
            for member in ("data.pkl", "constants.pkl", "code/__torch__.py", "version"):
                file.writestr(f"m/{member}", pickle.dumps({}, 2))
    elif how == "plain pickle":
        path.write_bytes(pickle.dumps({"model": 1}))
    else:
        contents = {
            "empty": b"",
            "web page": b"\n <!DOCTYPE html><html>Sign in</html>",
            "cut at half": whole[: len(whole) // 2],
            "cut at the end": whole[:-30],
            "text": b"hello",
            "zeros": bytes(len(whole)),
        }
        path.write_bytes(contents[how])
    return path


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("empty", "is empty"),
        ("web page", "is a web page"),
        ("cut at half", "is cut short"),
        ("cut at the end", "is cut short"),
        ("text", "no PyTorch checkpoint"),
        ("zeros", "no PyTorch checkpoint"),
        ("plain pickle", "no PyTorch checkpoint"),
        ("torchscript", "TorchScript"),
        ("state_dict", "not a usable checkpoint"),
    ],
)
def test_a_file_that_is_no_checkpoint(tmp_path, lively, how, says):
    path = damaged(tmp_path, lively, how)
    with pytest.raises(UntrustedFileError, match=says) as caught:
        checkpoints.load(path)
    assert f"{path} ({path.stat().st_size} bytes)" in caught.value.message
    assert "\n" not in caught.value.message
    assert "--from-scratch" in caught.value.hint
    assert isinstance(caught.value, checkpoints.DamagedFileError) == (how != "torchscript")


def test_a_zip_bent_in_its_middle(tmp_path, lively):
    data = bytearray(lively.read_bytes())
    data[len(data) // 3 : len(data) // 3 + 2000] = bytes(2000)
    (tmp_path / "bent.pt").write_bytes(data)
    with pytest.raises(UntrustedFileError):
        checkpoints.load(tmp_path / "bent.pt")


def test_a_checkpoint_of_the_original_repository(tmp_path, monkeypatch):
    for name in ("models", "models.yolo", "models.common"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    model = type("Model", (torch.nn.Module,), {"__module__": "models.yolo"})
    sys.modules["models.yolo"].Model = model
    path = tmp_path / "yolov5s.pt"
    torch.save({"epoch": -1, "model": model(), "ema": None}, path)
    for name in ("models", "models.yolo", "models.common"):
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(UntrustedFileError, match="original YOLOv5 repository") as caught:
        checkpoints.load(path)
    assert "yolov5xu.pt" in caught.value.hint


def test_a_missing_file(tmp_path):
    with pytest.raises(ConfigError, match="No checkpoint at"):
        checkpoints.load(tmp_path / "none.pt")


def test_a_model_that_is_no_detector(tmp_path):
    checkpoints.architecture("n")
    from ultralytics.nn.tasks import ClassificationModel

    model = ClassificationModel("yolov8n-cls.yaml", nc=3, verbose=False)
    path = tmp_path / "cls.pt"
    torch.save({"epoch": -1, "model": model.half(), "ema": None, "train_args": {}}, path)
    with pytest.raises(ConfigError, match="ClassificationModel, not a detector"):
        checkpoints.load(path)


def test_a_file_of_that_name_lying_about_is_not_the_architecture(tmp_path, monkeypatch):
    (tmp_path / "yolov5n.yaml").write_text("nc: 1")
    monkeypatch.chdir(tmp_path)
    path = checkpoints.architecture("yolov5n")
    assert path.is_absolute()
    assert not path.is_relative_to(tmp_path)


def test_a_stripped_checkpoint_is_a_stock_one(tmp_path, lively):
    from ultralytics import YOLO

    model, saved = checkpoints.load(lively)
    training = tmp_path / "last.pt"
    state = {"optimizer": {"state": [1]}, "best_fitness": 0.1, "stopper": {}, "updates": 3, "scaler": {}, "epoch": 3}
    torch.save({**saved, **state, "model": model, "train_args": {}}, training)
    checkpoints.save_stripped(training, tmp_path / "best.pt")
    stripped = torch.load(tmp_path / "best.pt", weights_only=False)
    assert [stripped[k] for k in ("optimizer", "ema", "updates", "best_fitness", "scaler")] == [None] * 5
    assert stripped["epoch"] == -1
    assert next(stripped["model"].parameters()).dtype == torch.float16
    assert YOLO(tmp_path / "best.pt").names == dict(enumerate(tiny.CLASSES))
    again, _ = checkpoints.load(tmp_path / "best.pt")
    same = zip(model.float().state_dict().values(), again.state_dict().values(), strict=True)
    assert all(torch.equal(a.half(), b.half()) for a, b in same)


def test_no_room_for_the_stripped_checkpoint(tmp_path, lively):
    (tmp_path / "best.pt").write_bytes(b"old")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(EnvironmentFault, match="No room to write"):
            checkpoints.save_stripped(lively, tmp_path / "best.pt")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert tiny.files(tmp_path) == {"best.pt": b"old"}


def test_where_a_training_starts(lively):
    assert checkpoints.starting_point(scratch(from_scratch=True), True, "student") is None
    assert checkpoints.starting_point(scratch(weights=lively), True, "student") == lively


def test_weights_of_another_size_would_be_reported_as_what_they_are_not(lively):
    with pytest.raises(ConfigError, match=r"2\.5 M parameters \(yolov5n\), not a yolov5x"):
        checkpoints.starting_point(TrainSettings(model="yolov5x", weights=lively), True, "teacher")


def test_weights_of_early_versions_do_not_say_their_size_and_are_known_by_it(lively, tmp_path):
    saved = torch.load(lively, weights_only=False)
    for key in ("scale", "yaml_file"):
        del saved["model"].yaml[key]
    torch.save(saved, tmp_path / "yolov5nu.pt")
    settings = scratch(weights=tmp_path / "yolov5nu.pt")
    assert checkpoints.starting_point(settings, True, "student") == tmp_path / "yolov5nu.pt"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("KDYOLO_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "weights"


def test_official_weights_without_a_network(cache, lively, monkeypatch):
    def fetch(url, timeout):
        raise URLError("no route")

    monkeypatch.setattr("kdyolo.engine.checkpoints.urlopen", fetch)
    with pytest.raises(EnvironmentFault, match="--offline is on") as caught:
        checkpoints.official_weights("yolov5n", offline=True, section="student")
    assert "--from-scratch" in caught.value.hint
    with pytest.raises(EnvironmentFault, match="no route") as caught:
        checkpoints.official_weights("yolov5n", offline=False, section="student")
    assert str(cache) in caught.value.hint
    assert not list(cache.glob("*"))
    cache.mkdir(exist_ok=True)
    (cache / "yolov5nu.pt").write_bytes(lively.read_bytes())
    assert checkpoints.starting_point(scratch(), True, "student") == cache / "yolov5nu.pt"


@pytest.mark.parametrize("error", [ConnectionResetError("reset"), TimeoutError("timed out")])
def test_a_connection_that_breaks_is_no_full_disk(cache, monkeypatch, error):
    def fetch(url, timeout):
        raise error

    monkeypatch.setattr("kdyolo.engine.checkpoints.urlopen", fetch)
    with pytest.raises(EnvironmentFault, match="could not be fetched"):
        checkpoints.official_weights("yolov5n", offline=False, section="student")


def test_a_full_disk_is_no_broken_connection(cache, monkeypatch):
    def fetch(url, timeout):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("kdyolo.engine.checkpoints.urlopen", fetch)
    with pytest.raises(EnvironmentFault, match="No room to write"):
        checkpoints.official_weights("yolov5n", offline=False, section="student")


@pytest.mark.parametrize("kind", ["web page", "poison"])
def test_what_the_network_gives_is_judged_before_it_is_kept(cache, monkeypatch, tmp_path, kind):
    def fetch(url, timeout):
        if kind == "poison":
            data = io.BytesIO()
            torch.save({"model": tiny.Bomb(tmp_path / "canary")}, data)
        return io.BytesIO(b"<html>" if kind == "web page" else data.getvalue())

    monkeypatch.setattr("kdyolo.engine.checkpoints.urlopen", fetch)
    with pytest.raises(UntrustedFileError):
        checkpoints.official_weights("yolov5n", offline=False, section="student")
    assert not list(cache.glob("*"))
    assert not (tmp_path / "canary").exists()
