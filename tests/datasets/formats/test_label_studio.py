import numpy as np
import pytest
from label_files import bad, boxes_of, codes, images, load, region, task, write_json

from kdyolo.config import AuditSettings
from kdyolo.errors import DatasetError, UntrustedFileError

REGION = region("cat", 25, 50, 50, 25)
READ = ("cat", 16, 24, 48, 36)


def write(folder, *tasks):
    return write_json(folder / "export.json", list(tasks))


@pytest.mark.parametrize(
    ("place", "address", "more"),
    [
        ("a.jpg", "a.jpg", {}),
        ("images/x/a.jpg", "/data/local-files/?d=home/me/images/x/a.jpg", {}),
        ("images/a.jpg", "/data/local-files/?d=%2Fhome%2Fme%2Fimages%2Fa.jpg", {}),
        ("images/a.jpg", "/data/local-files/?d=set\\images\\a.jpg", {}),
        ("a b.jpg", "/data/upload/1/0123abcd-a_b.jpg", {}),
        ("a.jpg", "/data/upload/1/0123abcd-a.jpg", {"file_upload": "0123abcd-a.jpg"}),
        ("0123abcd-a.jpg", "/data/upload/1/0123abcd-a.jpg", {}),
        ("fotö 1.jpg", "/data/upload/1/0123abcd-fot%C3%B6%201.jpg", {}),
        ("deep/a.jpg", "https://example.org/bucket/deep/a.jpg?token=1#x", {}),
        ("a.jpg", "s3://bucket/a.jpg", {}),
        ("what?.jpg", "what?.jpg", {}),
    ],
)
def test_images_are_found_by_what_label_studio_makes_of_their_names(tmp_path, place, address, more):
    images(tmp_path, place, "other.jpg")
    write(tmp_path, task(address, [REGION], **more))
    dataset = load(tmp_path)
    assert (dataset.format, dataset.names, codes(dataset)) == ("label-studio", ("cat",), ["missing_label"])
    assert boxes_of(dataset, place) == [READ]


def test_the_image_is_the_only_address_of_one(tmp_path):
    images(tmp_path, "a.jpg", "b.jpg")
    first, second = task("", [REGION]), task("", [REGION])
    first["data"] = {"photo": "/data/upload/1/a.jpg", "text": "a cat", "number": 3}
    second["data"] = {"left": "a.jpg", "right": "b.jpg"}
    write(tmp_path, first, second, {"data": []}, {"annotations": []}, 7)
    dataset = load(tmp_path)
    assert boxes_of(dataset, "a.jpg") == [READ]
    assert [(f.code, f.message[:2]) for f in dataset.findings] == [("bad_entry", "4 "), ("missing_label", "No")]


def test_the_newest_annotation_that_was_not_cancelled_counts(tmp_path):
    images(tmp_path, "a.jpg", "b.jpg", "c.jpg")
    other = [region("dog", 0, 0, 10, 10)]
    old = {"id": 9, "updated_at": "2024-01-01T10:00:00.5Z", "result": other}
    new = {
        "id": 2,
        "created_at": "2024-01-01T12:00:00+01:30",
        "updated_at": "2024-01-01T12:00:00+01:00",
        "result": [REGION],
    }
    cancelled = {"id": 3, "updated_at": "2025-01-01T00:00:00Z", "was_cancelled": True, "result": other}
    write(
        tmp_path,
        task("a.jpg", new, old, cancelled, None),
        task("b.jpg", {"id": 1, "result": other}, {"id": 2, "result": [REGION]}),
        task(
            "c.jpg",
            {"id": 1, "updated_at": "soon", "result": other},
            {"id": 0, "created_at": "2020-01-01", "result": []},
        ),
    )
    dataset = load(tmp_path)
    assert [boxes_of(dataset, name) for name in ("a.jpg", "b.jpg", "c.jpg")] == [[READ], [READ], []]
    assert codes(dataset) == []


