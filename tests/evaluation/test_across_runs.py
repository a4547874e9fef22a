"""Models of different runs: the same test split or not, and how they differ."""

import numpy as np
import pytest
from compared import detections, make_split

from kdyolo.boxes import Truth
from kdyolo.datasets.view import load_view
from kdyolo.errors import DatasetError
from kdyolo.evaluation.across_runs import difference, fingerprint_of_test
from kdyolo.evaluation.bootstrap import bootstrap, keyed_matches

NAMES = ["leaf"]
TRUTH = {f"{i}.jpg": Truth(np.array([[10.0 + i, 10, 60 + i, 70]]), np.array([0]), 100, 100) for i in range(20)}


def training(shift, seed):
    return keyed_matches(TRUTH, detections(TRUTH, shift, seed), NAMES)


def test_the_fingerprint_is_of_images_labels_and_class_names_alone(tmp_path):
    for name, draw in (("a", 0), ("b", 0), ("c", 1)):
        make_split(tmp_path / name, draw=draw)
    a, b, c = (fingerprint_of_test(load_view(tmp_path / name)) for name in "abc")
    assert a == b != c
    names = tmp_path / "b" / "data.yaml"
    names.write_text(names.read_text().replace("spot", "mite"))
    assert fingerprint_of_test(load_view(tmp_path / "b")) != a
    (tmp_path / "a" / "labels" / "test" / "0.txt").unlink()
    with pytest.raises(DatasetError):
        fingerprint_of_test(load_view(tmp_path / "a"))


def test_a_model_does_not_differ_from_itself():
    found = difference([training(3, 0)], [training(3, 0)], NAMES)
    assert (found.estimate, found.low, found.high) == (0, 0, 0)


def test_a_worse_model_is_below():
    found = difference([training(12, 0)], [training(2, 1)], NAMES)
    assert found.estimate < found.high < 0


@pytest.mark.parametrize(("a", "b", "used"), [(1, 3, (1, 3)), (3, 2, (2, 2)), (2, 2, (2, 2))])
def test_as_many_trainings_as_both_have(a, b, used):
    first, second = [training(2, i) for i in range(a)], [training(4, 9 + i) for i in range(b)]
    expected = bootstrap({"a": first[: used[0]], "b": second[: used[1]]}, NAMES).difference("a", "b")
    assert difference(first, second, NAMES) == expected
