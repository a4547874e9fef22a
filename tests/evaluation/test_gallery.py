from pathlib import Path

import numpy as np
import pytest

from kdyolo.boxes import Detections, Truth
from kdyolo.datasets.view import View, ViewImage
from kdyolo.evaluation.gallery import SPREAD, gallery

ROOT = Path("/run/split")
NAMES = ("cat", "dog")


def scene(count, empty=()):
    """A view of `count` images with a dog each, but those `empty`, and one arm that finds it at 0.3 and at 0.1."""
    images, truths, found = [], {}, {}
    for i in range(count):
        name = f"{i:02}.jpg"
        path = ROOT / "images" / "test" / name
        images.append(ViewImage(path, path.with_suffix(".txt"), "test", "0", 100, 100, 1, name, name, {}))
        boxes = np.zeros((0, 4)) if i in empty else np.array([[1.0, 2.0, 30.123, 40.0]])
        truths[name] = Truth(boxes, np.ones(len(boxes), int), 100, 100)
        found[name] = Detections(np.array([[1.0, 2, 30, 41]] * 2), np.array([0.3, 0.1]), np.array([1, 0]))
    return View(ROOT, ROOT / "data.yaml", NAMES, {"test": images}), truths, {"student": found}


def shown(count, wanted, ranked=None, empty=(), confidence=0.2):
    view, truths, found = scene(count, empty)
    return gallery(view, "test", truths, found, {"student": confidence}, ranked or {}, wanted)


@pytest.mark.parametrize(("count", "wanted", "names"), [(6, 3, "00 02 04"), (3, 9, "00 01 02"), (5, 0, ""), (0, 3, "")])
def test_images_are_spread_without_a_look_at_any_model(count, wanted, names):
    rows = shown(count, wanted)
    assert [Path(row["image"]).stem for row in rows] == names.split()
    assert all((row["group"], row["boxes"]) == (SPREAD, None) for row in rows)


def test_images_without_boxes_are_not_spread():
    assert [row["image"] for row in shown(3, 2, empty={0})] == ["images/test/01.jpg", "images/test/02.jpg"]


def test_the_first_of_each_group_follow():
    ranked = {"fixed": [{"image": f"{i:02}.jpg", "boxes": 9 - i} for i in range(6)], "broke": []}
    rows = shown(6, 5, ranked)[5:]
    assert [(row["image"][-6:], row["group"], row["boxes"]) for row in rows] == [
        ("00.jpg", "fixed", 9),
        ("01.jpg", "fixed", 8),
        ("02.jpg", "fixed", 7),
    ]
    assert shown(6, 0, ranked) == []  # no examples wanted: no image leaves the run
    assert len(shown(6, 1, ranked)) == 2


def test_boxes_are_those_above_the_operating_point():
    (row,) = shown(1, 1)
    assert row["truth"] == [{"class": "dog", "xyxy": [1.0, 2.0, 30.12, 40.0]}]
    assert row["arms"] == {"student": [{"class": "dog", "score": 0.3, "xyxy": [1.0, 2.0, 30.0, 41.0]}]}
    assert len(shown(1, 1, confidence=0.1)[0]["arms"]["student"]) == 2
