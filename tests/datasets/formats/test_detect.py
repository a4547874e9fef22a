import itertools
import os
import pickle
from pathlib import Path

import label_files
import numpy as np
import pytest
from builders import image_bytes, make_voc_dataset, make_yolo_dataset, voc_xml, write_image

from kdyolo.boxes import denormalise, xywh_to_xyxy
from kdyolo.config import AuditSettings, DataSettings
from kdyolo.datasets.auditing.checks import check_dataset, require_sound
from kdyolo.datasets.auditing.codes import CODES
from kdyolo.datasets.formats.detect import read
from kdyolo.errors import ConfigError, DatasetError, UntrustedFileError
from kdyolo.progress import Silent

ROW = "0 0.5 0.5 0.4 0.4\n"


def load(source, checked=True, audit=None, **data):
    audit = audit or AuditSettings()
    dataset = read(source, DataSettings(**data), audit)
    if checked:
        check_dataset(dataset, audit, Silent())
    return dataset


def codes(dataset):
    """What was found, without how the boxes are spread over classes and images."""
    kinds = {finding.code for finding in dataset.findings}
    return sorted(code for code in kinds if CODES[code].area != "classes" or code == "no_names")


def write_pair(image: Path, label: Path, seed=0, row=ROW):
    write_image(image, seed)
    label.parent.mkdir(parents=True, exist_ok=True)
    label.write_text(row)


def test_yolo_with_data_yaml_and_splits(tmp_path):
    dataset = load(make_yolo_dataset(tmp_path / "d", splits={"train": 3, "val": 2, "test": 1}))
    assert (dataset.format, dataset.names, codes(dataset)) == ("yolo", ("cat", "dog"), [])
    assert [sample.given for sample in dataset.samples] == [("test",)] + [("train",)] * 3 + [("val",)] * 2
    assert all(len(sample.cls) == 2 for sample in dataset.samples)


def test_the_yaml_itself_may_be_the_source(tmp_path):
    folder = make_yolo_dataset(tmp_path / "d", n=3)
    os.replace(folder / "data.yaml", folder / "my.yml")
    assert len(load(folder / "my.yml").samples) == 3
    assert load(folder).names == ("cat", "dog")


@pytest.mark.parametrize(
    ("image", "label"),
    [
        ("images/a.jpg", "labels/a.txt"),
        ("images/train/deep/er/a.JPG", "labels/train/deep/er/a.txt"),
        ("x/images/a.jpeg", "x/labels/a.txt"),
        ("train/images/a.PNG", "train/labels/a.txt"),
        ("a.jpg", "a.txt"),
        ("healthy/a.JPG", "healthy/a.TXT"),
        ("pictures/a.jpg", "labels/pictures/a.txt"),
        ("JPEGImages/a.jpg", "labels/a.txt"),
        ("images/images/a.jpg", "images/labels/a.txt"),
        ("images/a b.c é😀.jpg", "labels/a b.c é😀.txt"),
    ],
)
def test_labels_are_found(tmp_path, image, label):
    write_pair(tmp_path / image, tmp_path / label)
    (sample,) = load(tmp_path).samples
    assert (sample.name, sample.label) == (image, tmp_path / label)
    assert sample.cls.tolist() == [0]


@pytest.mark.parametrize(
    ("folder", "split"), [("train", "train"), ("VALID", "val"), ("validation", "val"), ("test", "test")]
)
@pytest.mark.parametrize("layout", ["images/{}/kind", "{}/images"])
def test_splits_by_folder_name(tmp_path, folder, split, layout):
    image = tmp_path / layout.format(folder) / "a.jpg"
    write_pair(image, image.with_suffix(".txt"))
    (sample,) = load(tmp_path).samples
    assert sample.given == (split,)


@pytest.mark.parametrize("file", ["classes.txt", "obj.names", "labels/classes.txt"])
def test_names_from_a_list(tmp_path, file):
    write_pair(tmp_path / "images/a.jpg", tmp_path / "labels/a.txt", row="1 0.5 0.5 0.1 0.1\n")
    (tmp_path / file).write_text("cat\ndog\nowl\n")
    dataset = load(tmp_path)
    assert (dataset.names, codes(dataset)) == (("cat", "dog", "owl"), [])


def test_contradicting_name_lists(tmp_path):
    write_pair(tmp_path / "a.jpg", tmp_path / "a.txt")
    (tmp_path / "classes.txt").write_text("cat\n")
    (tmp_path / "obj.names").write_text("dog\n")
    with pytest.raises(ConfigError, match="different class names"):
        load(tmp_path)


