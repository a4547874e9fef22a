"""A list of what a model was trained on finds copies of it among other images."""

import cv2
import numpy as np
import pytest
from builders import pixels

from kdyolo.config import AuditSettings
from kdyolo.datasets.images import check_image
from kdyolo.datasets.trained_on import Seen, read_trained_on, seen_before, write_trained_on
from kdyolo.datasets.view import ViewImage
from kdyolo.errors import ConfigError

SIZE = (128, 96)


@pytest.fixture
def image(tmp_path):
    """A view image of some pixels."""

    def make(name, picture):
        path = tmp_path / name
        cv2.imwrite(str(path), picture)
        check = check_image(path, AuditSettings())
        return ViewImage(
            image=path,
            label=path.with_suffix(".txt"),
            split="train",
            sha256=check.sha256,
            width=check.width,
            height=check.height,
            boxes=0,
            source=name,
            group="",
            signatures={path: check.signature},
        )

    return make


def test_written_and_read_it_is_the_same(image, tmp_path):
    images = [image(f"{i}.png", pixels(i, SIZE)) for i in range(3)]
    write_trained_on(tmp_path / "trained_on.csv", images)
    assert read_trained_on(tmp_path / "trained_on.csv") == [Seen(i.source, i.sha256, i.signature) for i in images]


def test_copies_are_found_and_others_are_not(image):
    seen = [Seen(i.source, i.sha256, i.signature) for i in (image(f"{n}.png", pixels(n, SIZE)) for n in range(6))]
    new = [
        image("same.png", pixels(0, SIZE)),
        image("smaller.png", cv2.resize(pixels(1, SIZE), None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)),
        image("mirrored.png", np.ascontiguousarray(pixels(2, SIZE)[:, ::-1])),
        image("other.png", pixels(77, SIZE)),
    ]
    assert seen_before(new, seen) == {"same.png": "0.png", "smaller.png": "1.png", "mirrored.png": "2.png"}


def test_without_signatures_identical_files_are_still_found(image):
    one = image("one.png", pixels(0, SIZE))
    assert seen_before([one], [Seen("theirs.png", one.sha256, b"")]) == {"one.png": "theirs.png"}


@pytest.mark.parametrize("text", ["", "image,sha256\na,b\n", "image,sha256,signature\na,b,xyz\n"])
def test_a_file_that_is_no_such_list_is_refused(tmp_path, text):
    (tmp_path / "trained_on.csv").write_text(text)
    if not text:
        (tmp_path / "trained_on.csv").unlink()
    with pytest.raises(ConfigError, match="no list of training images"):
        read_trained_on(tmp_path / "trained_on.csv")
