import os
import time

import pytest
from builders import make_yolo_dataset, tree_state, write_image

from kdyolo.config import AuditSettings, DataSettings
from kdyolo.datasets import image_checks
from kdyolo.datasets.formats.detect import read
from kdyolo.datasets.image_checks import check_images
from kdyolo.progress import Silent
from kdyolo.storage import cache_folder


@pytest.fixture
def source(tmp_path, monkeypatch):
    monkeypatch.setenv("KDYOLO_CACHE", str(tmp_path / "cache"))
    folder = make_yolo_dataset(tmp_path / "data", n=7)
    (folder / "images" / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no picture")
    write_image(folder / "images" / "small.png", size=(5, 5))
    for path in folder.rglob("*"):
        os.utime(path, (time.time() - 3600,) * 2)
    return folder


@pytest.fixture
def opened(monkeypatch):
    """Names of the images that were decoded."""
    names, check_image = [], image_checks.check_image

    def watched(path, audit):
        names.append(path.name)
        return check_image(path, audit)

    monkeypatch.setattr(image_checks, "check_image", watched)
    return names


def looked_at(source, **audit):
    settings = AuditSettings(**audit)
    dataset = read(source, DataSettings(), settings)
    check_images(dataset, settings, Silent())
    found = sorted((f.code, f.file, f.message) for f in dataset.findings)
    return [(s.name, s.check, s.quarantine) for s in dataset.samples], found


def test_the_second_look_opens_nothing_and_says_the_same(source, opened):
    before = tree_state(source)
    first = looked_at(source)
    assert len(opened) == 9
    assert {"too_small"} < {code for code, _, _ in first[1]}
    opened.clear()
    assert looked_at(source) == first
    assert opened == []
    assert looked_at(source, cache=False) == first
    assert len(opened) == 9
    assert tree_state(source) == before


def test_only_what_changed_is_opened_again(source, opened):
    looked_at(source)
    opened.clear()
    changed, touched, renamed = sorted((source / "images").rglob("*.jpg"))[1:4]
    write_image(changed, seed=77)
    touched.touch()
    renamed.rename(renamed.with_name("renamed.jpg"))
    after = looked_at(source)
    assert opened == [changed.name]
    assert looked_at(source, cache=False) == after


def test_a_stopped_check_goes_on_where_it_stopped(source, opened, monkeypatch):
    monkeypatch.setattr(image_checks, "_AT_ONCE", 2)

    class Stop(Silent):
        def update(self, done, **figures):
            if done == 5:
                raise KeyboardInterrupt

    dataset = read(source, DataSettings(), AuditSettings())
    with pytest.raises(KeyboardInterrupt):
        check_images(dataset, AuditSettings(), Stop())
    seen = list(opened)
    opened.clear()
    looked_at(source)
    assert len(seen) >= 4
    assert len(opened) <= 5
    assert not set(seen[:4]) & set(opened)


def test_the_order_and_the_number_at_once_do_not_decide(source, monkeypatch):
    first = looked_at(source, cache=False)
    monkeypatch.setattr(image_checks, "_AT_ONCE", 2)
    assert looked_at(source, cache=False) == first
    assert not (cache_folder() / "checks.sqlite").exists()