def test_predictions_are_used_where_nobody_annotated_and_it_is_told(tmp_path):
    images(tmp_path, "a.jpg", "b.jpg", "c.jpg", "d.jpg")
    guess = {"score": 0.5, "model_version": "m", "result": [REGION | {"score": 0.25}, region("dog", 0, 0, 10, 10)]}
    write(
        tmp_path,
        task("a.jpg", predictions=[guess]),
        task("b.jpg", [REGION | {"score": 0.9}], predictions=[guess]),
        task("c.jpg", {"was_cancelled": True, "result": [REGION]}),
        task("d.jpg", {"was_cancelled": True, "result": []}, predictions=[{"result": []}]),
    )
    dataset = load(tmp_path)
    assert [(f.code, f.file) for f in dataset.findings] == [
        ("predictions_only", "a.jpg"),
        ("predictions_only", "d.jpg"),
        ("missing_label", "c.jpg"),
    ]
    assert dataset.samples[0].conf.tolist() == [0.25, 0.5]
    assert np.isnan(dataset.samples[1].conf).all()
    assert [len(sample.cls) for sample in dataset.samples] == [2, 1, 0, 0]


def test_the_newest_prediction_counts(tmp_path):
    images(tmp_path, "a.jpg")
    old = {"id": 8, "created_at": "2024-01-01T10:00:00Z", "result": [region("dog", 0, 0, 10, 10)]}
    new = {"id": 7, "created_at": "2024-02-01T10:00:00Z", "result": [REGION]}
    write(tmp_path, task("a.jpg", predictions=[old, new]))
    assert boxes_of(load(tmp_path), "a.jpg") == [READ]


def test_other_shapes(tmp_path):
    images(tmp_path, "a.jpg")
    polygon = {"type": "polygonlabels", "value": {"points": [[10, 10], [50, 25], [25, 75]], "polygonlabels": ["cat"]}}
    brush = {"type": "brushlabels", "value": {"rle": [1, 2], "brushlabels": ["cat"]}}
    choice = {"type": "choices", "value": {"choices": ["good"]}}
    turned = region("dog", 50, 25, 25, 25, rotation=90)  # 16 x 12 px about (32, 12), clockwise
    plain = region(None, 0, 0, 50, 50) | {"type": "rectangle"}
    labels = {"type": "labels", "value": {"x": 0, "y": 0, "width": 50, "height": 50, "labels": ["owl"]}}
    write(tmp_path, task("a.jpg", [polygon, brush, choice, turned, plain, labels, {}, 3]))
    dataset = load(tmp_path)
    assert boxes_of(dataset, "a.jpg") == [
        ("cat", 6.4, 4.8, 32, 36),
        ("dog", 20, 12, 32, 28),
        ("owl", 0, 0, 32, 24),
    ]
    assert codes(dataset) == ["polygon", "rotated", "shape_ignored"]


def test_a_region_with_two_labels_is_two_boxes(tmp_path):
    images(tmp_path, "a.jpg")
    both = region("cat", 0, 0, 50, 50)
    both["value"]["rectanglelabels"].append("dog")
    write(tmp_path, task("a.jpg", [both]))
    dataset = load(tmp_path)
    assert (dataset.samples[0].cls.tolist(), codes(dataset)) == ([0, 1], ["class_conflict"])


@pytest.mark.parametrize(
    ("result", "code"),
    [
        (region("cat", float("nan"), 0, 10, 10), "not_finite"),
        (region("cat", 0, 0, 10, 10**400), "not_finite"),
        (region("cat", "left", 0, 10, 10), "not_finite"),
        (region("cat", 0, 0, 10, 10, rotation=float("inf")), "not_finite"),
        (region(None, 0, 0, 10, 10), "bad_object"),
        (region(" ", 0, 0, 10, 10), "bad_object"),
        (region("cat", 0, 0, 10, 10, image_rotation=90), "bad_object"),
        (region("cat", 0, 0, 10, 10, rotation=5, original_width=None), "bad_object"),
        ({"type": "polygonlabels", "value": {"points": [[1, 2]], "polygonlabels": ["cat"]}}, "bad_object"),
        ({"type": "polygonlabels", "value": {"points": 5, "polygonlabels": ["cat"]}}, "bad_object"),
        (
            {
                "type": "polygonlabels",
                "value": {"points": [[1, 2], [3, float("nan")], [9, 9]], "polygonlabels": ["cat"]},
            },
            "not_finite",
        ),
    ],
)
def test_bad_regions_take_one_image(tmp_path, result, code):
    images(tmp_path, *(f"{i}.jpg" for i in range(12)))
    write(tmp_path, *(task(f"{i}.jpg", [*([result] if i == 3 else []), REGION]) for i in range(12)))
    assert bad(load(tmp_path)) == {"3.jpg": code}
    lenient = load(tmp_path, AuditSettings(bad_label="drop_line"))
    assert (bad(lenient), boxes_of(lenient, "3.jpg")) == ({}, [READ])


