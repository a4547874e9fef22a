import shutil

import numpy as np
import pytest
from builders import make_yolo_dataset, write_image
from PIL import Image

from kdyolo.config import AuditSettings, DataSettings
from kdyolo.datasets.auditing.checks import audit_dataset, check_dataset, require_sound
from kdyolo.datasets.formats.detect import read
from kdyolo.errors import DatasetError
from kdyolo.progress import Silent

SHARES = (0.7, 0.15, 0.15)


@pytest.fixture
def leaking(tmp_path):
    """Splits with an identical leak, a near leak, a copy inside train, and a class that is rare in val."""
    folder = make_yolo_dataset(tmp_path / "set", splits={"train": 12, "val": 10, "test": 20})
    images, labels = folder / "images", folder / "labels"
    shutil.copy(images / "train/img000.jpg", images / "val/img012.jpg")
    shutil.copy(labels / "train/img000.txt", labels / "val/img012.txt")
    write_image(images / "train/img001.jpg", 500, (320, 240))
    Image.open(images / "train/img001.jpg").resize((160, 120)).save(images / "test/img030.jpg")
    shutil.copy(images / "train/img002.jpg", images / "train/img003.jpg")
    shutil.copy(labels / "train/img002.txt", labels / "train/img003.txt")
    (labels / "val/img013.txt").write_text("0 0.5 0.5 0.3 0.3\n")
    return folder


def judge(folder, check, **options):
    dataset = read(folder, DataSettings(), AuditSettings())
    check(dataset, **options)
    return {(f.code, f.severity, f.file) for f in dataset.findings}


def checked(dataset, **options):
    check_dataset(dataset, AuditSettings(), Silent(), **options)


def audited(dataset):
    audit_dataset(dataset, AuditSettings(), SHARES, Silent())


COPIES = {
    ("split_leak", "images/val/img012.jpg"): ("error", "note"),
    ("near_leak", "images/test/img030.jpg"): ("error", "note"),
    ("identical_image", "images/train/img003.jpg"): ("warning", "note"),
}


def test_an_audit_judges_the_splits_as_they_are(leaking):
    copies = {(code, severities[0], file) for (code, file), severities in COPIES.items()}
    assert judge(leaking, audited) == copies | {("rare_class", "warning", "")}


def test_splits_that_are_to_be_kept_are_judged_alike(leaking):
    copies = {(code, severities[0], file) for (code, file), severities in COPIES.items()}
    assert judge(leaking, checked, own_splits=True) == copies


def test_where_new_splits_are_made_copies_are_only_noted(leaking):
    assert judge(leaking, checked) == {(code, severities[1], file) for (code, file), severities in COPIES.items()}


def test_near_copies_are_not_looked_for_where_they_do_not_matter(leaking):
    assert "near_leak" not in {code for code, _, _ in judge(leaking, checked, own_splits=True, near=False)}


def test_the_boxes_of_usable_images_are_returned(tmp_path):
    folder = make_yolo_dataset(tmp_path / "set", n=12)
    (folder / "images/img000.jpg").write_bytes(b"")
    dataset = read(folder, DataSettings(), AuditSettings())
    table = check_dataset(dataset, AuditSettings(), Silent())
    assert len(table) == 22
    assert table.side.tolist() == [[64, 48]] * 22


def test_a_set_without_boxes_is_told_and_refused(tmp_path):
    folder = make_yolo_dataset(tmp_path / "set", n=12)
    for label in (folder / "labels").iterdir():
        label.write_text("")
    dataset = read(folder, DataSettings(), AuditSettings())
    checked(dataset)
    assert [(f.code, f.severity) for f in dataset.findings] == [("no_boxes", "error")]
    with pytest.raises(DatasetError, match="No usable image has a box"):
        require_sound(dataset, AuditSettings(), tmp_path / "audit.csv")


def test_collisions_name_the_other_image(tmp_path):
    folder = make_yolo_dataset(tmp_path / "set", n=12)
    write_image(folder / "images/img003.png", 77)
    dataset = read(folder, DataSettings(), AuditSettings())
    checked(dataset)
    pairs = [(f.file, f.partner) for f in dataset.findings if f.code == "label_collision"]
    assert pairs == [("images/img003.jpg", "images/img003.png"), ("images/img003.png", "images/img003.jpg")]


def test_real_tomato_shows_its_leaks_and_labels_by_itself(real_dataset):
    dataset = read(real_dataset("tomato"), DataSettings(), AuditSettings())
    audited(dataset)
    leaks = [f for f in dataset.findings if f.code == "split_leak"]
    assert sum("/val/" in f.file and "/train/" in f.partner for f in leaks) == 32
    assert sum("/test/" in f.file and "/train/" in f.partner for f in leaks) == 56
    assert {f.severity for f in leaks} == {"error"}
    (whole,) = [f for f in dataset.findings if f.code == "whole_image_boxes"]
    assert "235 of 235" in whole.message
    assert sum(f.code in ("near_duplicate", "flipped_copy") for f in dataset.findings) >= 30
    assert all(np.allclose(s.xywhn, [[0.5, 0.5, 1, 1]], atol=0.01) for s in dataset.samples)


def test_real_bccd_has_one_near_leak_and_no_other_error(real_dataset):
    dataset = read(real_dataset("bccd"), DataSettings(), AuditSettings())
    audited(dataset)
    errors = [(f.code, f.file, f.partner) for f in dataset.findings if f.severity == "error"]
    assert errors == [("near_leak", "JPEGImages/BloodImage_00037.jpg", "JPEGImages/BloodImage_00038.jpg")]


def test_real_cards_have_no_error(real_dataset):
    dataset = read(real_dataset("cards"), DataSettings(), AuditSettings())
    audited(dataset)
    assert not [f for f in dataset.findings if f.severity == "error"]
