"""Images to be labelled by the teacher: checked, and none that is in a split already."""

import shutil

import pytest
from builders import write_image

from kdyolo.config import AuditSettings
from kdyolo.datasets.pool import read_pool
from kdyolo.datasets.view import ViewImage
from kdyolo.errors import DatasetError
from kdyolo.progress import Silent
from kdyolo.storage import sha256_file


@pytest.fixture
def known(tmp_path):
    """One image in each split."""
    images = []
    for i, split in enumerate(("train", "val", "test")):
        path = write_image(tmp_path / "view" / split / f"k{i}.jpg", i)
        images.append(ViewImage(path, path, split, sha256_file(path), 64, 48, 0, path.name, ""))
    return images


@pytest.fixture
def read(tmp_path, known):
    def go(audit=None):
        return read_pool(tmp_path / "pool", known, audit or AuditSettings(), Silent())

    return go


def verdicts(pool):
    return {sample.name: sample.quarantine for sample in pool.samples}


def test_copies_of_split_images_and_of_each_other_are_left_out(tmp_path, known, read):
    for image in known:
        (tmp_path / "pool").mkdir(exist_ok=True)
        shutil.copy(image.image, tmp_path / "pool" / f"copy-of-{image.split}.jpg")
    write_image(tmp_path / "pool" / "new.jpg", 10)
    write_image(tmp_path / "pool" / "sub" / "same.jpg", 10)
    pool = read()
    assert verdicts(pool) == {
        "copy-of-train.jpg": "duplicate_of_train",
        "copy-of-val.jpg": "duplicate_of_val",
        "copy-of-test.jpg": "duplicate_of_test",
        "new.jpg": "",
        "sub/same.jpg": "duplicate_of_pool",
    }
    assert [s.name for s in pool.usable] == ["new.jpg"]
    assert {f.code for f in pool.findings} == {f"duplicate_of_{s}" for s in ("train", "val", "test", "pool")}


def test_a_copy_whose_end_was_damaged_is_still_a_copy(tmp_path, known, read):
    """The mended picture is compared, not the file."""
    write_image(tmp_path / "pool" / "new.jpg", 10)
    (tmp_path / "pool" / "copy.jpg").write_bytes(known[2].image.read_bytes() + b"trailing bytes")
    assert verdicts(read())["copy.jpg"] == "duplicate_of_test"


def test_bad_images_are_quarantined_and_labels_not_read(tmp_path, read):
    write_image(tmp_path / "pool" / "good.png", 4)
    write_image(tmp_path / "pool" / "tiny.png", 5, (9, 9))
    (tmp_path / "pool" / "empty.jpg").touch()
    (tmp_path / "pool" / "good.txt").write_text("no label at all")
    (tmp_path / "pool" / "data.yaml").write_text("download: rm -rf /")
    assert verdicts(read()) == {"good.png": "", "tiny.png": "too_small", "empty.jpg": "empty_file"}
    assert read().samples[1].check.width in (64, 9)


@pytest.mark.parametrize("content", [None, "broken", "copies"])
def test_a_folder_without_a_new_image(tmp_path, known, read, content):
    (tmp_path / "pool").mkdir()
    if content == "broken":
        (tmp_path / "pool" / "a.jpg").write_bytes(b"x")
    elif content == "copies":
        shutil.copy(known[0].image, tmp_path / "pool" / "a.jpg")
    with pytest.raises(DatasetError, match="can be labelled"):
        read()


def test_the_folder_is_left_alone(tmp_path, read):
    from builders import tree_state

    write_image(tmp_path / "pool" / "a.jpg", 4)
    before = tree_state(tmp_path / "pool")
    read()
    assert tree_state(tmp_path / "pool") == before
