import json

import numpy as np
import pytest
from label_files import bad, boxes_of, coco, codes, images, load, write_json

from kdyolo.config import AuditSettings
from kdyolo.errors import ConfigError, DatasetError, UntrustedFileError

BOX = (4, 6, 20, 10)
READ = ("cat", 4, 6, 24, 16)
INSTANCES = dict.fromkeys(f"annotations/instances_{split}2017.json" for split in ("train", "val"))


def test_ids_with_gaps_order_the_classes(tmp_path):
    images(tmp_path / "images", "a.jpg", "b.jpg")
    content = coco({70: "a.jpg", 7: "b.jpg"}, [(70, 90, BOX), (7, 3, (0, 0, 64, 48))], {90: "ant", 3: "zebra"})
    write_json(tmp_path / "annotations/instances.json", content)
    dataset = load(tmp_path)
    assert (dataset.format, dataset.names, codes(dataset)) == ("coco", ("zebra", "ant"), [])
    assert boxes_of(dataset, "a.jpg") == [("ant", 4, 6, 24, 16)]
    assert boxes_of(dataset, "b.jpg") == [("zebra", 0, 0, 64, 48)]


@pytest.mark.parametrize(
    ("places", "files"),
    [
        (["train2017/a.jpg", "val2017/a.jpg"], INSTANCES),
        (["images/train2017/a.jpg", "images/val2017/a.jpg"], INSTANCES),
        (["train/a.jpg", "valid/a.jpg"], dict.fromkeys(f"{s}/_annotations.coco.json" for s in ("train", "valid"))),
        (["images/train/a.jpg", "images/val/a.jpg"], {"train.json": "train/a.jpg", "val.json": "val/a.jpg"}),
    ],
)  # fmt: skip
def test_one_file_a_split_finds_its_own_images(tmp_path, places, files):
    images(tmp_path, *places)
    for number, (file, name) in enumerate(files.items()):
        write_json(tmp_path / file, coco({1: name or "a.jpg"}, [(1, number + 1, BOX)]))
    dataset = load(tmp_path)
    assert [sample.given for sample in dataset.samples] == [("train",), ("val",)]
    assert [sample.cls.tolist() for sample in dataset.samples] == [[0], [1]]
    assert codes(dataset) == []


def test_one_file_for_all_leaves_the_splits_to_the_folders(tmp_path):
    images(tmp_path, "train/x/a.jpg", "test/x/b.jpg", "test/c.jpg")
    write_json(tmp_path / "labels.json", coco({1: "train/x/a.jpg", 2: "x/b.jpg"}, [(1, 1, BOX), (2, 1, BOX)]))
    dataset = load(tmp_path)
    assert [(s.name, s.given, len(s.cls)) for s in dataset.samples] == [
        ("test/c.jpg", ("test",), 0),
        ("test/x/b.jpg", ("test",), 1),
        ("train/x/a.jpg", ("train",), 1),
    ]
    assert codes(dataset) == ["missing_label"]


def test_listed_without_boxes_is_background_and_not_listed_is_unlabelled(tmp_path):
    images(tmp_path, "a.jpg", "b.jpg", "c.jpg")
    write_json(tmp_path / "x.json", coco({1: "a.jpg", 2: "b.jpg"}, [(1, 1, BOX)]))
    dataset = load(tmp_path)
    assert [sample.label is not None for sample in dataset.samples] == [True, True, False]
    assert [(f.code, f.severity, f.file) for f in dataset.findings] == [("missing_label", "warning", "c.jpg")]
    assert bad(load(tmp_path, AuditSettings(require_labels=True))) == {"c.jpg": "missing_label"}


def test_crowds_are_left_out(tmp_path):
    images(tmp_path, "a.jpg")
    content = coco({1: "a.jpg"}, [(1, 1, BOX), (1, 2, (0, 0, 9, 9))])
    content["annotations"][1]["iscrowd"] = 1
    content["annotations"][1]["segmentation"] = {"counts": [1, 2, 3], "size": [48, 64]}
    write_json(tmp_path / "x.json", content)
    dataset = load(tmp_path)
    assert (boxes_of(dataset, "a.jpg"), codes(dataset)) == ([READ], ["crowd"])


def test_missing_categories(tmp_path):
    images(tmp_path, "a.jpg")
    content = coco({1: "a.jpg"}, [(1, 5, BOX), (1, 2, (0, 0, 9, 9))])
    del content["categories"]
    write_json(tmp_path / "x.json", content)
    dataset = load(tmp_path)
    assert (dataset.names, codes(dataset)) == (("class2", "class5"), ["no_names"])


