"""What the teacher said goes through the loader as labels do: proved against labels that go through it."""

import random

import cv2
import numpy as np
import pytest
import torch

from kdyolo.boxes import xywh_to_xyxy
from kdyolo.config import AugmentSettings
from kdyolo.distill.soft_labels import SoftLabels
from kdyolo.engine.environment import harden

harden()
from ultralytics.cfg import get_cfg  # noqa: E402
from ultralytics.data.dataset import YOLODataset  # noqa: E402

from kdyolo.distill.carry import Hearsay, attach  # noqa: E402

NC, SIZE, IMAGES = 3, 96, 6
KNOWN = np.zeros(NC, dtype=bool)  # no class is unknown
NONE = np.zeros(4, dtype=bool)  # of four boxes none is doubtful


def soft_of(boxes, seed=0):
    rng = np.random.default_rng(seed)
    n = len(boxes)
    return SoftLabels(
        np.asarray(boxes, np.float32).reshape(n, 4),
        rng.uniform(0, 1, (n, NC)).astype(np.float32),
        rng.uniform(0, 1, (n, 4)).astype(np.float32),
        np.full(n, 0.5),
        np.zeros(n, np.int64),
    )


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(1)
    for number in range(IMAGES):
        image = rng.integers(0, 255, (70 + 8 * number, 96, 3), dtype=np.uint8)
        for kind in ("images", "labels"):
            (tmp_path / kind).mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / "images" / f"{number}.png"), image)
    return tmp_path


def boxes_of(number, count=4):
    rng = np.random.default_rng(number + 10)
    return np.column_stack([rng.uniform(0.25, 0.75, (count, 2)), rng.uniform(0.1, 0.4, (count, 2))]).round(6)


def dataset(folder, labels, **augment):
    """A training data set of ultralytics with these boxes (image number -> xywhn) as labels of class number % NC."""
    for number in range(IMAGES):
        rows = enumerate(labels(number).tolist())
        text = "".join(f"{i % NC} {x:.6f} {y:.6f} {w:.6f} {h:.6f}\n" for i, (x, y, w, h) in rows)
        (folder / "labels" / f"{number}.txt").write_text(text)
    for cache in folder.glob("*.cache"):
        cache.unlink()
    values = {**AugmentSettings().model_dump(), **augment}
    data = {"names": dict(enumerate("abc")), "nc": NC, "channels": 3}
    return YOLODataset(
        img_path=str(folder / "images"),
        imgsz=SIZE,
        augment=True,
        hyp=get_cfg(overrides=values),
        data=data,
        task="detect",
    )


def drawn(source, rounds=3):
    """Samples of a data set as its loader would give them, always by the same chance."""
    random.seed(5)
    np.random.seed(5)
    return [source[index] for _ in range(rounds) for index in range(IMAGES)]


AUGMENTS = [
    {"mosaic": 0.0, "translate": 0.0, "scale": 0.0, "fliplr": 0.0},
    {"mosaic": 0.0, "translate": 0.2, "scale": 0.5, "fliplr": 0.5, "flipud": 0.5},
    {"mosaic": 1.0, "translate": 0.1, "scale": 0.5, "fliplr": 0.5},
    {"mosaic": 1.0, "mixup": 0.5, "degrees": 20.0, "fliplr": 0.5},
]


