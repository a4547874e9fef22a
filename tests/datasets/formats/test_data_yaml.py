import subprocess

import pytest
import yaml

from kdyolo.datasets.formats.data_yaml import read_data_yaml, write_data_yaml
from kdyolo.errors import ConfigError, UntrustedFileError


@pytest.fixture
def write(tmp_path):
    folder = tmp_path / "set"
    for split in ("train", "val", "test"):
        (folder / "images" / split).mkdir(parents=True)
        (folder / split / "images").mkdir(parents=True)

    def write(text):
        file = folder / "data.yaml"
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return file

    return write


TAIL = "train: images/train\nval: images/val\nnames: [cat, dog]\n"


def test_known_keys_are_read_and_others_ignored(write):
    file = write("roboflow: {x: 1}\nnc: 2\ntest:\n" + TAIL)
    described = read_data_yaml(file)
    assert described.names == ("cat", "dog")
    assert described.splits == {
        "train": [file.parent / "images/train"],
        "val": [file.parent / "images/val"],
    }
    assert described.findings == []


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("names: {0: a, 1: b}", ("a", "b")),
        ("names: {'1': b, '0': a}", ("a", "b")),
        ("names: [' a ', b]", ("a", "b")),
        ("names: [0, 1, 2]", ("0", "1", "2")),
        ("nc: 2", ("class0", "class1")),
        ("names: ['no', 'yes']", ("no", "yes")),
        ("names: [single]", ("single",)),
        ("train: images/train", None),
    ],
)
def test_names(write, text, names):
    assert read_data_yaml(write(text + "\n")).names == names


@pytest.mark.parametrize(
    "download",
    [
        "download: |\n  import pathlib\n  pathlib.Path('CANARY').write_text('x')\n",
        "download: bash -c 'touch CANARY'\n",
        "download: https://example.com/x.zip\n",
    ],
)
def test_fault_41_download_is_refused_and_never_run(write, tmp_path, download, monkeypatch):
    canary = tmp_path / "canary"
    monkeypatch.setattr(subprocess, "Popen", lambda *a, **k: pytest.fail("a process was started"))
    with pytest.raises(UntrustedFileError, match="download"):
        read_data_yaml(write(download.replace("CANARY", str(canary)) + TAIL), allow_outside=True)
    assert not canary.exists()


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("!!python/object/apply:os.system ['touch CANARY']", "line 1, column 1"),
        ("names: !!python/name:os.system", "line 1, column 8"),
        ("a: &a [x,x]\nb: &b [*a,*a]\nc: [*b,*b]\n", "aliases"),
        ("names:\n\t- a\n", "line 2, column 1"),
        ("", "empty"),
        ("- a\n- b\n", "a list"),
        ("names: [a\n", "line 2"),
        (b"names: [caf\xe9]\n", "UTF-8"),
        ("names: [a]\nnames: [b]\n", "twice"),
    ],
)
def test_fault_43_yaml_faults(write, tmp_path, text, match):
    if isinstance(text, str):
        text = text.replace("CANARY", str(tmp_path / "canary"))
    with pytest.raises(ConfigError, match=match):
        read_data_yaml(write(text))
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize(
    "place", ["../../etc", "/etc", "~", "~/x", "file:///etc", "$HOME", "images/../../..", "${HOME}/x", "x/$USER"]
)
@pytest.mark.parametrize("key", ["train", "path"])
def test_fault_44_paths_that_leave_the_folder(write, place, key):
    with pytest.raises(UntrustedFileError, match="leaves"):
        read_data_yaml(write(f"{key}: '{place}'\nnames: [a]\n"))


def test_fault_44_outside_on_request(write, tmp_path, monkeypatch):
    other = tmp_path / "other"
    other.mkdir()
    monkeypatch.setenv("HOME", str(tmp_path))
    for place in ("../other", str(other), f"file://{other}", "~/other", "$HOME/other"):
        described = read_data_yaml(write(f"train: {place}\nnames: [a]\n"), allow_outside=True)
        assert described.splits["train"] == [other]


def test_fault_44_a_link_does_not_help(write, tmp_path):
    file = write("train: link\nnames: [a]\n")
    (file.parent / "link").symlink_to(tmp_path)
    with pytest.raises(UntrustedFileError):
        read_data_yaml(file)


def test_inner_absolute_paths_are_fine(write):
    file = write("x: 1\n")
    described = read_data_yaml(write(f"path: {file.parent}\ntrain: {file.parent}/images/train\nnames: [a]\n"))
    assert described.splits["train"] == [file.parent / "images/train"]


def test_the_roboflow_way_is_understood(write):
    described = read_data_yaml(write("train: ../train/images\nval: ../val/images\nnames: [a]\n"))
    assert described.splits["train"] == [described.root / "train/images"]
    assert [finding.code for finding in described.findings] == ["path_mended"] * 2


def test_the_ultralytics_way_of_path_is_understood(write):
    described = read_data_yaml(write("path: ../datasets/set\ntrain: images/train\nnames: [a]\n"))
    assert described.splits["train"] == [described.root / "images/train"]
    assert [finding.code for finding in described.findings] == ["path_ignored"]


def test_network_addresses_are_not_followed(write):
    with pytest.raises(ConfigError, match="download"):
        read_data_yaml(write("train: https://example.com/x\nnames: [a]\n"), allow_outside=True)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("nc: 3\nnames: [a, b]", "nc is 3 but names has 2"),
        ("nc: true\nnames: [a]", "nc"),
        ("nc: 0", "nc"),
        ("names: {0: a, 2: b}", "class 1"),
        ("names: {a: 0}", "class numbers"),
        ("names: [a, b, a]", "classes 0 and 2"),
        ("names: [a, ' ']", "empty"),
        ("names: []", "names"),
        ("names: tomato", "list"),
        ("names: [a, null]", "None"),
        ("names: [1.0]", "1.0"),
        ("nc: 100000", "10000"),
        ("kpt_shape: [17, 3]\nnames: [a]", "kpt_shape"),
        ("train: nowhere\nnames: [a]", "nowhere"),
        ("train: 3\nnames: [a]", "not a path"),
        (f"train: {'x' * 5000}\nnames: [a]", "cannot be used"),
    ],
)
def test_fault_45_names_and_counts(write, text, match):
    with pytest.raises(ConfigError) as caught:
        read_data_yaml(write(text + "\n"))
    assert match in caught.value.message + caught.value.hint


@pytest.mark.parametrize("word", ["no", "yes", "on", "Off", "true"])
def test_fault_45_yaml_booleans_ask_for_quotes(write, word):
    with pytest.raises(ConfigError) as caught:
        read_data_yaml(write(f"names: [a, {word}]\n"))
    assert "quote it" in caught.value.hint


def test_fault_45_too_many_classes(write):
    for count, told in ((10_001, "10001 classes"), (100_000, "more than 50000 values")):
        with pytest.raises(ConfigError, match=told):
            read_data_yaml(write("names: [" + ", ".join(f"c{i}" for i in range(count)) + "]\n"))


def test_a_missing_test_folder_is_only_a_warning(write):
    described = read_data_yaml(write("test: images/nothing\n" + TAIL))
    assert [finding.code for finding in described.findings] == ["missing_folder"]
    assert "test" not in described.splits


def test_what_is_written_has_known_keys_only():
    text = write_data_yaml(("no", "1", "étoile", "a: b"))
    assert yaml.safe_load(text) == {
        "train": "images/train",
        "val": "images/val",
        "test": "images/test",
        "nc": 4,
        "names": {0: "no", 1: "1", 2: "étoile", 3: "a: b"},
    }
