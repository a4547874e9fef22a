import numpy as np
import pytest
from builders import checked, dataset_of, looks
from PIL import Image

from kdyolo.datasets.auditing.box_table import BoxTable
from kdyolo.datasets.auditing.label_checks import report_labels
from kdyolo.datasets.signatures import signature


def judged(samples, names=("cat", "dog")):
    dataset = dataset_of(samples, names)
    report_labels(dataset, BoxTable.of(dataset.usable))
    return {f.code: f for f in dataset.findings}


def spread(n=30, size=(640, 480)):
    """Images with one box each that nothing can be said against."""
    rng = np.random.default_rng(0)
    return [
        checked(f"{i:02d}.jpg", boxes=[(i % 2, 0.5, 0.5, *rng.uniform(0.1, 0.4, 2))], size=size, looks=looks(i))
        for i in range(n)
    ]


def test_nothing_is_wrong_with_ordinary_boxes():
    assert judged(spread()) == {}


def test_no_box_at_all():
    found = judged([checked("a.jpg", boxes=())])
    assert [(f.code, f.severity) for f in found.values()] == [("no_boxes", "error")]


@pytest.mark.parametrize(("whole", "told"), [(6, False), (7, True), (12, True)])
def test_boxes_over_the_whole_image(whole, told):
    samples = [checked(f"w{i}.jpg", boxes=[(i % 2, 0.5, 0.5, 1, 0.99)]) for i in range(whole)] + spread(12 - whole)
    found = judged(samples)
    assert ("whole_image_boxes" in found) == told
    assert "one_box_size" not in found
    if told:
        assert f"{whole} of 12 boxes" in found["whole_image_boxes"].message


def test_one_size_in_pixels_or_as_a_share():
    pixels = [
        checked(f"{i}.jpg", boxes=[(i % 2, 0.5, 0.5, 32 / w, 48 / 480)], size=(w, 480))
        for i, w in enumerate(range(400, 440))
    ]
    assert "40 of 40 boxes measure 32 x 48 px" in judged(pixels)["one_box_size"].message
    shares = [
        checked(f"{i}.jpg", boxes=[(i % 2, 0.5, 0.5, 0.25, 0.5)], size=(w, 480)) for i, w in enumerate(range(400, 440))
    ]
    assert "25 x 50 % of the image" in judged(shares)["one_box_size"].message
    assert "one_box_size" not in judged(shares[:10])
    assert "one_box_size" not in judged([*shares[:30], *spread()[:5]])


def test_one_class():
    samples = [checked(f"{i}.jpg", boxes=[(1, 0.5, 0.5, 0.2, 0.1 + i / 20)]) for i in range(4)]
    assert "'dog'" in judged(samples)["one_class"].message
    assert judged(samples)["one_class"].severity == "note"


@pytest.mark.parametrize(
    ("size", "box", "told"),
    [
        ((640, 480), (2.9, 40), True),
        ((640, 480), (3.1, 40), False),
        ((6400, 4800), (29, 400), True),
        ((320, 240), (3.1, 40), False),
    ],
)
def test_tiny_boxes_count_at_the_training_size(size, box, told):
    rows = [(0, 0.5, 0.5, 0.3, 0.2), (1, 0.5, 0.5, box[0] / size[0], box[1] / size[1])]
    found = judged([checked("a.jpg", boxes=rows, size=size)])
    assert ("tiny_box" in found) == told
    if told:
        assert (found["tiny_box"].file, found["tiny_box"].boxes) == ("a.jpg", (1,))


def test_boxes_on_boxes():
    same = [(0, 0.5, 0.5, 0.3, 0.3), (0, 0.501, 0.5, 0.3, 0.3), (0, 0.2, 0.2, 0.1, 0.1)]
    classes = [(0, 0.5, 0.5, 0.3, 0.3), (1, 0.501, 0.5, 0.3, 0.3)]
    found = judged([checked("same.jpg", boxes=same), checked("classes.jpg", boxes=classes)])
    assert (found["box_overlap"].file, found["box_overlap"].boxes) == ("same.jpg", (0, 1))
    assert (found["class_overlap"].file, found["class_overlap"].boxes) == ("classes.jpg", (0, 1))


def test_what_the_reader_has_told_is_not_told_again():
    exact = [(0, 0.5, 0.5, 0.3, 0.3), (1, 0.5, 0.5, 0.3, 0.3)]
    assert "class_overlap" not in judged([checked("a.jpg", boxes=exact)])


def test_boxes_on_an_even_surface():
    picture = np.full((16, 18), 120, dtype=np.uint8)
    picture[4:8, 9:14] = 200
    empty, full = (1, 0.2, 0.8, 0.2, 0.2), (0, 11.5 / 18, 6 / 16, 5 / 18, 4 / 16)
    seen = signature(Image.fromarray(picture))
    found = judged([checked("a.jpg", boxes=[full, empty], looks=seen), checked("b.jpg", boxes=[empty])])
    assert (found["flat_box"].file, found["flat_box"].boxes, found["flat_box"].severity) == ("a.jpg", (1,), "note")


@pytest.mark.parametrize("box", [(0.2, 0.8, 0.05, 0.3), (0.5, 0.5, 0.9, 0.9)])
def test_boxes_that_a_signature_cannot_judge_are_left_alone(box):
    empty = signature(Image.new("L", (180, 160), 99))
    assert "flat_box" not in judged([checked("a.jpg", boxes=[(0, *box)], looks=empty)])


def test_a_box_in_an_image_that_shows_nothing():
    empty = signature(Image.new("L", (180, 160), 99))
    assert judged([checked("a.jpg", boxes=[(0, 0.5, 0.5, 0.3, 0.3)], looks=empty)])["flat_box"].boxes == (0,)