@pytest.mark.parametrize("augment", AUGMENTS, ids=["plain", "affine", "mosaic", "mixup"])
def test_the_teachers_boxes_move_exactly_as_labels_do(folder, augment):
    """Truth is shifted against the teacher's boxes; these as labels of a second data set show where they go."""

    def truth(number):
        return boxes_of(number) + np.array([0.01, -0.01, 0.01, 0.0])

    as_labels = drawn(dataset(folder, boxes_of, **augment))
    carrying = dataset(folder, truth, **augment)
    hearsay = {f"{n}.png": Hearsay(KNOWN, soft_of(boxes_of(n), n), NONE) for n in range(IMAGES)}
    attach(carrying, hearsay, NC)
    compared = 0
    for plain, told in zip(as_labels, drawn(carrying), strict=True):
        assert torch.equal(plain["img"], told["img"])
        expected = xywh_to_xyxy(plain["bboxes"].double().numpy())
        teacher = told["teacher"].numpy()
        assert len(teacher) == len(told["cls"]) == len(told["bboxes"]) == len(told["batch_idx"])
        for row in teacher[np.isfinite(teacher[:, 0])]:
            distance = np.abs(expected - row[-4:]).max(1)
            assert distance.min() < 1e-5
            compared += 1
    assert compared > 20


def test_labels_themselves_come_out_as_without_a_teacher(folder):
    plain = drawn(dataset(folder, boxes_of))
    carrying = dataset(folder, boxes_of)
    attach(carrying, {f"{n}.png": Hearsay(KNOWN, soft_of(boxes_of(n)), ~NONE) for n in range(4)}, NC)
    for before, after in zip(plain, drawn(carrying), strict=True):
        for key in ("img", "cls", "bboxes", "batch_idx"):
            assert torch.equal(before[key], after[key]), key


@pytest.mark.parametrize(
    ("flips", "order"),
    [
        ({}, [0, 1, 2, 3]),
        ({"fliplr": 1.0}, [2, 1, 0, 3]),
        ({"flipud": 1.0}, [0, 3, 2, 1]),
        ({"fliplr": 1.0, "flipud": 1.0}, [2, 3, 0, 1]),
    ],
)
def test_a_flip_exchanges_what_is_known_of_the_sides(folder, flips, order):
    still = {"mosaic": 0.0, "translate": 0.0, "scale": 0.0, "fliplr": 0.0, **flips}
    carrying = dataset(folder, boxes_of, **still)
    hearsay = {f"{n}.png": Hearsay(KNOWN, soft_of(boxes_of(n), n), NONE) for n in range(IMAGES)}
    attach(carrying, hearsay, NC)
    for number, sample in enumerate(drawn(carrying, 1)):
        soft = hearsay[f"{number}.png"].soft
        assert np.allclose(sample["teacher"][:, :NC], soft.probs)
        assert np.allclose(sample["teacher"][:, NC : NC + 4], soft.spread[:, order])


def test_doubtful_boxes_come_along_and_paired_ones_are_not_doubtful(folder):
    still = {"mosaic": 0.0, "translate": 0.0, "scale": 0.0, "fliplr": 0.0}
    thirds = drawn(dataset(folder, lambda n: boxes_of(n)[2:3], **still), 1)
    carrying = dataset(folder, lambda n: boxes_of(n)[:2], **still)
    doubtful = np.array([True, False, True, False])
    attach(carrying, {f"{n}.png": Hearsay(KNOWN, soft_of(boxes_of(n)), doubtful) for n in range(IMAGES)}, NC)
    for third, sample in zip(thirds, drawn(carrying, 1), strict=True):
        assert sample["teacher"].isfinite().all()
        assert np.allclose(sample["ignored"], xywh_to_xyxy(third["bboxes"].numpy()), atol=1e-5)
        assert sample["unknown"].shape == (0, 4 + NC)


