import csv
from pathlib import Path

import pytest
from builders import checked

from kdyolo.datasets.splits.folds import divide, read_folds, write_folds
from kdyolo.datasets.splits.grouping import group_identical
from kdyolo.datasets.view import View, ViewImage
from kdyolo.errors import DatasetError


def groups_of(n, copies=4):
    samples = [checked(f"{i:02d}", str(max(i - copies, 0) if i < 2 * copies else i)) for i in range(n)]
    return group_identical(samples)


@pytest.fixture
def view(tmp_path):
    """A view of 30 images in train and val, some identical, and two of test."""
    samples = [sample for group in groups_of(30) for sample in group.samples]
    places = [(sample.name, sample.check.sha256, "val" if i % 5 == 0 else "train") for i, sample in enumerate(samples)]
    places += [("t1", "t1", "test"), ("t2", "t2", "test")]
    images = [
        ViewImage(tmp_path / f"images/{split}/{name}.jpg", Path(), split, sha256, 8, 8, 1, name, sha256[:16])
        for name, sha256, split in places
    ]
    splits = {name: [image for image in images if image.split == name] for name in ("train", "val", "test", "pool")}
    return View(tmp_path, tmp_path / "data.yaml", ("cat",), splits)


def test_every_image_is_held_out_once_from_images_of_other_groups(view):
    groups = groups_of(30)
    write_folds(view, groups, divide(groups, 5, 2, 0, 1))
    seen = []
    for repeat in (0, 1):
        pairs = list(read_folds(view, repeat))
        assert len(pairs) == 5
        held = [image.source for _, out in pairs for image in out]
        assert sorted(held) == sorted(f"{i:02d}" for i in range(30))
        for train, out in pairs:
            assert len(train) + len(out) == 30
            assert 4 <= len(out) <= 9
            assert not {image.sha256 for image in train} & {image.sha256 for image in out}
            assert [image.image for image in train] == sorted(image.image for image in train)
        seen.append([{image.source for image in out} for _, out in pairs])
    assert seen[0] != seen[1]


def test_the_table_is_for_people_as_well(view):
    groups = groups_of(30)
    file = write_folds(view, groups, divide(groups, 3, 2, 7, 1))
    rows = list(csv.DictReader(file.open(newline="")))
    assert list(rows[0]) == ["view", "source", "repeat", "fold"]
    assert len(rows) == 60
    assert {(row["repeat"], row["fold"]) for row in rows} == {(str(r), str(f)) for r in range(2) for f in range(3)}
    assert not any("/test/" in row["view"] for row in rows)


def test_more_folds_than_groups():
    with pytest.raises(DatasetError, match="26 groups of images, too few for 27 folds") as caught:
        divide(groups_of(30), 27, 1, 0, 1)
    assert "at most 26" in caught.value.hint


def test_folds_that_are_not_there(view):
    with pytest.raises(DatasetError, match=r"no readable folds\.csv"):
        list(read_folds(view))
    groups = groups_of(30)
    file = write_folds(view, groups, divide(groups, 3, 1, 0, 1))
    with pytest.raises(DatasetError, match="no repeat 1"):
        list(read_folds(view, 1))
    file.write_text("\n".join(file.read_text().splitlines()[:-2]))
    with pytest.raises(DatasetError, match="not all images"):
        list(read_folds(view))
    file.write_text("view,fold\nx,one\n")
    with pytest.raises(DatasetError, match=r"no readable folds\.csv"):
        list(read_folds(view))
