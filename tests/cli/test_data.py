"""`kdyolo data ...`: flags, what is printed where, and exit codes."""

import json

import pytest
from builders import make_voc_dataset, make_yolo_dataset
from label_files import images, load, region, task, write_json
from typer.testing import CliRunner

from kdyolo import api
from kdyolo.cli.main import app
from kdyolo.errors import ConfigError

FLAGS = {
    "convert": ["--to", "--out", "--force", "--format", "--allow-outside", "--config", "--set", "--json", "--quiet"],
    "export": ["--to", "--out", "--split", "--all-scores", "--force", "--json", "--quiet"],
    "import": [
        "--images",
        "--out",
        "--classes",
        "--force",
        "--format",
        "--allow-outside",
        "--set",
        "--json",
        "--quiet",
    ],
}


@pytest.mark.parametrize("name", FLAGS)
def test_help_starts_with_examples_and_has_every_flag(monkeypatch, name):
    monkeypatch.setenv("COLUMNS", "140")
    result = CliRunner().invoke(app, ["data", name, "--help"])
    assert result.exit_code == 0
    lines = [line.strip() for line in result.stdout.splitlines() if line.strip()]
    assert lines[1] == "Examples"
    assert lines[2].startswith(f"$ kdyolo data {name} ")
    for flag in FLAGS[name]:
        assert f"{flag} " in result.stdout, flag
    used = {word for line in lines if line.startswith("$ kdyolo") for word in line.split() if word.startswith("--")}
    assert used <= set(FLAGS[name])


def test_the_group_lists_its_commands(monkeypatch):
    monkeypatch.setenv("COLUMNS", "140")
    shown = CliRunner().invoke(app, ["data", "--help"]).stdout
    assert all(f" {name} " in shown for name in FLAGS)
    assert "$ kdyolo data export runs/first" in shown
    assert " data " in CliRunner().invoke(app, ["--help"]).stdout


def test_convert(kdyolo, tmp_path):
    make_voc_dataset(tmp_path / "voc", n=3, lists={"train": [0, 1], "val": [2]})
    done = kdyolo("data", "convert", "voc", "--to", "coco", "--out", "coco")
    assert (done.code, done.stdout.strip()) == (0, "3 images (train 2, val 1), 4 boxes, 2 classes: coco (voc -> coco)")
    assert "Checking images" in done.stderr
    again = kdyolo("data", "convert", "voc", "--to", "yolo", "--out", "coco", "--json")
    assert (again.code, again.json["exit_code"]) == (5, 5)
    assert "--force" in again.json["hint"]
    forced = kdyolo("data", "convert", "voc", "--to", "yolo", "--out", "coco", "--force", "--json")
    assert (forced.code, forced.json["images"], forced.json["format"]) == (0, 3, "voc")
    assert "coco-1" in forced.stderr
    assert load(tmp_path / "coco").format == "yolo"
    quiet = kdyolo("data", "convert", "voc", "--to", "cvat", "--out", "cvat", "--quiet")
    assert (quiet.code, quiet.stdout, quiet.stderr) == (0, "", "")


def test_convert_asks_which_format_and_says_what_is_left_out(kdyolo, tmp_path):
    source = make_voc_dataset(tmp_path / "voc", n=12)
    (source / "JPEGImages/v0.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    (source / "Annotations/v1.xml").write_text("")
    asked = kdyolo("data", "convert", "voc", "--to", "coco", "--out", "out")
    assert (asked.code, "--format" in asked.stderr) == (2, True)
    done = kdyolo("data", "convert", "voc", "--to", "coco", "--out", "out", "--format", "voc")
    assert "Images left out: bad_xml 1" in done.stdout
    assert "`kdyolo audit voc` names them." in done.stdout
    strict = ["-S", "audit.max_bad_fraction=0", "--format", "voc"]
    failed = kdyolo("data", "convert", "voc", "--to", "coco", "--out", "other", *strict)
    assert (failed.code, "Annotations/v1.xml: This is no VOC annotation" in failed.stderr) == (3, True)
    chosen = kdyolo("data", "convert", "voc", "--to", "coco", "--out", "third", "-S", "data.format=yolo", "--json")
    assert chosen.json["format"] == "yolo"


def test_wrong_flags(kdyolo, tmp_path):
    make_yolo_dataset(tmp_path / "in", n=2)
    assert kdyolo("data", "convert", "in", "--to", "tfrecord", "--out", "out").code == 2
    assert kdyolo("data", "convert", "in", "--to", "coco").code == 2
    unknown = kdyolo("data", "convert", "in", "--to", "coco", "--out", "out", "-S", "data.fromat=voc")
    assert (unknown.code, "Did you mean 'data.format'" in unknown.stderr) == (2, True)


def test_import(kdyolo, tmp_path):
    images(tmp_path / "images", "a.jpg", "b.jpg")
    write_json(tmp_path / "e.json", [task("a.jpg", [region("cat", 0, 0, 50, 50)]), task("b.jpg")])
    flags = ["--images", "images", "--out", "clean", "--classes", "owl, cat"]
    done = kdyolo("data", "import", "e.json", *flags)
    assert done.stdout.splitlines() == [
        "1 image, 1 box, 2 classes: clean (label-studio -> yolo)",
        "Not labelled, left out: 1",
    ]
    assert "kdyolo split clean --run" in done.stderr
    assert load(tmp_path / "clean").names == ("owl", "cat")
    forced = kdyolo("data", "import", "e.json", *flags, "--force", "--json", "-S", "audit.min_side=99")
    assert (forced.code, forced.json["exit_code"]) == (3, 3)


def test_export_hands_its_flags_on(kdyolo, monkeypatch):
    seen = {}

    def export(*arguments, **more):
        seen.update(more, positional=[str(a) for a in arguments])
        more.pop("progress")
        return {"run": "r", "to": "cvat", "out": "o", "images": 1, "boxes": 2, "classes": ["a"], "splits": {}}

    monkeypatch.setattr(api, "export_labels", export)
    done = kdyolo("data", "export", "r", "--to", "cvat", "--out", "o", "--split", "pool", "--all-scores", "--force")
    assert (seen["positional"], seen["split"], seen["all_scores"], seen["force"]) == (
        ["r", "cvat", "o"],
        "pool",
        True,
        True,
    )
    assert done.stdout.strip() == "1 image, 2 boxes, 1 class: o"
    assert "kdyolo data import" in done.stderr
    assert kdyolo("data", "export", "r", "--to", "voc", "--out", "o").code == 2


def test_export_of_a_run_without_labels(kdyolo):
    done = kdyolo("data", "export", "nothing", "--to", "coco", "--out", "o", "--json")
    assert (done.code, "no run at" in done.json["error"]) == (2, True)


def test_the_same_in_python(tmp_path):
    import kdyolo

    make_yolo_dataset(tmp_path / "in", n=2)
    facts = kdyolo.convert(tmp_path / "in", "coco", tmp_path / "coco", settings={"data.format": "yolo"})
    assert json.loads(json.dumps(facts)) == facts
    file = tmp_path / "coco/annotations/instances.json"
    back = kdyolo.import_labels(file, tmp_path / "coco/images", tmp_path / "back")
    assert (back["boxes"], back["classes"]) == (facts["boxes"], facts["classes"])
    with pytest.raises(ConfigError, match="no run at"):
        kdyolo.export_labels(tmp_path / "none", "coco", tmp_path / "x")
