import json
import os

import pytest
from builders import image_bytes, make_voc_dataset, make_yolo_dataset, tree_state, write_image
from label_files import boxes_of, coco, cvat, images, load, region, task, write_json
from tiny import Notes

from kdyolo.config import AuditSettings, DataSettings
from kdyolo.datasets.formats import convert as module
from kdyolo.datasets.formats.convert import TARGETS, convert, take_back
from kdyolo.errors import ConfigError, DatasetError, EnvironmentFault, RunExistsError, UntrustedFileError
from kdyolo.progress import Silent

FILES = {
    "yolo": {"data.yaml", "labels"},
    "coco": {"annotations"},
    "voc": {"Annotations", "ImageSets"},
    "label-studio": {"tasks.json", "label_config.xml"},
    "cvat": {"annotations.xml", "labels.json"},
}
REGION = region("cat", 25, 50, 50, 25)
IMAGE = '<image id="0" name="{}" width="64" height="48">{}</image>'
BOX = '<box label="cat" xtl="16" ytl="24" xbr="48" ybr="36"/>'
READ = ("cat", 16, 24, 48, 36)


def to(kind, source, out, force=False, audit=None, **data):
    return convert(source, kind, out, DataSettings(**data), audit or AuditSettings(), Silent(), force)


def back(source, folder, out, names=None, **data):
    return take_back(source, folder, out, DataSettings(**data), AuditSettings(), Silent(), names=names)