def test_no_names_at_all(tmp_path):
    write_pair(tmp_path / "a.jpg", tmp_path / "a.txt", row="3 0.5 0.5 0.2 0.2\n")
    dataset = load(tmp_path)
    assert (dataset.names, codes(dataset)) == (("class0", "class1", "class2", "class3"), ["no_names"])


def test_lists_of_images(tmp_path):
    folder = make_yolo_dataset(tmp_path / "d", n=5)
    (folder / "train.txt").write_text("./images/img000.jpg\nimages\\img001.jpg\n\n")
    (folder / "val.txt").write_text(f"{folder}/images/img002.jpg\nimages/gone.jpg\n" + "x" * 300 + ".jpg\n")
    (folder / "data.yaml").write_text("train: train.txt\nval: [val.txt]\nnames: [cat, dog]\n")
    dataset = load(folder)
    assert {s.name: (s.given, s.quarantine) for s in dataset.samples} == {
        "x" * 300 + ".jpg": (("val",), "missing_image"),
        "images/gone.jpg": (("val",), "missing_image"),
        "images/img000.jpg": (("train",), ""),
        "images/img001.jpg": (("train",), ""),
        "images/img002.jpg": (("val",), ""),
    }
    assert codes(dataset) == ["missing_image", "not_listed"]


def test_fault_44_a_list_cannot_lead_out(tmp_path):
    folder = make_yolo_dataset(tmp_path / "d", n=2)
    write_image(tmp_path / "out.jpg")
    (folder / "data.yaml").write_text("train: train.txt\nnames: [cat, dog]\n")
    for line in ("../out.jpg", str(tmp_path / "out.jpg"), "~/x.jpg"):
        (folder / "train.txt").write_text(f"images/img000.jpg\n{line}\n")
        with pytest.raises(UntrustedFileError, match="line 2"):
            load(folder)


def test_outside_folders_on_request(tmp_path):
    outside = make_yolo_dataset(tmp_path / "out", n=3)
    (tmp_path / "d").mkdir()
    (tmp_path / "d/data.yaml").write_text(f"train: {outside}/images\nnames: [cat, dog]\n")
    dataset = load(tmp_path / "d", allow_outside=True)
    assert [len(sample.cls) for sample in dataset.samples] == [2, 2, 2]


def test_fault_18_links_out_are_quarantined_and_their_labels_unread(tmp_path):
    folder = make_yolo_dataset(tmp_path / "d", n=3)
    write_pair(tmp_path / "out.jpg", tmp_path / "out.txt")
    (folder / "images/link.jpg").symlink_to(tmp_path / "out.jpg")
    (folder / "images/gone.jpg").symlink_to(tmp_path / "nothing.jpg")
    (folder / "labels/img000.txt").unlink()
    (folder / "labels/img000.txt").symlink_to(tmp_path / "out.txt")
    dataset = load(folder)
    bad = {sample.name: sample.quarantine for sample in dataset.samples if sample.quarantine}
    assert bad == {"images/link.jpg": "outside_root", "images/gone.jpg": "broken_link"}
    assert next(sample.label for sample in dataset.samples if sample.name == "images/img000.jpg") is None
    assert "missing_label" in codes(dataset)


@pytest.mark.timeout(20)
def test_fault_19_a_pipe_as_label_does_not_hang(tmp_path):
    folder = make_yolo_dataset(tmp_path / "d", n=2)
    (folder / "labels/img000.txt").unlink()
    os.mkfifo(folder / "labels/img000.txt")
    assert codes(load(folder)) == ["missing_label"]


def test_fault_20_21_odd_names(tmp_path):
    folder = make_yolo_dataset(tmp_path / "d", n=1)
    names = ["é ü.jpg", "😀 smile.jpg", "new\nline.jpg", os.fsdecode(b"b\xffd.jpg")]
    for i, name in enumerate(names):
        write_pair(folder / "images" / name, (folder / "labels" / name).with_suffix(".txt"), seed=i + 5)
    dataset = load(folder)
    assert {sample.name for sample in dataset.usable} == {f"images/{name}" for name in [*names, "img000.jpg"]}
    assert all(len(sample.cls) for sample in dataset.usable)


