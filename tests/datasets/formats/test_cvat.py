import numpy as np
import pytest
from label_files import bad, boxes_of, codes, cvat, images, load

from kdyolo.config import AuditSettings
from kdyolo.datasets.formats import cvat as module
from kdyolo.errors import DatasetError, UntrustedFileError

IMAGE = '<image id="{}" name="{}" width="64" height="48">{}</image>'
BOX = '<box label="cat" xtl="4" ytl="6" xbr="24.5" ybr="16" occluded="0" source="manual" z_order="0"{}>{}</box>'
READ = ("cat", 4, 6, 24.5, 16)


def write(folder, *items, **more):
    (folder / "annotations.xml").write_text(cvat(*items, **more))


def image(name, *shapes):
    return IMAGE.format(0, name, "".join(shapes))


def box(attributes="", inner=""):
    return BOX.format(attributes, inner)


def test_a_task(tmp_path):
    images(tmp_path / "images", "a.jpg", "sub/b.jpg", "c.jpg")
    write(tmp_path, image("a.jpg", box()), image("sub/b.jpg"))
    dataset = load(tmp_path)
    assert (dataset.format, dataset.names, codes(dataset)) == ("cvat", ("dog", "cat"), ["missing_label"])
    assert boxes_of(dataset, "a.jpg") == [READ]
    assert [sample.label is not None for sample in dataset.samples] == [True, False, True]


def test_a_project_with_subsets_and_labels_of_skeletons(tmp_path):
    images(tmp_path, "a.jpg", "b.jpg")
    (tmp_path / "annotations.xml").write_text(
        "<annotations><meta><project><labels><label><name>cat</name><attributes><attribute><name>colour</name>"
        "</attribute></attributes></label></labels></project></meta>"
        + image("a.jpg", box()).replace("<image", '<image subset="Train"')
        + image("b.jpg").replace("<image", '<image subset="Validation"')
        + "</annotations>"
    )
    dataset = load(tmp_path)
    assert (dataset.names, [s.given for s in dataset.samples]) == (("cat",), [("train",), ("val",)])


def test_scores_are_confidences(tmp_path):
    images(tmp_path, "a.jpg")
    score = '<attribute name="colour">red</attribute><attribute name="score">{}</attribute>'
    shapes = [
        box("", score.format(text)).replace('xtl="4"', f'xtl="{i}"') for i, text in enumerate(["0.25", "high", "7", ""])
    ]
    write(tmp_path, image("a.jpg", *shapes))
    conf = load(tmp_path).samples[0].conf
    assert conf[0] == 0.25
    assert np.isnan(conf[1:]).all()


def test_other_shapes(tmp_path):
    images(tmp_path, "a.jpg")
    shapes = [
        '<polygon label="cat" points="1,2;10,3;5.5,20"/>',
        '<mask label="cat" left="3" top="4" width="10" height="20" rle="1,2"/>',
        '<points label="cat" points="1,2"/>',
        '<tag label="cat"/>',
        box(' rotation="90"'),
    ]
    write(tmp_path, image("a.jpg", *shapes))
    dataset = load(tmp_path)
    assert codes(dataset) == ["polygon", "rotated", "shape_ignored"]
    turned = ("cat", 14.25 - 5, 11 - 10.25, 14.25 + 5, 11 + 10.25)
    assert boxes_of(dataset, "a.jpg") == [("cat", 1, 2, 10, 20), ("cat", 3, 4, 13, 24), turned]


@pytest.mark.parametrize(
    ("shape", "code"),
    [
        (box().replace('xtl="4"', 'xtl="nan"'), "not_finite"),
        (box().replace('xtl="4"', ""), "not_a_number"),
        (box().replace('label="cat"', 'label=" "'), "bad_object"),
        (box().replace('label="cat"', 'label="owl"'), "class_id"),
        (box(' rotation="round"'), "not_a_number"),
        ('<polygon label="cat" points="1,2;3"/>', "bad_object"),
        ('<polygon label="cat" points=""/>', "not_a_number"),
    ],
)
def test_bad_shapes_take_one_image(tmp_path, shape, code):
    images(tmp_path, *(f"{i}.jpg" for i in range(12)))
    write(tmp_path, *(image(f"{i}.jpg", box(), *([shape] if i == 3 else [])) for i in range(12)))
    assert bad(load(tmp_path)) == {"3.jpg": code}
    lenient = load(tmp_path, AuditSettings(bad_label="drop_line"))
    assert (bad(lenient), boxes_of(lenient, "3.jpg")) == ({}, [READ])


def test_without_labels_in_the_head_classes_are_sorted(tmp_path):
    images(tmp_path, "a.jpg")
    write(tmp_path, image("a.jpg", box(), box().replace("cat", "ant")), image(" "), labels=())
    dataset = load(tmp_path)
    assert (dataset.names, codes(dataset)) == (("ant", "cat"), ["bad_entry", "class_conflict"])


@pytest.mark.parametrize(
    ("content", "error", "told"),
    [
        ("<annotations><image>", DatasetError, "no readable xml"),
        ("<annotations>" + "<track/>" + "</annotations>", DatasetError, "CVAT for video"),
        ("<x><annotations></annotations></x>", DatasetError, "not <annotations>"),
        ('<!DOCTYPE a [<!ENTITY b "boom">]><annotations>&b;</annotations>', UntrustedFileError, "entities"),
        (cvat(image("../a.jpg", box())), UntrustedFileError, "leaves"),
        (cvat(image("b.jpg", box())), DatasetError, "None of the 1 images"),
        (cvat(), DatasetError, "lists no image"),
    ],
)
def test_files_that_cannot_be_used(tmp_path, content, error, told):
    images(tmp_path, "a.jpg")
    (tmp_path / "annotations.xml").write_text(content)
    with pytest.raises(error, match=told):
        load(tmp_path)


@pytest.mark.timeout(30)
def test_deep_nesting_and_size(tmp_path, monkeypatch):
    images(tmp_path, "a.jpg")
    write(tmp_path, image("a.jpg", box(), "<x>" * 100_000 + "</x>" * 100_000))
    dataset = load(tmp_path, AuditSettings(bad_label="drop_line"))
    assert boxes_of(dataset, "a.jpg") == [READ]
    monkeypatch.setattr(module, "MAX_BYTES", 100)
    with pytest.raises(DatasetError, match="over 0 MB"):
        load(tmp_path)
