"""A model on a split: detections and truth under the same keys, none left out."""

import numpy as np
import pytest
from builders import write_image

from kdyolo.boxes import Detections
from kdyolo.datasets.view import ViewImage
from kdyolo.engine.detector import Prediction
from kdyolo.errors import DatasetError
from kdyolo.evaluation.splits import detect, nothing, truths


class Fake:
    """A detector with given outcomes."""

    def __init__(self, outcomes):
        self.outcomes, self.asked = outcomes, None

    def predict(self, paths, conf, iou, augment=False, multi_label=False):
        self.asked = (conf, iou, augment, multi_label)
        for path, outcome in zip(paths, self.outcomes, strict=True):
            yield Prediction(path, outcome) if isinstance(outcome, Detections) else Prediction(path, None, outcome)


@pytest.fixture
def images(tmp_path):
    result = []
    for i, text in enumerate(["1 0.5 0.5 0.5 0.5\n0 0.25 0.5 0.1 1.0\n", "", "0 0.5 0.5 1 1\n"]):
        image, label = tmp_path / "images" / f"{i}.png", tmp_path / "labels" / f"{i}.txt"
        label.parent.mkdir(exist_ok=True)
        label.write_text(text)
        write_image(image, i, (80, 40))
        result.append(ViewImage(image, label, "val", "", 80, 40, 0, f"{i}.png", ""))
    return result


def test_truth_is_in_pixels(images):
    truth = truths(images)
    assert list(truth) == ["0.png", "1.png", "2.png"]
    assert truth["0.png"].cls.tolist() == [1, 0]
    np.testing.assert_allclose(truth["0.png"].xyxy, [[20, 10, 60, 30], [16, 0, 24, 40]])
    assert truth["1.png"].xyxy.shape == (0, 4)
    assert (truth["2.png"].width, truth["2.png"].height) == (80, 40)


def test_detections_have_the_same_keys_as_the_truth(images):
    box = Detections(np.array([[1.0, 2, 3, 4]]), np.array([0.5]), np.array([1]))
    fake = Fake([box, nothing(), box])
    found = detect(fake, images, 0.001, 0.7, _Silent(), "t")
    assert list(found) == list(truths(images))
    assert found["2.png"] is box
    assert fake.asked == (0.001, 0.7, False, True)
    detect(fake, images, 0.001, 0.7, _Silent(), "t", augment=True)
    assert fake.asked == (0.001, 0.7, True, True)


class _Silent:
    def start(self, title, total):
        pass

    update = finish = lambda *a: None


def test_an_image_that_vanished_stops_the_comparison(images):
    with pytest.raises(DatasetError, match=r"1\.png cannot be read any more"):
        detect(Fake([nothing(), "unreadable", nothing()]), images, 0.1, 0.7, _Silent(), "t")


def test_output_that_is_not_finite_finds_nothing(images):
    found = detect(Fake([nothing(), "not_finite", nothing()]), images, 0.1, 0.7, _Silent(), "t")
    assert len(found) == 3
    assert found["1.png"].xyxy.shape == (0, 4)
