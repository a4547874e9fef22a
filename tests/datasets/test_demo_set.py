"""The demo set in its folder: whole or not at all, and never in place of something else."""

import json

import pytest

from kdyolo.datasets import demo, demo_set
from kdyolo.errors import EnvironmentFault, RunExistsError


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    monkeypatch.setattr(demo_set, "PARAMETERS", {"images": 2, "imgsz": 64, "seed": 0})


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def mtimes(folder):
    return {path: path.stat().st_mtime_ns for path in [folder, *folder.rglob("*")]}


def test_it_is_drawn_once_and_says_how(tmp_path):
    folder = demo_set.ensure(tmp_path / "runs" / "demo-data")
    assert names(folder) == [".kdyolo-demo.json", "data.yaml", "images", "labels"]
    said = json.loads((folder / demo_set.MARKER).read_text())
    assert said == {"generator": demo.VERSION, "images": 2, "imgsz": 64, "seed": 0}
    before = mtimes(folder)
    assert demo_set.ensure(folder) == folder
    assert mtimes(folder) == before
    assert names(tmp_path / "runs") == ["demo-data"]


def test_an_empty_folder_is_filled(tmp_path):
    (tmp_path / "d").mkdir()
    assert "data.yaml" in names(demo_set.ensure(tmp_path / "d"))


@pytest.mark.parametrize("what", ["file", "folder", "other marker", "link"])
def test_anything_else_of_that_name_is_left_alone(tmp_path, what):
    folder = tmp_path / "d"
    if what == "file":
        folder.write_text("mine")
    elif what == "link":
        folder.symlink_to(tmp_path / "nowhere")
    else:
        folder.mkdir()
        (folder / "data.yaml").write_text("names: [mine]")
    if what == "other marker":
        (folder / demo_set.MARKER).write_text(json.dumps({"generator": 0}))
    with pytest.raises(RunExistsError, match="is not the demo data set"):
        demo_set.ensure(folder)
    assert names(tmp_path) == ["d"]


@pytest.mark.parametrize("other", ["demo set", "something else"])
def test_another_process_that_was_quicker(tmp_path, monkeypatch, other):
    folder, generate = tmp_path / "d", demo.generate

    def slow(out, **parameters):
        if other == "demo set":
            monkeypatch.setattr(demo, "generate", generate)
            demo_set.ensure(folder)
        else:
            folder.mkdir()
            (folder / "mine.txt").write_text("mine")
        return generate(out, **parameters)

    monkeypatch.setattr(demo, "generate", slow)
    if other == "demo set":
        assert "data.yaml" in names(demo_set.ensure(folder))
    else:
        with pytest.raises(RunExistsError):
            demo_set.ensure(folder)
        assert names(folder) == ["mine.txt"]
    assert names(tmp_path) == ["d"]


def test_a_drawing_that_breaks_off_leaves_nothing(tmp_path, monkeypatch):
    def broken(out, **parameters):
        out.mkdir()
        (out / "half").touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(demo, "generate", broken)
    with pytest.raises(EnvironmentFault, match="No room"):
        demo_set.ensure(tmp_path / "d")
    assert names(tmp_path) == []