def test_the_heading_of_roboflow_is_no_class(tmp_path):
    images(tmp_path, "a.jpg")
    content = coco({1: "a.jpg"}, [(1, 1, BOX)], {0: "animals", 1: "cat", 2: "dog"})
    for category in content["categories"]:
        category["supercategory"] = "animals" if category["id"] else "none"
    write_json(tmp_path / "_annotations.coco.json", content)
    dataset = load(tmp_path)
    assert (dataset.names, codes(dataset)) == (("cat", "dog"), ["category_heading"])
    content["annotations"][0]["category_id"] = 0
    write_json(tmp_path / "_annotations.coco.json", content)
    assert load(tmp_path).names == ("animals", "cat", "dog")


def test_other_tasks_beside_instances_are_left_out(tmp_path):
    images(tmp_path, "a.jpg")
    write_json(tmp_path / "annotations/instances_train.json", coco({1: "a.jpg"}, [(1, 1, BOX)]))
    write_json(tmp_path / "annotations/person_keypoints_train.json", coco({1: "a.jpg"}, [(1, 2, (1, 1, 5, 5))]))
    captions = coco({1: "a.jpg"})
    captions["annotations"] = [{"id": 1, "image_id": 1, "caption": "A cat."}]
    write_json(tmp_path / "annotations/captions_train.json", captions)
    write_json(tmp_path / "notes/captions.json", captions)
    listed = coco({1: "a.jpg"})
    del listed["annotations"]
    write_json(tmp_path / "annotations/image_info.json", listed)
    dataset = load(tmp_path)
    assert (boxes_of(dataset, "a.jpg"), codes(dataset)) == ([READ], ["unused_labels"])


def test_a_file_that_only_lists_images_labels_none(tmp_path):
    images(tmp_path, "a.jpg", "b.jpg")
    write_json(tmp_path / "x.json", coco({1: "a.jpg"}, [(1, 1, BOX)]))
    listed = coco({1: "b.jpg"})
    del listed["annotations"]
    write_json(tmp_path / "y.json", listed)
    dataset = load(tmp_path)
    assert [f.file for f in dataset.findings if f.code == "missing_label"] == ["b.jpg"]


def test_images_of_another_folder_are_no_loss_but_single_ones_are(tmp_path):
    images(tmp_path, "train/a.jpg", "train/b.jpg")
    write_json(tmp_path / "train.json", coco({1: "a.jpg", 2: "b.jpg", 3: "gone.jpg"}, [(1, 1, BOX), (3, 1, BOX)]))
    write_json(tmp_path / "val.json", coco({1: "x.jpg", 2: "y.jpg"}, [(1, 1, BOX)]))
    dataset = load(tmp_path)
    assert bad(dataset) == {"gone.jpg": "missing_image"}
    assert [f.file for f in dataset.findings if f.code == "unused_labels"] == ["val.json"]


def test_none_of_the_images_is_there(tmp_path):
    images(tmp_path, "other.jpg")
    write_json(tmp_path / "x.json", coco({1: "a.jpg"}, [(1, 1, BOX)]))
    with pytest.raises(DatasetError, match=r"None of the 1 images.*'a\.jpg'.*'other\.jpg'"):
        load(tmp_path)


def test_sizes_that_disagree_are_told_and_the_image_counts(tmp_path):
    images(tmp_path, "a.jpg")
    content = coco({1: "a.jpg"}, [(1, 1, (32, 24, 16, 12))])
    content["images"][0]["width"] = 128
    write_json(tmp_path / "x.json", content)
    dataset = load(tmp_path)
    assert codes(dataset) == ["size_mismatch"]
    assert np.allclose(dataset.samples[0].xywhn, [[0.625, 0.625, 0.25, 0.25]])


def test_boxes_are_pixels_of_the_upright_image(tmp_path):
    from builders import write_image
    from PIL import Image

    exif = Image.Exif()
    exif[0x0112] = 6
    write_image(tmp_path / "a.jpg", exif=exif.tobytes())
    content = coco({1: "a.jpg"}, [(1, 1, (0, 0, 24, 32))])
    content["images"][0] |= {"width": 48, "height": 64}
    write_json(tmp_path / "x.json", content)
    dataset = load(tmp_path)
    assert codes(dataset) == []
    assert np.allclose(dataset.samples[0].xywhn, [[0.25, 0.25, 0.5, 0.5]])