def test_percent_follow_the_real_image_and_another_size_is_told(tmp_path):
    images(tmp_path, "a.jpg")
    write(tmp_path, task("a.jpg", [REGION | {"original_width": 128, "original_height": 96}]))
    dataset = load(tmp_path)
    assert (boxes_of(dataset, "a.jpg"), codes(dataset)) == ([READ], ["size_mismatch"])


def test_two_tasks_of_one_image_keep_the_boxes_of_both(tmp_path):
    images(tmp_path, "a.jpg")
    write(tmp_path, task("up/01234567-a.jpg", [REGION]), task("up/89abcdef-a.jpg", [region("dog", 0, 0, 10, 10)]))
    dataset = load(tmp_path)
    assert (len(dataset.samples[0].cls), codes(dataset)) == (2, ["listed_twice"])


@pytest.mark.parametrize(
    ("content", "error", "told"),
    [
        ([{"image": "a.jpg", "label": [{"rectanglelabels": ["cat"]}]}], DatasetError, "JSON-MIN"),
        ([task("/data/local-files/?d=../../a.jpg", [REGION])], UntrustedFileError, "leaves"),
        ([task("gone.jpg", [REGION])], DatasetError, "None of the 1 images"),
        ([task("a.jpg", [])], DatasetError, "holds no box"),
        ([task("http://[", [REGION])], DatasetError, "lists no image"),
    ],
)
def test_files_that_cannot_be_used(tmp_path, content, error, told):
    images(tmp_path, "a.jpg")
    write_json(tmp_path / "x.json", content)
    with pytest.raises(error, match=told):
        load(tmp_path)


def test_splits_that_kdyolo_wrote_into_the_tasks(tmp_path):
    images(tmp_path, "a.jpg", "b.jpg")
    first, second = task("a.jpg", [REGION]), task("b.jpg", [REGION])
    first["data"]["split"], second["data"]["split"] = "val", 7
    write(tmp_path, first, second)
    assert [sample.given for sample in load(tmp_path).samples] == [("val",), ()]


INTERFACE = """<View><Image name="image" value="$image"/><Choices name="c"><Choice value="good"/></Choices>
<RectangleLabels name="label" toName="image"><Label value="dog"/><Label value="cat"/><Label value="ant"/>
</RectangleLabels></View>"""


@pytest.mark.parametrize("place", [".", "..", "elsewhere"])
def test_classes_keep_the_order_of_the_labelling_interface(tmp_path, place):
    folder = tmp_path / "set" / "images"
    images(folder, "a.jpg")
    write(folder, task("a.jpg", [REGION, region("bee", 1, 1, 50, 50)]))
    (folder / place).mkdir(exist_ok=True)
    (folder / place / "label_config.xml").write_text(INTERFACE)
    found = load(folder)
    assert found.names == (("bee", "cat") if place == "elsewhere" else ("dog", "cat", "ant", "bee"))
    assert {name for name, *_ in boxes_of(found, "a.jpg")} == {"bee", "cat"}


@pytest.mark.parametrize(
    ("text", "error", "told"),
    [
        ("<View><RectangleLabels>", DatasetError, "label_config.xml cannot be read"),
        ('<!DOCTYPE x [<!ENTITY a "b">]><View/>', UntrustedFileError, "declares entities"),
    ],
)
def test_labelling_interfaces_that_cannot_be_used(tmp_path, text, error, told):
    images(tmp_path, "a.jpg")
    write(tmp_path, task("a.jpg", [REGION]))
    (tmp_path / "label_config.xml").write_text(text)
    with pytest.raises(error, match=told):
        load(tmp_path)
