import os

import pytest
from builders import make_yolo_dataset, write_image

from kdyolo.config import DataSettings
from kdyolo.datasets.fingerprint import fingerprint


@pytest.fixture
def source(tmp_path):
    return make_yolo_dataset(tmp_path / "data", n=3)


def add_image(source):
    write_image(source / "images" / "new.jpg")


def remove_label(source):
    (source / "labels" / "img000.txt").unlink()


def change_label(source):
    (source / "labels" / "img000.txt").write_text("0 0.5 0.5 0.25 0.25\n")


def touch_image(source):
    os.utime(source / "images" / "img001.jpg", (1, 1))


def rename(source):
    (source / "images" / "img001.jpg").rename(source / "images" / "img009.jpg")


def rename_class(source):
    file = source / "data.yaml"
    times = file.stat()
    file.write_text(file.read_text().replace("cat", "cow"))  # same size
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))


@pytest.mark.parametrize("change", [add_image, remove_label, change_label, touch_image, rename, rename_class])
def test_every_change_shows(source, change):
    before = fingerprint(source, DataSettings())[0]
    assert fingerprint(source, DataSettings())[0] == before
    change(source)
    assert fingerprint(source, DataSettings())[0] != before


def test_what_other_tools_leave_beside_images_is_no_change(source):
    before = fingerprint(source, DataSettings())
    (source / "labels" / "train.cache").write_bytes(b"x")
    (source / "images" / "img000.npy").write_bytes(b"x")
    (source / ".DS_Store").write_bytes(b"x")
    (source / "__MACOSX").mkdir()
    (source / "__MACOSX" / "a.jpg").write_bytes(b"x")
    assert fingerprint(source, DataSettings()) == before


def test_splits_outside_the_folder_count(tmp_path, source):
    other = make_yolo_dataset(tmp_path / "other", n=2)
    (source / "data.yaml").write_text(f"train: images\nval: {other / 'images'}\nnames: [cat, dog]\n")
    outside = DataSettings(allow_outside=True)
    before = fingerprint(source, outside)[0]
    change_label(other)
    assert fingerprint(source, outside)[0] != before


def test_the_newest_time_is_told(source):
    os.utime(source / "images" / "img001.jpg", (4e9, 4e9))
    assert fingerprint(source, DataSettings())[1] == 4_000_000_000 * 10**9