@pytest.mark.parametrize("mosaic", [0.0, 1.0])
def test_classes_nobody_looked_for_are_unknown_all_over_their_image(folder, mosaic):
    carrying = dataset(folder, boxes_of, mosaic=mosaic, translate=0.0, scale=0.0, fliplr=0.0)
    unknown = {n: np.arange(NC) == n % NC for n in range(IMAGES)}
    attach(carrying, {f"{n}.png": Hearsay(unknown[n], soft_of(boxes_of(n), n), NONE) for n in range(IMAGES)}, NC)
    for number, sample in enumerate(drawn(carrying, 1)):
        zones = sample["unknown"].numpy()
        assert sample["ignored"].shape == (0, 4)
        assert sample["teacher"].isfinite().all(1).any()
        if mosaic:
            assert 1 <= len(zones) <= 4  # each image of the mosaic that is in sight
            assert (zones[:, 4:].sum(1) == 1).all()
        else:
            (zone,) = zones
            assert zone[4:].tolist() == unknown[number].astype(float).tolist()
            x1, y1, x2, y2 = zone[:4].tolist()
            labels = xywh_to_xyxy(sample["bboxes"].numpy())
            assert (labels[:, :2] >= [x1 - 1e-5, y1 - 1e-5]).all()
            assert (labels[:, 2:] <= [x2 + 1e-5, y2 + 1e-5]).all()
            assert max(x2 - x1, y2 - y1) == pytest.approx(1, abs=0.02)  # letterboxed along one side only


def test_images_without_hearsay_and_without_labels(folder):
    carrying = dataset(folder, lambda n: boxes_of(n)[: n % 2], mosaic=0.0)
    attach(carrying, {"1.png": Hearsay(KNOWN, SoftLabels.nothing(NC))}, NC)
    for sample in drawn(carrying):
        assert sample["teacher"].shape == (len(sample["cls"]), NC + 8)
        assert sample["teacher"].isnan().all()
        assert sample["ignored"].shape == (0, 4)


def test_unknown_classes_come_along_without_a_teacher_that_is_heard_through_the_loader(folder):
    plain = drawn(dataset(folder, boxes_of))
    carrying = dataset(folder, boxes_of)
    attach(carrying, {f"{n}.png": Hearsay(np.arange(NC) == 1) for n in range(IMAGES)}, NC)
    for before, after in zip(plain, drawn(carrying), strict=True):
        for key in ("img", "cls", "bboxes", "batch_idx"):
            assert torch.equal(before[key], after[key]), key
        assert "teacher" not in after
        assert len(after["unknown"]) > 0
        assert (after["unknown"][:, 4:] == torch.tensor([0, 1, 0])).all()


def test_the_least_strip_of_an_image_keeps_its_unknown_classes(folder):
    """What is no grey border belongs to one of the images of the mosaic, and in each of them a class is unknown."""
    carrying = dataset(folder, boxes_of, mosaic=1.0, translate=0.3, hsv_h=0.0, hsv_s=0.0, hsv_v=0.0)
    attach(carrying, {f"{n}.png": Hearsay(np.arange(NC) == 1) for n in range(IMAGES)}, NC)
    strips = 0
    for sample in drawn(carrying):
        zones = sample["unknown"][:, :4].numpy() * SIZE
        rows, columns = np.mgrid[:SIZE, :SIZE] + 0.5
        covered = np.zeros((SIZE, SIZE), dtype=bool)
        for x1, y1, x2, y2 in zones:
            covered |= (columns > x1 - 1) & (columns < x2 + 1) & (rows > y1 - 1) & (rows < y2 + 1)
            strips += min(x2 - x1, y2 - y1) < 6
        assert (sample["img"].numpy()[:, ~covered] == 114).all()
    assert strips > 0


def test_the_end_of_mosaics_keeps_the_teacher(folder):
    carrying = dataset(folder, boxes_of, mosaic=1.0)
    attach(carrying, {f"{n}.png": Hearsay(KNOWN, soft_of(boxes_of(n)), NONE) for n in range(IMAGES)}, NC)
    carrying.close_mosaic(get_cfg(overrides=AugmentSettings().model_dump()))
    samples = drawn(carrying, 1)
    assert any(sample["teacher"].isfinite().any() for sample in samples)
    batch = YOLODataset.collate_fn(samples)
    assert len(batch["teacher"]) == len(batch["ignored"]) == len(batch["unknown"]) == IMAGES
    assert torch.cat(batch["teacher"]).shape[0] == len(batch["cls"])