def test_fault_22_two_images_one_label(tmp_path):
    folder = make_yolo_dataset(tmp_path / "d", n=12)
    write_image(folder / "images/img003.png", seed=77)
    dataset = load(folder)
    assert [s.name for s in dataset.samples if s.quarantine == "label_collision"] == [
        "images/img003.jpg",
        "images/img003.png",
    ]
    assert all(f.severity == "error" for f in dataset.findings if f.code == "label_collision")


def test_fault_23_names_that_differ_in_case_only(tmp_path):
    write_pair(tmp_path / "a.jpg", tmp_path / "a.txt", 1)
    write_pair(tmp_path / "A.jpg", tmp_path / "A.txt", 2)
    if len(list(tmp_path.iterdir())) < 4:
        pytest.skip("this file system ignores case")
    dataset = load(tmp_path)
    assert codes(dataset) == ["case_only_name", "no_names"]
    assert len(dataset.usable) == 2


def test_fault_25_26_empty_and_missing_labels(tmp_path):
    folder = make_yolo_dataset(tmp_path / "d", n=12)
    (folder / "labels/img001.txt").write_text("")
    (folder / "labels/img002.txt").unlink()
    dataset = load(folder)
    assert [(f.code, f.severity, f.file) for f in dataset.findings] == [
        ("missing_label", "warning", "images/img002.jpg")
    ]
    assert len(dataset.usable) == 12
    strict = load(folder, audit=AuditSettings(require_labels=True))
    assert [sample.name for sample in strict.samples if sample.quarantine] == ["images/img002.jpg"]


def test_fault_27_only_the_image_with_the_bad_line_is_lost(tmp_path):
    folder = make_yolo_dataset(tmp_path / "d", n=12)
    with (folder / "labels/img004.txt").open("a") as file:
        file.write("0 nan 0.5 0.1 0.1\n")
    dataset = load(folder)
    assert [(f.code, f.file, f.line) for f in dataset.findings] == [("not_finite", "labels/img004.txt", 3)]
    assert len(dataset.usable) == 11
    assert len(load(folder, audit=AuditSettings(bad_label="drop_line")).usable) == 12


def test_fault_40_orphans(tmp_path):
    folder = make_yolo_dataset(tmp_path / "d", n=3)
    (folder / "labels/gone.txt").write_text(ROW)
    (folder / "elsewhere").mkdir()
    (folder / "elsewhere/stray.txt").write_text(ROW)
    (folder / "README.txt").write_text("Thank you for downloading.\n")
    (folder / "classes.txt").write_text("cat\ndog\n")
    dataset = load(folder)
    assert sorted(f.file for f in dataset.findings if f.code == "orphan_label") == [
        "elsewhere/stray.txt",
        "labels/gone.txt",
    ]


class _Bomb:
    def __init__(self, canary: Path) -> None:
        self.canary = str(canary)

    def __reduce__(self):
        return (os.mkdir, (self.canary,))


def test_fault_42_label_caches_are_never_opened(tmp_path):
    folder = make_yolo_dataset(tmp_path / "d", n=3)
    canary = tmp_path / "canary"
    for name in ("labels.cache", "labels/train.cache", "images/x.cache"):
        (folder / name).write_bytes(pickle.dumps(_Bomb(canary)))
    (folder / "labels.cache.npy").write_bytes(pickle.dumps(_Bomb(canary)))
    assert len(load(folder).usable) == 3
    assert not canary.exists()


def test_images_that_cannot_be_used_are_quarantined(tmp_path):
    folder = make_yolo_dataset(tmp_path / "d", n=20)
    (folder / "images/img000.jpg").write_bytes(b"")
    (folder / "images/img001.jpg").write_bytes(image_bytes()[:300])
    audit = AuditSettings()
    dataset = load(folder)
    assert {s.name: s.quarantine for s in dataset.samples if s.quarantine} == {
        "images/img000.jpg": "empty_file",
        "images/img001.jpg": "truncated",
    }
    require_sound(dataset, audit, tmp_path / "audit.csv")
    with pytest.raises(DatasetError, match=r"2 of 20.*img000\.jpg: empty_file") as caught:
        require_sound(dataset, AuditSettings(max_bad_fraction=0.09), tmp_path / "audit.csv")
    assert "audit.csv" in caught.value.hint


def test_identical_images_with_other_labels_are_told(tmp_path):
    folder = make_yolo_dataset(tmp_path / "d", n=3)
    (folder / "images/copy.jpg").write_bytes((folder / "images/img000.jpg").read_bytes())
    (folder / "labels/copy.txt").write_text(ROW)
    assert codes(load(folder)) == ["identical_image", "labels_differ"]


