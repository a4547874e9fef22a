"""Our inference against ultralytics' own, and one outcome for each path."""

import subprocess

import numpy as np
import pytest
import tiny
import torch
from builders import write_image

from kdyolo.boxes import area_xyxy, iou_matrix
from kdyolo.config import RuntimeSettings
from kdyolo.engine import environment
from kdyolo.engine.detector import MAX_DET, Detector, read_ahead, read_image

CONF, IOU = 0.2, 0.7


def build(checkpoint, precision="fp32", imgsz=tiny.IMGSZ, **arguments):
    return Detector(checkpoint, imgsz, RuntimeSettings(threads=1, precision=precision, device="cpu"), **arguments)


@pytest.fixture(scope="module")
def detector(lively):
    return build(lively)


@pytest.fixture(scope="module")
def images(demo_set, tmp_path_factory):
    """Square demo images, and oblong ones of several shapes."""
    folder = tmp_path_factory.mktemp("shapes")
    oblong = [write_image(folder / f"{i}.png", i, size) for i, size in enumerate([(160, 90), (90, 160), (50, 64)])]
    return sorted((demo_set / "images").glob("*"))[:12] + oblong


@pytest.fixture(scope="module")
def found(detector, images):
    return list(detector.predict(images, CONF, IOU))


def agreement(a, b, iou=0.95):
    """Share of the boxes of `a` that `b` has as well: same class, overlap, and about the same score.

    Boxes off the image, of which an untrained model finds some, have no area left to overlap with.
    """
    hits, total = 0, 0
    for xyxy, score, cls, other_xyxy, other_score, other_cls in zip(*a, *b, strict=True):
        real = area_xyxy(xyxy) > 1
        total += int(real.sum())
        if len(other_cls):
            close = (iou_matrix(xyxy, other_xyxy) >= iou) & (cls[:, None] == other_cls)
            close &= np.abs(score[:, None] - other_score) < 0.05
            hits += int(close[real].any(axis=1).sum())
    return hits / total


def columns(predictions):
    detections = [p.detections for p in predictions]
    return [d.xyxy for d in detections], [d.score for d in detections], [d.cls for d in detections]


def test_it_agrees_with_plain_ultralytics(lively, images, found):
    from ultralytics import YOLO

    model = YOLO(lively)
    plain = [
        model.predict(p, imgsz=tiny.IMGSZ, conf=CONF, iou=IOU, device="cpu", verbose=False, max_det=MAX_DET)[0].boxes
        for p in images
    ]
    theirs = (
        [b.xyxy.numpy() for b in plain],
        [b.conf.numpy() for b in plain],
        [b.cls.numpy().astype(int) for b in plain],
    )
    assert sum(len(b) for b in plain) > 100
    assert agreement(columns(found), theirs) >= 0.99
    assert agreement(theirs, columns(found)) >= 0.99


def test_bf16_is_close_to_fp32(lively, images, found):
    if not environment.processor_has_bf16():
        pytest.skip("this processor has no bf16 arithmetic")
    close = list(build(lively, "bf16").predict(images, CONF, IOU))
    # Scores near the threshold and boxes near the suppression limit may tip over.
    assert agreement(columns(found), columns(close), iou=0.8) >= 0.8


def test_one_outcome_for_each_path_in_order(detector, images, tmp_path, monkeypatch):
    monkeypatch.setattr(subprocess, "Popen", lambda *a, **k: pytest.fail(f"started {a}"))
    broken = []
    for name, content in {
        "empty.jpg": b"",
        "text.jpg": b"no image",
        "cut.png": images[-1].read_bytes()[:200],
        "photo.heic": b"\0\0\0\x18ftypheic" + bytes(80),
        "photo.avif": b"\0\0\0\x18ftypavif" + bytes(80),
    }.items():
        broken.append(tmp_path / name)
        broken[-1].write_bytes(content)
    (tmp_path / "folder.jpg").mkdir()
    broken += [tmp_path / "folder.jpg", tmp_path / "missing.jpg"]
    paths = [p for i in range(len(images)) for p in ([images[i], broken[i]] if i < len(broken) else [images[i]])]
    outcomes = list(detector.predict(paths, CONF, IOU))
    assert [o.path for o in outcomes] == paths
    assert {o.path for o in outcomes if o.detections is None} == set(broken)
    assert {o.reason for o in outcomes} == {"", "unreadable"}


def test_neighbours_do_not_change_an_image(detector, images, found):
    alone = [next(detector.predict([p], CONF, IOU)) for p in images]
    assert agreement(columns(found), columns(alone)) >= 0.99


def test_scores_lie_above_the_threshold_and_boxes_in_the_image(found):
    for outcome in found:
        height, width = read_image(outcome.path).shape[:2]
        d = outcome.detections
        assert (d.score > CONF).all()
        assert (d.xyxy >= 0).all()
        assert (d.xyxy <= [width, height, width, height]).all()
        assert set(d.cls) <= {0, 1, 2, 3}