@pytest.mark.parametrize(
    ("category", "bbox", "code"),
    [
        (1, (float("nan"), 1, 5, 5), "not_finite"),
        (1, (1, 1, float("inf"), 5), "not_finite"),
        (1, (1, 1, 10**400, 5), "not_finite"),
        (1, (1, "2", 5, 5), "not_finite"),
        (1, (1, 2, 3), "bad_object"),
        (9, BOX, "class_id"),
        (None, BOX, "class_id"),
        (float("nan"), BOX, "class_id"),
        ([1], BOX, "class_id"),
    ],
)
def test_faults_27_32_33_take_one_image(tmp_path, category, bbox, code):
    names = [f"{i}.jpg" for i in range(12)]
    images(tmp_path, *names)
    boxes = [(i, 1, BOX) for i in range(12)]
    write_json(tmp_path / "x.json", coco(dict(enumerate(names)), [*boxes, (5, category, bbox)]))
    dataset = load(tmp_path)
    assert bad(dataset) == {"5.jpg": code}
    assert [(f.code, f.severity, f.file) for f in dataset.findings] == [(code, "error", "5.jpg")]
    lenient = load(tmp_path, AuditSettings(bad_label="drop_line"))
    assert (bad(lenient), boxes_of(lenient, "5.jpg")) == ({}, [READ])


def test_faults_30_31_37_are_mended_and_told(tmp_path):
    images(tmp_path, "a.jpg")
    boxes = [(-9, 5, 20, 10), (1, 1, 0, 9), (9, 9, -5, 5), BOX, BOX]
    content = coco({1: "a.jpg"}, [(1, 1, box) for box in boxes] + [(1, 2, BOX)])
    write_json(tmp_path / "x.json", content)
    dataset = load(tmp_path)
    assert codes(dataset) == ["class_conflict", "clipped", "degenerate", "duplicate_line"]
    assert boxes_of(dataset, "a.jpg") == [("cat", 0, 5, 11, 15), READ, ("dog", *READ[1:])]


def test_ids_may_be_text_or_floats_but_nothing_else(tmp_path):
    images(tmp_path, "a.jpg", "b.jpg", "c.jpg")
    boxes = [("1", "1", BOX), (2.0, 1.0, BOX), ("x", 2, BOX), (None, 1, BOX), (float("nan"), 1, BOX), ({}, 1, BOX)]
    content = coco({1: "a.jpg", "2": "b.jpg", "x": "c.jpg"}, boxes)
    content["images"] += [{"id": float("nan"), "file_name": "n.jpg"}, {"id": 8}, {"id": 9, "file_name": " "}, 5, None]
    write_json(tmp_path / "x.json", content)
    dataset = load(tmp_path)
    assert [len(sample.cls) for sample in dataset.samples] == [1, 1, 1]
    assert [(f.code, f.message[:2]) for f in dataset.findings] == [
        ("bad_entry", "2 "),
        ("bad_entry", "3 "),
        ("orphan_annotation", "3 "),
    ]


def test_one_image_in_two_entries_keeps_the_boxes_of_both(tmp_path):
    images(tmp_path, "a.jpg")
    write_json(tmp_path / "x.json", coco({1: "a.jpg", 2: "./a.jpg"}, [(1, 1, BOX), (2, 1, BOX), (2, 2, (0, 0, 9, 9))]))
    dataset = load(tmp_path)
    assert boxes_of(dataset, "a.jpg") == [READ, ("dog", 0, 0, 9, 9)]
    assert codes(dataset) == ["duplicate_line", "listed_twice"]


def test_one_id_for_two_images_spoils_both(tmp_path):
    images(tmp_path, "a.jpg", "b.jpg", "c.jpg")
    content = coco({1: "a.jpg", 2: "c.jpg"}, [(1, 1, BOX), (2, 1, BOX)])
    content["images"].append({"id": 1, "file_name": "b.jpg"})
    write_json(tmp_path / "x.json", content)
    for policy in ("drop_image", "drop_line"):
        dataset = load(tmp_path, AuditSettings(bad_label=policy, max_bad_fraction=1))
        assert bad(dataset) == {"a.jpg": "bad_entry", "b.jpg": "bad_entry"}


@pytest.mark.parametrize("name", ["../out.jpg", "/etc/passwd.jpg", "~/a.jpg", "C:\\a.jpg", "x/../../out.jpg"])
def test_fault_44_names_cannot_lead_out(tmp_path, name):
    images(tmp_path, "out.jpg", "d/a.jpg")
    write_json(tmp_path / "d/x.json", coco({1: name, 2: "a.jpg"}, [(1, 1, BOX), (2, 1, BOX)]))
    with pytest.raises(UntrustedFileError, match="leaves the data set's folder"):
        load(tmp_path / "d")