def test_boxes_over_the_whole_image_are_told(tmp_path):
    folder = make_yolo_dataset(tmp_path / "d", n=12, boxes=1)
    for label in (folder / "labels").iterdir():
        label.write_text("0 0.5 0.5 1.0 1.0\n")
    assert codes(load(folder)) == ["whole_image_boxes"]


def test_voc(tmp_path):
    folder = make_voc_dataset(
        tmp_path / "v", n=6, lists={"train": [0, 1, 2], "val": [3], "test": [4], "trainval": [0, 3]}
    )
    dataset = load(folder)
    assert (dataset.format, dataset.names, codes(dataset)) == ("voc", ("cat", "dog"), [])
    assert [sample.given for sample in dataset.samples] == [("train",)] * 3 + [("val",), ("test",), ()]
    first = dataset.samples[0]
    assert first.cls.tolist() == [0, 1]
    assert np.allclose(denormalise(xywh_to_xyxy(first.xywhn), 64, 48), [[4, 4, 30, 30], [10, 12, 50, 40]])


def test_voc_beside_images_and_only_trainval(tmp_path):
    for i, place in enumerate(("train/a.JPG", "test/deep/b.jpg")):
        write_image(tmp_path / place, i)
        (tmp_path / place).with_suffix(".xml").write_text(voc_xml([("ace", 1, 1, 20, 20)]))
    assert [(s.name, s.given) for s in load(tmp_path).samples] == [
        ("test/deep/b.jpg", ("test",)),
        ("train/a.JPG", ("train",)),
    ]
    folder = make_voc_dataset(tmp_path / "v", n=4, lists={"trainval": [0, 1, 2], "test": [3]})
    assert [s.given for s in load(folder).samples] == [("train",)] * 3 + [("test",)]


def test_voc_imperfections_are_mended_and_told(tmp_path):
    folder = make_voc_dataset(tmp_path / "v", n=12)
    xml = folder / "Annotations/v1.xml"
    xml.write_text(voc_xml([("cat", -3, 1, 70, 20), ("cat", 9, 9, 9, 9), ("cat", 1, 1, 5, 5), ("cat", 1, 1, 5, 5)]))
    (folder / "Annotations/v2.xml").write_text(voc_xml([("dog", 1, 1, 5, 5)], size=(48, 64)))
    (folder / "Annotations/stray.xml").write_text(voc_xml([]))
    (folder / "Annotations/v4.xml").unlink()
    dataset = load(folder)
    assert codes(dataset) == [
        "clipped",
        "degenerate",
        "duplicate_line",
        "missing_label",
        "orphan_label",
        "size_mismatch",
    ]
    assert len(dataset.usable) == 12
    sample = next(s for s in dataset.samples if s.name.endswith("v1.jpg"))
    assert np.allclose(denormalise(xywh_to_xyxy(sample.xywhn), 64, 48), [[0, 1, 64, 20], [1, 1, 5, 5]])


@pytest.mark.parametrize(
    ("xml", "code"),
    [
        ("<annotation><object>", "bad_xml"),
        ("<svg></svg>", "bad_xml"),
        ("", "bad_xml"),
        ('<!DOCTYPE a [<!ENTITY b "boom">]><annotation>&b;</annotation>', "bad_xml"),
        ('<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><annotation>&b;</annotation>', "bad_xml"),
        ("<annotation><object><name>cat</name></object></annotation>", "bad_object"),
        (voc_xml([("", 1, 1, 9, 9)]), "bad_object"),
        (voc_xml([("cat", "nan", 1, 9, 9)]), "not_finite"),
        ("<annotation>" + " " * 5_000_000 + "</annotation>", "label_too_large"),
    ],
)
def test_voc_faults_quarantine_one_image(tmp_path, xml, code):
    folder = make_voc_dataset(tmp_path / "v", n=12)
    (folder / "Annotations/v5.xml").write_text(xml)
    dataset = load(folder)
    assert {s.name: s.quarantine for s in dataset.samples if s.quarantine} == {"JPEGImages/v5.jpg": code}


def test_voc_boxes_follow_exif_orientation(tmp_path):
    from PIL import Image

    exif = Image.Exif()
    exif[0x0112] = 6
    write_image(tmp_path / "a.jpg", exif=exif.tobytes())
    (tmp_path / "a.xml").write_text(voc_xml([("cat", 0, 0, 24, 32)], size=(48, 64)))
    dataset = load(tmp_path)
    assert np.allclose(dataset.samples[0].xywhn, [[0.25, 0.25, 0.5, 0.5]])
    assert codes(dataset) == []