@pytest.mark.parametrize("kind", TARGETS)
def test_exactly_these_files_and_the_source_stays_as_it_is(tmp_path, kind):
    source = make_yolo_dataset(tmp_path / "in", splits={"train": 3, "val": 2, "test": 1})
    before = tree_state(source)
    facts = to(kind, source, tmp_path / "out")
    assert facts == {
        "source": str(source),
        "format": "yolo",
        "to": kind,
        "out": str(tmp_path / "out"),
        "images": 6,
        "boxes": 12,
        "classes": ["cat", "dog"],
        "splits": {"test": 1, "train": 3, "val": 2},
        "left_out": {},
        "warnings": {},
    }
    assert tree_state(source) == before
    pictures = {"JPEGImages"} if kind == "voc" else {"images"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == FILES[kind] | pictures
    assert {path.name for path in tmp_path.iterdir()} == {"in", "out"}


def test_a_set_without_splits_gets_none(tmp_path):
    source = make_yolo_dataset(tmp_path / "in", n=2)
    assert to("coco", source, tmp_path / "coco")["splits"] == {}
    assert [path.name for path in (tmp_path / "coco/annotations").iterdir()] == ["instances.json"]
    assert to("yolo", source, tmp_path / "yolo")["splits"] == {}
    assert (tmp_path / "yolo/data.yaml").read_text() == "nc: 2\nnames:\n  0: cat\n  1: dog\n"
    assert len(list((tmp_path / "yolo/images").iterdir())) == len(list((tmp_path / "yolo/labels").iterdir())) == 2


def test_images_of_two_splits_and_of_none_stay_so(tmp_path):
    source = make_voc_dataset(tmp_path / "in", n=4, lists={"train": [0, 1], "val": [1, 2]})
    for kind in ("yolo", "voc", "coco"):
        to(kind, source, tmp_path / kind)
        read = load(tmp_path / kind)
        assert sorted((s.name.rpartition("/")[2], split) for s in read.samples for split in s.given or ("",)) == [
            ("v0.jpg", "train"),
            ("v1.jpg", "train"),
            ("v1.jpg", "val"),
            ("v2.jpg", "val"),
            ("v3.jpg", ""),
        ]


def test_images_are_links_unless_they_need_mending(tmp_path):
    source = make_yolo_dataset(tmp_path / "in", n=3)
    whole = image_bytes(9)
    (source / "images/img001.jpg").write_bytes(whole + b"garbage behind the end")
    write_image(source / "images/img002.jpg", kind="PNG")
    to("yolo", source, tmp_path / "out")
    out = tmp_path / "out/images"
    assert (out / "img000.jpg").samefile(source / "images/img000.jpg")
    assert (out / "img001.jpg").read_bytes() == whole
    assert (out / "img002.png").samefile(source / "images/img002.jpg")


def test_names_that_no_other_program_would_take(tmp_path):
    source = tmp_path / "in"
    for number, name in enumerate(["a b.jpg", "new\nline.jpg", os.fsdecode(b"b\xff.jpg"), "x/same.jpg", "y/same.jpg"]):
        write_image(source / name, number)
        (source / name).with_suffix(".txt").write_text("0 0.5 0.5 0.5 0.5\n")
    (source / "classes.txt").write_text("<b>&\x07\n")
    for kind in TARGETS:
        to(kind, source, tmp_path / kind)
        read = load(tmp_path / kind, format=kind)
        assert [sample.cls.tolist() for sample in read.samples] == [[0]] * 5
        assert read.names[0].startswith("<b>&")


def test_bad_images_are_left_out_and_counted(tmp_path):
    source = make_yolo_dataset(tmp_path / "in", n=20)
    (source / "images/img000.jpg").write_bytes(b"")
    (source / "labels/img001.txt").write_text("7 0.5 0.5 0.1 0.1\n")
    write_image(source / "images/img002.jpg", 2)
    facts = to("coco", source, tmp_path / "out")
    assert (facts["images"], facts["left_out"]) == (18, {"class_id": 1, "empty_file": 1})
    with pytest.raises(DatasetError, match="2 of 20 images") as caught:
        to("coco", source, tmp_path / "other", audit=AuditSettings(max_bad_fraction=0.05))
    assert "img000.jpg: The file is empty." in caught.value.hint
    assert "audit.max_bad_fraction=0.11" in caught.value.hint
    assert not (tmp_path / "other").exists()


def test_two_images_that_share_a_label_are_left_out(tmp_path):
    source = make_yolo_dataset(tmp_path / "in", n=30)
    write_image(source / "images/img003.png", 99)
    assert to("voc", source, tmp_path / "out")["left_out"] == {"label_collision": 2}


def test_nothing_usable(tmp_path):
    source = make_yolo_dataset(tmp_path / "in", n=1)
    (source / "images/img000.jpg").write_bytes(b"")
    with pytest.raises(DatasetError, match="No image") as caught:
        to("coco", source, tmp_path / "out", audit=AuditSettings(max_bad_fraction=1))
    assert "empty" in caught.value.hint


def test_an_existing_folder_is_moved_aside_on_request_only(tmp_path):
    source = make_yolo_dataset(tmp_path / "in", n=2)
    out = tmp_path / "deep/out"
    to("coco", source, out)
    (out / "mine.txt").write_text("mine")
    with pytest.raises(RunExistsError) as caught:
        to("yolo", source, out)
    assert "--force" in caught.value.hint
    assert not (out / "data.yaml").exists()
    to("yolo", source, out, force=True)
    assert (out / "data.yaml").exists()
    assert (tmp_path / "deep/out-1/mine.txt").read_text() == "mine"
    (tmp_path / "empty").mkdir()
    to("yolo", source, tmp_path / "empty")
    (tmp_path / "file").write_text("")
    with pytest.raises(RunExistsError):
        to("yolo", source, tmp_path / "file")


def test_a_failure_half_way_leaves_everything_as_it_was(tmp_path, monkeypatch):
    source = make_yolo_dataset(tmp_path / "in", n=2)
    to("coco", source, tmp_path / "out")
    before = tree_state(tmp_path)

    def fail(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "write_coco", fail)
    with pytest.raises(KeyboardInterrupt):
        to("coco", source, tmp_path / "out", force=True)
    assert tree_state(tmp_path) == before
    assert {path.name for path in tmp_path.iterdir()} == {"in", "out"}


@pytest.mark.parametrize("out", ["in", "in/out", "in/images", "."])
def test_never_into_the_source_nor_over_it(tmp_path, out):
    source = make_yolo_dataset(tmp_path / "in", n=2)
    with pytest.raises(ConfigError, match="inside each other"):
        to("coco", source, tmp_path / out, force=True)


def test_a_place_that_cannot_be_written(tmp_path):
    source = make_yolo_dataset(tmp_path / "in", n=2)
    (tmp_path / "file").write_text("")
    with pytest.raises(EnvironmentFault, match="Cannot write"):
        to("coco", source, tmp_path / "file/out")


def test_the_format_may_be_chosen(tmp_path):
    source = make_voc_dataset(tmp_path / "in", n=2)
    (source / "JPEGImages/v0.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    with pytest.raises(ConfigError, match="both"):
        to("coco", source, tmp_path / "out")
    assert to("coco", source, tmp_path / "out", format="voc")["boxes"] == 3


def test_written_predictions_are_not_annotations(tmp_path):
    source = make_yolo_dataset(tmp_path / "in", n=3, boxes=1)
    (source / "labels/img000.txt").write_text("0 0.5 0.5 0.5 0.5 0.25\n1 0.5 0.5 0.4 0.4 0.75\n")
    (source / "labels/img001.txt").unlink()
    to("label-studio", source, tmp_path / "x/../out")
    first, second, third = json.loads((tmp_path / "out/tasks.json").read_text())
    assert first["data"] == {"image": "/data/local-files/?d=out/images/img000.jpg"}
    (prediction,) = first["predictions"]
    assert (prediction["score"], [r["score"] for r in prediction["result"]]) == (0.5, [0.25, 0.75])
    assert prediction["result"][0]["value"] == {
        "x": 25.0,
        "y": 25.0,
        "width": 50.0,
        "height": 50.0,
        "rotation": 0,
        "rectanglelabels": ["cat"],
    }
    assert set(second) == {"data"}
    assert set(third) == {"data", "annotations"}
    config = (tmp_path / "out/label_config.xml").read_text()
    assert '<Label value="cat" />' in config
    assert '<RectangleLabels name="label" toName="image">' in config


def test_cvat_gets_its_labels_with_a_place_for_scores(tmp_path):
    source = make_yolo_dataset(tmp_path / "in", splits={"train": 1}, boxes=1)
    next((source / "labels/train").iterdir()).write_text("1 0.5 0.5 0.5 0.5 0.25\n")
    to("cvat", source, tmp_path / "out")
    assert json.loads((tmp_path / "out/labels.json").read_text())[1] == {
        "name": "dog",
        "type": "rectangle",
        "attributes": [{"name": "score", "mutable": False, "input_type": "text", "default_value": "", "values": [""]}],
    }
    xml = (tmp_path / "out/annotations.xml").read_text()
    assert '<image id="0" name="img000.jpg" width="64" height="48" subset="train">' in xml
    assert '<box label="dog" source="auto" occluded="0" xtl="16" ytl="12" xbr="48" ybr="36" z_order="0">' in xml
    assert '<attribute name="score">0.250000</attribute>' in xml


def test_yolo_keeps_confidences_beside_the_labels(tmp_path):
    source = make_yolo_dataset(tmp_path / "in", n=1)
    (source / "labels/img000.txt").write_text("0 0.5 0.5 0.5 0.5 0.25\n")
    to("yolo", source, tmp_path / "out")
    assert (tmp_path / "out/labels/img000.txt").read_text() == "0 0.500000 0.500000 0.500000 0.500000\n"
    assert (tmp_path / "out/confidences.csv").read_text() == "view,box,confidence\nimages/img000.jpg,0,0.25\n"


def test_whole_pixels_stay_whole_in_voc(tmp_path):
    to("voc", make_voc_dataset(tmp_path / "in", n=1), tmp_path / "out")
    xml = (tmp_path / "out/Annotations/v0.xml").read_text()
    for text in ("<xmin>10</xmin>", "<ymax>40</ymax>", "<width>64</width>", "<filename>v0.jpg</filename>"):
        assert text in xml


def test_reviewed_label_studio_annotations_come_back(tmp_path):
    folder = images(tmp_path / "images", "a.jpg", "b.jpg", "c.jpg", "d.jpg")
    guess = {"score": 0.5, "result": [REGION]}
    tasks = [
        task("/data/upload/1/0123abcd-a.jpg", [REGION], predictions=[guess]),
        task("b.jpg", predictions=[guess]),
        task("c.jpg"),
    ]
    before = tree_state(folder)
    watch = Notes()
    source = write_json(tmp_path / "export.json", tasks)
    facts = take_back(source, folder, tmp_path / "out", DataSettings(), AuditSettings(), watch)
    assert watch.warnings == ["Nobody has reviewed the predictions of 1 of the images; they were taken as labels."]
    assert (facts["format"], facts["images"], facts["boxes"], facts["unlabelled"], facts["unreviewed"]) == (
        "label-studio", 2, 2, 2, 1,
    )  # fmt: skip
    read = load(tmp_path / "out")
    assert (read.format, read.names, boxes_of(read, "a.jpg"), boxes_of(read, "b.jpg")) == (
        "yolo", ("cat",), [READ], [READ],
    )  # fmt: skip
    assert not (tmp_path / "out/confidences.csv").exists()
    assert tree_state(folder) == before


def test_reviewed_cvat_annotations_come_back_with_their_folder_or_file(tmp_path):
    folder = images(tmp_path / "images", "a.jpg", "sub/b.jpg")
    (tmp_path / "export").mkdir()
    xml = cvat(IMAGE.format("a.jpg", BOX), IMAGE.format("b.jpg", ""))
    (tmp_path / "export/annotations.xml").write_text(xml)
    for number, source in enumerate((tmp_path / "export", tmp_path / "export/annotations.xml")):
        facts = back(source, folder, tmp_path / str(number))
        assert (facts["images"], facts["boxes"], facts["classes"]) == (2, 1, ["dog", "cat"])
        assert boxes_of(load(tmp_path / str(number)), "a.jpg") == [READ]


def test_classes_may_be_given(tmp_path):
    folder = images(tmp_path / "images", "a.jpg")
    source = write_json(tmp_path / "export.json", [task("a.jpg", [REGION])])
    assert back(source, folder, tmp_path / "out", names=["owl", "cat"])["classes"] == ["owl", "cat"]
    with pytest.raises(DatasetError, match="No image") as caught:
        back(source, folder, tmp_path / "other", names=["owl"])
    assert "'cat' is unknown; known: owl" in caught.value.hint


def test_coco_comes_back_too(tmp_path):
    folder = images(tmp_path / "images", "a.jpg")
    source = write_json(tmp_path / "x.json", coco({1: "a.jpg"}, [(1, 1, (16, 24, 32, 12))]))
    assert back(source, folder, tmp_path / "out")["classes"] == ["cat", "dog"]
    assert boxes_of(load(tmp_path / "out"), "a.jpg") == [READ]


def test_imports_that_cannot_be(tmp_path):
    folder = images(tmp_path / "images", "a.jpg")
    export = write_json(tmp_path / "e/export.json", [task("a.jpg", [REGION])])
    (tmp_path / "notes.txt").write_text("")
    for source, place, told in (
        (tmp_path / "gone.json", folder, "There is no"),
        (export, tmp_path / "gone", "There is no folder"),
        (tmp_path / "notes.txt", folder, "holds no annotations"),
        (folder, folder, "holds no annotations"),
    ):
        with pytest.raises(ConfigError, match=told):
            back(source, place, tmp_path / "out")
    with pytest.raises(ConfigError, match="holds no annotations"):
        back(export, folder, tmp_path / "out", format="yolo")
    with pytest.raises(DatasetError, match="no COCO data set"):
        back(export, folder, tmp_path / "out", format="coco")
    write_json(tmp_path / "e/coco.json", coco({1: "a.jpg"}))
    with pytest.raises(ConfigError, match="holds coco and label-studio"):
        back(tmp_path / "e", folder, tmp_path / "out")
    with pytest.raises(ConfigError, match="inside each other"):
        back(export, folder, folder / "out")
    climbing = write_json(tmp_path / "climbing.json", coco({1: "../a.jpg"}, [(1, 1, (0, 0, 9, 9))]))
    with pytest.raises(UntrustedFileError):
        back(climbing, folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()