def test_names_may_lead_out_on_request(tmp_path):
    images(tmp_path, "out.jpg", "d/a.jpg")
    write_json(tmp_path / "d/x.json", coco({1: "../out.jpg", 2: "/gone/a.jpg"}, [(1, 1, BOX), (2, 1, BOX)]))
    dataset = load(tmp_path / "d", allow_outside=True)
    assert [(s.name, len(s.cls)) for s in dataset.samples] == [("../out.jpg", 1), ("a.jpg", 1)]
    assert dataset.samples[0].image == tmp_path / "out.jpg"


def test_a_climbing_name_may_stay_inside(tmp_path):
    images(tmp_path / "images", "a.jpg")
    write_json(tmp_path / "annotations/x.json", coco({1: "../images/a.jpg"}, [(1, 1, BOX)]))
    assert boxes_of(load(tmp_path), "a.jpg") == [READ]


@pytest.mark.parametrize(
    ("change", "error", "told"),
    [
        ({"categories": [{"id": 1, "name": "cat"}, {"id": 1, "name": "dog"}]}, ConfigError, "given twice"),
        ({"categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "cat"}]}, ConfigError, "both named"),
        ({"categories": [{"id": 1, "name": None}]}, ConfigError, "name None"),
        ({"categories": [{"id": float("nan"), "name": "cat"}]}, ConfigError, "id nan"),
        ({"images": {"1": "a.jpg"}}, DatasetError, "images is no list"),
        ({"annotations": "none"}, DatasetError, "annotations is no list"),
        ({"images": []}, DatasetError, "lists no image"),
        ({"annotations": [], "categories": []}, DatasetError, "holds no box"),
    ],
)
def test_files_that_cannot_be_used(tmp_path, change, error, told):
    images(tmp_path, "a.jpg")
    write_json(tmp_path / "x.json", coco({1: "a.jpg"}, [(1, 1, BOX)]) | change)
    with pytest.raises(error, match=told):
        load(tmp_path)


def test_reading_agrees_with_pycocotools(tmp_path, capsys):
    from pycocotools.coco import COCO

    rng = np.random.default_rng(3)
    names = {int(i): f"p/{i}.jpg" for i in rng.choice(10_000, 9, replace=False)}
    images(tmp_path, *names.values())
    boxes = [(i, int(rng.choice([3, 17, 44])), (rng.uniform(0, 30, 2).tolist() + rng.uniform(1, 18, 2).tolist()))
             for i in names for _ in range(4)]  # fmt: skip
    content = coco(names, boxes, {44: "owl", 3: "ant", 17: "bee"})
    for number, annotation in enumerate(content["annotations"]):
        annotation["area"] = 1
        annotation["iscrowd"] = int(number % 5 == 0)
    path = write_json(tmp_path / "x.json", content)
    dataset = load(tmp_path)
    theirs = COCO(str(path))
    category = {c["id"]: c["name"] for c in theirs.loadCats(theirs.getCatIds())}
    assert dataset.names == tuple(category[i] for i in sorted(category))
    for image_id, name in names.items():
        expected = sorted(
            (category[a["category_id"]], *np.round([x, y, x + w, y + h], 3).tolist())
            for a in theirs.loadAnns(theirs.getAnnIds(imgIds=[image_id], iscrowd=False))
            for x, y, w, h in [a["bbox"]]
        )
        assert sorted(boxes_of(dataset, name)) == expected


def test_scores_are_confidences(tmp_path):
    images(tmp_path, "a.jpg")
    content = coco({1: "a.jpg"}, [(1, 1, BOX), (1, 1, (0, 0, 9, 9)), (1, 1, (1, 0, 9, 9))])
    content["annotations"][0]["score"] = 0.25
    content["annotations"][1]["score"] = 7
    write_json(tmp_path / "x.json", content)
    conf = load(tmp_path).samples[0].conf
    assert conf[0] == 0.25
    assert np.isnan(conf[1:]).all()


def test_a_byte_order_mark_is_no_matter(tmp_path):
    images(tmp_path, "a.jpg")
    (tmp_path / "x.json").write_bytes(b"\xef\xbb\xbf" + json.dumps(coco({1: "a.jpg"}, [(1, 1, BOX)])).encode())
    assert load(tmp_path).format == "coco"
