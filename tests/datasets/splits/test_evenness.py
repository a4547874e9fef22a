import json

import pytest
from builders import checked

from kdyolo.datasets.splits.evenness import evenness
from kdyolo.datasets.splits.grouping import group_identical


def groups_of(*images):
    return group_identical(
        [checked(name, None, [(c, 0.5, 0.5, 0.3, 0.3) for c in classes]) for name, classes in images]
    )


PARTS = {
    "train": groups_of(("a", [0, 0]), ("b", [0, 1]), ("c", [])),
    "val": groups_of(("d", [0])),
    "test": groups_of(("e", [1])),
}


def test_shares_deviations_and_the_least_there_could_be():
    even = evenness(PARTS, (0.6, 0.2, 0.2), ["cat", "dog", "bird"])
    assert even.classes == {
        "cat": {"count": 4, "train": 0.75, "val": 0.25, "test": 0.0},
        "dog": {"count": 2, "train": 0.5, "val": 0.0, "test": 0.5},
    }
    assert even.others == {
        "images": {"count": 5, "train": 0.6, "val": 0.2, "test": 0.2},
        "empty images": {"count": 1, "train": 1.0, "val": 0.0, "test": 0.0},
        "large objects": {"count": 6, "train": 0.666667, "val": 0.166667, "test": 0.166667},
    }
    assert (even.worst, even.worst_at) == (pytest.approx(0.3), "dog in test")
    assert even.least == pytest.approx(0.3)
    assert json.dumps(even.facts(), allow_nan=False)


def test_the_table():
    lines = evenness(PARTS, (0.6, 0.2, 0.2), ["cat", "a" * 40 + "\x1b[31m", "bird"]).lines()
    assert lines[0].split() == ["share", "in", "%", "train", "val", "test"]
    assert lines[1].split() == ["ideal", "60.0", "20.0", "20.0"]
    assert lines[-2].split() == ["cat", "4", "75.0", "25.0", "0.0"]
    assert lines[-1].split() == ["a" * 20 + "...", "2", "50.0", "0.0", "50.0"]
    assert len({len(line) for line in lines}) == 1
    assert all(line.isprintable() for line in lines)


def test_of_many_classes_the_furthest_off_are_shown():
    parts = {"train": groups_of(("a", range(20)), ("b", range(17))), "val": groups_of(("c", range(20)))}
    lines = evenness(parts, (0.6, 0.4), [f"c{i}" for i in range(20)]).lines()
    assert lines[-1] == "and 8 classes that are closer to their shares"
    assert [line.split()[0] for line in lines[-4:-1]] == ["c17", "c18", "c19"]


def test_nothing_but_empty_images():
    even = evenness({"train": groups_of(("a", [])), "val": groups_of(("b", []))}, (0.5, 0.5), ["cat"])
    assert (even.worst, even.worst_at, even.least, even.classes) == (0, "", 0, {})