def test_errors_say_how_to_choose(tmp_path):
    both = make_voc_dataset(tmp_path / "both", n=3)
    (both / "JPEGImages/v0.txt").write_text(ROW)
    with pytest.raises(ConfigError, match="both") as caught:
        load(both)
    assert "data.format=voc" in caught.value.hint
    assert load(both, format="yolo").format == "yolo"
    assert load(both, format="voc").format == "voc"


def test_nothing_useful_is_an_error(tmp_path):
    with pytest.raises(ConfigError, match="There is no"):
        load(tmp_path / "gone")
    with pytest.raises(DatasetError, match="no image"):
        load(tmp_path)
    write_image(tmp_path / "a.jpg")
    with pytest.raises(DatasetError, match="no label file"):
        load(tmp_path)
    (tmp_path / "instances.json").write_text("{}")
    with pytest.raises(DatasetError) as caught:
        load(tmp_path)
    assert "COCO" in caught.value.hint
    for name, told in (("a.zip", "archive"), ("a.tar.gz", "archive"), ("a.docx", "neither")):
        (tmp_path / name).write_bytes(b"PK")
        with pytest.raises(ConfigError, match=told):
            load(tmp_path / name)


def test_two_descriptions_are_ambiguous(tmp_path):
    folder = make_yolo_dataset(tmp_path / "d", n=3)
    (folder / "dataset.yaml").write_text("names: [x]\n")
    with pytest.raises(ConfigError, match=r"data\.yaml and dataset\.yaml"):
        load(folder)
    assert load(folder / "data.yaml").names == ("cat", "dog")


def test_reading_twice_gives_the_same(tmp_path):
    folder = make_yolo_dataset(tmp_path / "d", n=8)
    first, second = load(folder), load(folder)
    assert [(s.name, s.cls.tolist(), s.xywhn.tolist()) for s in first.samples] == [
        (s.name, s.cls.tolist(), s.xywhn.tolist()) for s in second.samples
    ]


def test_real_bccd_gives_no_errors(real_dataset):
    dataset = load(real_dataset("bccd"))
    assert (len(dataset.samples), len(dataset.usable), dataset.names) == (364, 364, ("Platelets", "RBC", "WBC"))
    assert np.bincount(np.concatenate([s.cls for s in dataset.samples])).tolist() == [361, 4153, 372]
    assert not [finding for finding in dataset.findings if finding.severity == "error"]


def test_real_cards_gives_no_errors(real_dataset):
    dataset = load(real_dataset("cards"))
    assert dataset.names == ("ace", "jack", "king", "nine", "queen", "ten")
    assert (len(dataset.usable), sum(len(s.cls) for s in dataset.usable)) == (363, 670)
    assert not [finding for finding in dataset.findings if finding.severity == "error"]


def test_the_paths_of_cvat_lists_are_read_without_their_first_folder(tmp_path):
    folder = make_yolo_dataset(tmp_path / "d", splits={"train": 2})
    (folder / "train.txt").write_text("data/images/train/img000.jpg\ndata/images/train/img001.jpg\n")
    (folder / "data.yaml").write_text("path: .\ntrain: train.txt\nnames:\n  0: cat\n  1: dog\n")
    dataset = load(folder)
    assert [(s.name, s.given, s.quarantine, len(s.cls)) for s in dataset.samples] == [
        ("images/train/img000.jpg", ("train",), "", 2),
        ("images/train/img001.jpg", ("train",), "", 2),
    ]
    assert [(f.code, f.file) for f in dataset.findings if f.code == "path_mended"] == [("path_mended", "train.txt")]
    (folder / "train.txt").write_text("data/../../out.jpg\n")
    with pytest.raises(UntrustedFileError):
        load(folder)


