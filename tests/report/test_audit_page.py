"""The page of an audit: what it shows, that it is safe, and that it stays small."""

import json
import os
import shutil

import cv2
import numpy as np
import pytest
from builders import image_bytes, make_yolo_dataset, write_image
from html_page import NASTY, Page

from kdyolo import api
from kdyolo.config import AuditSettings, DataSettings
from kdyolo.datasets.auditing.checks import audit_dataset
from kdyolo.datasets.auditing.codes import CODES
from kdyolo.datasets.formats.detect import read
from kdyolo.errors import ConfigError, RunExistsError
from kdyolo.progress import Silent
from kdyolo.report import audit_page, audit_pictures


def page_of(folder, spoil=lambda dataset: None):
    dataset = read(folder, DataSettings(), AuditSettings())
    audit_dataset(dataset, AuditSettings(), (0.7, 0.15, 0.15), Silent())
    spoil(dataset)
    text = audit_page.page(dataset, AuditSettings())
    return Page(text), text


@pytest.fixture
def faulty(tmp_path):
    """A set with splits that leak, a broken image and boxes on boxes."""
    folder = make_yolo_dataset(tmp_path / "faulty set", splits={"train": 14, "val": 10, "test": 20})
    shutil.copy(folder / "images/train/img000.jpg", folder / "images/test/img024.jpg")
    (folder / "images/train/img001.jpg").write_bytes(image_bytes()[:200])
    (folder / "labels/train/img002.txt").write_text("0 0.5 0.5 0.4 0.4\n0 0.5 0.51 0.4 0.4\n1 0.2 0.2 0.1 0.1\n")
    (folder / "labels/train/img003.txt").write_text("0 0.5 0.5 0.4\n1 0.2 0.2 0.1 0.1\n")
    return folder


def test_it_opens_with_the_verdict_and_counts(faulty):
    page, _ = page_of(faulty)
    verdict = "The splits of this data set leak: 1 of 20 test images is identical to a train image."
    assert page.text.index("faulty set") < page.text.index(verdict) < page.text.index("Identical images in two splits")
    assert "2 of 44 images cannot be used" in page.text
    assert "42 usable images" in page.text


def test_every_kind_says_what_it_means_and_what_to_do(faulty):
    page, _ = page_of(faulty)
    for code in ("split_leak", "labels_differ", "truncated", "box_overlap", "columns"):
        assert code in page.text
        for text in (CODES[code].title, CODES[code].meaning, CODES[code].todo):
            plain = " ".join(text.replace("`", " ").split())
            assert plain in " ".join(page.text.split()).replace(" ,", ",") or plain.split(" (")[0] in page.text


def test_it_is_safe_and_whole(faulty):
    page, text = page_of(faulty)
    page.is_self_contained(text)
    page.has_sound_ids()
    assert page.tags.count("h1") == 1
    assert page.tags.count("svg") == sum(1 for tag, name, _ in page.attributes if (tag, name) == ("svg", "aria-label"))
    assert page.tags.count("th") == sum(1 for tag, name, _ in page.attributes if tag == "th" and name == "scope")


def test_pairs_are_side_by_side_and_each_picture_is_stored_once(faulty):
    page, text = page_of(faulty)
    leak = text[text.index('id="split_leak-error"') :]
    frames = leak[leak.index("<figure>") : leak.index("</figure>")]
    assert frames.index("img000.jpg") < frames.index("img024.jpg")
    assert frames.index("<b>train</b>") < frames.index("<b>test</b>")
    uris = [value for _, name, value in page.attributes if name == "href" and value.startswith("data:")]
    assert len(uris) == len(set(uris)) + 1  # two files with the same content
    assert "<use " in text  # the pair is shown again, for its labels


def test_the_boxes_in_question_stand_out(faulty):
    _, text = page_of(faulty)
    part = text[text.index('id="box_overlap-warning"') :]
    part = part[: part.index("</figure>")]
    assert part.count("<rect") == 3
    assert part.count('class="marked"') == 2


def test_broken_images_get_a_placeholder(faulty):
    _, text = page_of(faulty)
    part = text[text.index('id="truncated-error"') :]
    assert "no picture" in part[: part.index("</section>")]


def test_an_image_refused_for_its_labels_is_shown(faulty):
    _, text = page_of(faulty)
    part = text[text.index('id="columns-error"') :]
    part = part[: part.index("</section>")]
    assert "img003.jpg" in part
    assert "no picture" not in part


def test_a_single_finding_says_where_it_is(faulty):
    page, _ = page_of(faulty)
    assert "labels/train/img003.txt, line 1 : The line has 4 columns" in page.text


def test_links_out_are_not_followed(faulty, tmp_path):
    write_image(tmp_path / "secret.jpg", 99)
    (faulty / "images/train/link.jpg").symlink_to(tmp_path / "secret.jpg")
    _, text = page_of(faulty)
    part = text[text.index('id="outside_root-error"') :]
    part = part[: part.index("</section>")]
    assert "no picture" in part
    assert "data:" not in part