def test_a_class_map_translates_and_drops(lively, detector, images):
    mapped = build(lively, class_names=("spot", "mold", "rust"), class_map={0: 1, 3: 0, 2: 1})
    assert mapped.class_names == ("spot", "mold", "rust")
    batch = detector.preprocess([read_image(images[0])])
    theirs, ours = detector.infer(batch), mapped.infer(batch)
    assert torch.equal(ours[:, :4], theirs[:, :4])
    assert torch.equal(ours[:, 4], theirs[:, 4 + 3])
    assert torch.equal(ours[:, 5], torch.maximum(theirs[:, 4], theirs[:, 4 + 2]))
    assert not ours[:, 6].any()
    outcomes = list(mapped.predict(images, CONF, IOU))
    assert {int(c) for o in outcomes for c in o.detections.cls} == {0, 1}
    # Two of the teacher's classes that mean one thing are suppressed as one.
    for d in (o.detections for o in outcomes):
        same = iou_matrix(d.xyxy, d.xyxy) * (d.cls[:, None] == d.cls) * (area_xyxy(d.xyxy) > 1)
        inner = (d.xyxy[:, :2] > 0).all(axis=1) & (d.xyxy[:, 2:] < read_image(images[0]).shape[0]).all(axis=1)
        assert np.triu(same[inner][:, inner], 1).max(initial=0) <= IOU + 0.01


def test_several_classes_a_box_only_where_asked(detector, images, found):
    many = list(detector.predict(images, CONF, IOU, multi_label=True))
    assert sum(len(p.detections.cls) for p in many) > sum(len(p.detections.cls) for p in found)


def test_augmented_prediction_works(detector, images):
    assert sum(len(p.detections.cls) for p in detector.predict(images, CONF, IOU, augment=True)) > 0


def test_output_that_is_not_finite_is_told_and_the_rest_kept(detector, images, found, monkeypatch):
    forward, seen = detector.forward, []

    def sometimes(batch, augment=False):
        output, raw = forward(batch, augment)
        output = output.clone()
        for i in range(len(output)):
            seen.append(i)
            if len(seen) in (2, 7):
                output[i, 5 if len(seen) == 2 else 0, 3] = float("nan") if len(seen) == 2 else float("inf")
        return output, raw

    monkeypatch.setattr(detector, "forward", sometimes)
    outcomes = list(detector.predict(images, CONF, IOU))
    assert [i for i, o in enumerate(outcomes) if o.reason == "not_finite"] == [1, 6]
    assert [o.detections is None for o in outcomes].count(True) == 2
    kept = [i for i in range(len(images)) if i not in (1, 6)]
    assert agreement(columns([found[i] for i in kept]), columns([outcomes[i] for i in kept])) >= 0.99


def test_a_busy_machine_loses_no_boxes(detector, images, found, monkeypatch):
    """Ultralytics' suppression gives up after a time limit and returns nothing for the rest of the batch."""
    import time

    clock = iter(range(0, 10**9, 20))
    monkeypatch.setattr(time, "time", lambda: float(next(clock)))
    slow = list(detector.predict(images, CONF, IOU))
    assert [len(p.detections.cls) for p in slow] == [len(p.detections.cls) for p in found]


def test_size_and_cost_are_those_of_the_model(detector):
    assert 2.4e6 < detector.params < 2.6e6
    assert 7 < detector.gflops < 7.5
    assert (detector.precision, detector.threads) == ("fp32", 1)


def test_reading_ahead_keeps_the_order(images):
    paths = list(images) * 3
    assert [path for path, _ in read_ahead(paths)] == paths
    assert list(read_ahead([])) == []
    assert [image is None for _, image in read_ahead([images[0].with_name("none.jpg")])] == [True]


def test_names_opencv_cannot_open_are_read(tmp_path):
    path = write_image(tmp_path / "Blätter 🍅.jpg", 1)
    assert read_image(path).shape == (48, 64, 3)


def test_soft_answers_are_those_of_the_same_boxes(detector, images, found):
    for outcome, plain in zip(detector.predict(images, CONF, IOU, soft=True), found, strict=True):
        soft = outcome.detections
        assert np.array_equal(soft.xyxy, plain.detections.xyxy)
        assert soft.probs.shape == (len(soft.score), len(detector.class_names))
        assert soft.spread.shape == (len(soft.score), 4)
        assert np.allclose(soft.probs.max(axis=1), soft.score)
        assert np.array_equal(soft.probs.argmax(axis=1), soft.cls)
        assert (soft.spread >= 0).all()
        assert (soft.spread > 0).any()


def test_a_side_spreads_as_its_distribution_does(detector, images):
    """One side's distribution is set by hand: half on bin 2 and half on bin 6, a deviation of two cells."""
    import torch

    picture = read_image(images[0])
    batch = detector.preprocess([picture])
    output, raw = detector.forward(batch)
    raw = {**raw, "boxes": torch.full_like(raw["boxes"], -50.0)}
    raw["boxes"][:, [2, 6]] = 0.0
    boxes = detector.postprocess(output, batch, [picture], 0.0, IOU, raw=raw)[0]
    scale = min(batch.shape[2] / picture.shape[0], batch.shape[3] / picture.shape[1])
    assert {round(float(s), 3) for s in boxes.spread[:, 0] * scale} <= {16.0, 32.0, 64.0}
    assert (boxes.spread[:, 1:] < boxes.spread[:, :1] * 3).all()