def _label_file(folder, kind):
    if kind == "coco":
        label_files.write_json(folder / "c.json", label_files.coco({1: "a.jpg"}, [(1, 1, (1, 1, 9, 9))]))
    elif kind == "label-studio":
        label_files.write_json(folder / "l.json", [label_files.task("a.jpg", [label_files.region("cat", 1, 1, 9, 9)])])
    elif kind == "cvat":
        box = '<image name="a.jpg"><box label="cat" xtl="1" ytl="1" xbr="9" ybr="9"/></image>'
        (folder / "x.xml").write_text(label_files.cvat(box))
    elif kind == "csv":
        (folder / "b.csv").write_text("filename,class,xmin,ymin,xmax,ymax\na.jpg,cat,1,1,9,9\n")
    elif kind == "voc":
        (folder / "a.xml").write_text(voc_xml([("cat", 1, 1, 9, 9)]))
    else:
        (folder / "a.txt").write_text(ROW)


KINDS = ("yolo", "voc", "coco", "csv", "label-studio", "cvat")


@pytest.mark.parametrize("kind", KINDS)
def test_every_format_is_told_by_its_files(tmp_path, kind):
    write_image(tmp_path / "a.jpg")
    _label_file(tmp_path, kind)
    write_image(tmp_path / "b.jpg", 2)
    for name in ("b.json", "meta.json", "table.csv", "b.csv", "notes.xml"):  # a labelme file, and what others leave
        if not (tmp_path / name).exists():
            (tmp_path / name).write_text('{"shapes": [], "images": 3}')
    dataset = load(tmp_path)
    assert (dataset.format, len(dataset.samples[0].cls)) == (kind, 1)


@pytest.mark.parametrize(("first", "second"), list(itertools.combinations(KINDS, 2)))
def test_two_formats_are_a_question_but_xml_beside_csv(tmp_path, first, second):
    write_image(tmp_path / "a.jpg")
    _label_file(tmp_path, first)
    _label_file(tmp_path, second)
    if {first, second} == {"voc", "csv"}:
        assert load(tmp_path).format == "voc"
    else:
        with pytest.raises(ConfigError, match="has both") as caught:
            load(tmp_path)
        assert f"data.format={first}" in caught.value.hint
        assert f"data.format={second}" in caught.value.hint
        assert "--format" in caught.value.hint
    for kind in (first, second):
        assert load(tmp_path, format=kind).format == kind


def test_a_data_yaml_with_splits_decides(tmp_path):
    folder = make_yolo_dataset(tmp_path / "d", splits={"train": 1, "val": 1})
    label_files.write_json(folder / "c.json", label_files.coco({1: "img000.jpg"}, [(1, 1, (1, 1, 9, 9))]))
    assert load(folder).format == "yolo"
    assert load(folder, format="coco").names == ("cat", "dog")


def test_a_format_that_is_not_there(tmp_path):
    write_image(tmp_path / "a.jpg")
    (tmp_path / "a.txt").write_text(ROW)
    with pytest.raises(DatasetError, match="holds no Label Studio file"):
        load(tmp_path, format="label-studio")


def test_label_files_behind_links_that_lead_out_are_not_opened(tmp_path):
    write_image(tmp_path / "d/a.jpg")
    _label_file(tmp_path, "coco")
    (tmp_path / "d/c.json").symlink_to(tmp_path / "c.json")
    with pytest.raises(DatasetError, match="no label file"):
        load(tmp_path / "d")
    assert load(tmp_path / "d", allow_outside=True).format == "coco"


def test_names_of_lists_may_end_in_a_number(tmp_path):
    folder = make_voc_dataset(tmp_path / "v", n=2)
    for i, name in enumerate(("card 0", "card 1")):
        os.replace(folder / f"JPEGImages/v{i}.jpg", folder / f"JPEGImages/{name}.jpg")
        os.replace(folder / f"Annotations/v{i}.xml", folder / f"Annotations/{name}.xml")
    (folder / "ImageSets/Main").mkdir(parents=True)
    (folder / "ImageSets/Main/train.txt").write_text("card 0\n")
    (folder / "ImageSets/Main/val.txt").write_text("card 1  -1\n")
    assert [sample.given for sample in load(folder).samples] == [("train",), ("val",)]


def test_darknet_folders_as_cvat_writes_them(tmp_path):
    write_pair(tmp_path / "obj_train_data/a.jpg", tmp_path / "obj_train_data/a.txt")
    (tmp_path / "obj.names").write_text("cat\n")
    (tmp_path / "obj.data").write_text("classes = 1\ntrain = data/train.txt\nnames = data/obj.names\n")
    (tmp_path / "train.txt").write_text("data/obj_train_data/a.jpg\n")
    dataset = load(tmp_path)
    assert (dataset.format, dataset.names, len(dataset.samples[0].cls), codes(dataset)) == ("yolo", ("cat",), 1, [])