@pytest.mark.parametrize(
    "left", [None, b"", b"no image", image_bytes(kind="PNG")[:200]], ids=["gone", "empty", "text", "cut"]
)
def test_an_image_that_vanishes_or_changes_meanwhile(tmp_path, left):
    folder = make_yolo_dataset(tmp_path / "d", n=4, suffix=".tif")
    (folder / "labels/img001.txt").unlink()

    def spoil(dataset):
        (folder / "images/img001.tif").unlink()
        if left is not None:
            (folder / "images/img001.tif").write_bytes(left)

    _, text = page_of(folder, spoil)
    part = text[text.index('id="missing_label-warning"') :]
    assert "no picture" in part[: part.index("</section>")]


def test_pictures_stand_upright(tmp_path):
    from PIL import Image

    exif = Image.Exif()
    exif[0x0112] = 6
    folder = make_yolo_dataset(tmp_path / "d", n=4)
    write_image(folder / "images/img000.jpg", 0, (400, 200), exif=exif.tobytes())
    (folder / "labels/img000.txt").unlink()
    _, text = page_of(folder)
    part = text[text.index('id="missing_label-warning"') :]
    assert 'viewBox="0 0 150 300"' in part[: part.index("</section>")]


def test_nasty_names_come_out_as_text(tmp_path):
    names = [name.replace("/", "_")[:200] for name in NASTY]
    folder = make_yolo_dataset(tmp_path / "a <b> & c", n=len(names), classes=NASTY)
    listed = "".join(f"  {i}: {json.dumps(name)}\n" for i, name in enumerate(NASTY))
    (folder / "data.yaml").write_text(f"names:\n{listed}")
    for i, name in enumerate(names):
        os.replace(folder / f"images/img{i:03d}.jpg", folder / f"images/{name}.jpg")
        (folder / f"labels/img{i:03d}.txt").unlink()
    (folder / f"labels/{names[0]}.txt").write_text("0 0.5 0.5 0.4 0.4\n")
    page, text = page_of(folder)
    page.is_self_contained(text)
    assert names[1] in page.text
    assert NASTY[0] in page.text
    assert "a <b> & c" in page.text


def test_it_stays_small_whatever_there_is_to_show(tmp_path, monkeypatch):
    folder = make_yolo_dataset(tmp_path / "d", n=40)
    rng = np.random.default_rng(0)
    for path in (folder / "images").iterdir():  # noise makes the largest JPEGs
        cv2.imwrite(str(path), rng.integers(0, 255, (400, 400, 3), dtype=np.uint8))
    for label in (folder / "labels").iterdir():
        label.write_text(label.read_text() + "0 0.5 0.5 0.001 0.001\n0 0.9 0.5 0.3 0.3\n")
    _, text = page_of(folder)
    assert text.count("data:image") >= 12
    monkeypatch.setattr(audit_pictures, "MAX_BYTES", 200_000)
    _, small = page_of(folder)
    assert 1 <= small.count("data:image") < text.count("data:image")
    assert len(small) < 200_000 + 200_000


def test_many_findings_are_counted_and_some_are_listed(tmp_path):
    def spoil(dataset):
        for i in range(5000):
            dataset.add("tiny_box", "warning", dataset.samples[i % 6].name, f"Number {i}.")

    page, text = page_of(make_yolo_dataset(tmp_path / "d", n=6), spoil)
    assert "The first 100 of 5,000" in page.text
    assert text.count("<svg") <= 12
    assert len(text) < 1_000_000


def test_a_set_of_which_nothing_can_be_used_still_makes_a_page(tmp_path):
    folder = make_yolo_dataset(tmp_path / "d", n=3)
    for path in (folder / "images").iterdir():
        path.write_bytes(b"")
    page, text = page_of(folder)
    page.has_sound_ids()
    assert "3 of 3 images cannot be used" in page.text
    assert "nan" not in text


def test_figures_of_the_data_set(faulty):
    page, _ = page_of(faulty)
    assert "train 12 0 25" in page.text
    assert "test 20 0 40" in page.text
    assert "Boxes in an image" in page.text


def test_where_it_may_be_written(faulty, tmp_path):
    place = tmp_path / "pages/audit.html"
    for _ in range(2):  # it replaces its own
        api.audit(faulty, html=place)
    assert place.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    (tmp_path / "mine.html").write_text("mine")
    with pytest.raises(RunExistsError, match="no page of an audit"):
        api.audit(faulty, html=tmp_path / "mine.html")
    for inside in (faulty / "audit.html", faulty / "images/../deep/audit.html"):
        with pytest.raises(ConfigError, match="never written to"):
            api.audit(faulty, html=inside)


def test_the_same_set_gives_the_same_page(faulty):
    assert page_of(faulty)[1] == page_of(faulty)[1]
