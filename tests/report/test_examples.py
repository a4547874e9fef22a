"""Pictures with boxes: labels can be read, and are those of the boxes."""

from itertools import combinations

import pytest

from kdyolo.report import examples
from kdyolo.report.load import load


def label_box(shape):
    width = 0.62 * shape.font * len(shape.label)
    left = shape.text_x - width if shape.at_end else shape.text_x
    return left, shape.text_y - shape.font, left + width, shape.text_y


def overlap(a, b):
    (left, top, right, bottom), (low, above, high, below) = label_box(a), label_box(b)
    across, down = min(right, high) - max(left, low), min(bottom, below) - max(top, above)
    return across > 0 and down > 0.15 * a.font


@pytest.fixture
def crowded(synthetic, tmp_path):
    """Views of an image in which three classes are claimed at each of some places, at the borders too."""

    def make(corners):
        (example,) = synthetic.examples()
        example["arms"]["student"] = [
            {"class": name, "score": score, "xyxy": [x, y, x + 90, y + 90]}
            for x, y in corners
            for name, score in zip(synthetic.classes, (0.9, 0.7, 0.5), strict=True)
        ]
        (picture,) = examples.pictures(load(synthetic.run(tmp_path / "run", examples=[example])))
        return picture, next(panel for panel in picture.panels if panel.title == "student")

    return make


@pytest.mark.parametrize(
    "corners", [[(200, 200)], [(0, 0), (550, 0)], [(0, 390), (550, 390)], [(300, 100), (330, 110)]]
)
def test_labels_of_boxes_at_one_place_do_not_lie_on_each_other(crowded, corners):
    picture, panel = crowded(corners)
    labelled = [shape for shape in panel.shapes if shape.label]
    assert len(labelled) == 3 * len(corners)
    assert not [pair for pair in combinations(labelled, 2) if overlap(*pair)]
    for shape in labelled:
        assert shape.font <= shape.text_y < picture.height


def test_labels_that_are_alone_stay_above_their_boxes(crowded):
    _, panel = crowded([(300, 200)])
    first = panel.shapes[0]
    assert first.text_y == first.y - 4


def test_letters_keep_their_share_of_the_picture(crowded):
    picture, panel = crowded([(200, 200)])
    assert (picture.width, picture.height) == (640, 480)
    assert panel.shapes[0].font == round(640 / 24)
