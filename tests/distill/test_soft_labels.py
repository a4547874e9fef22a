"""What is kept of a teacher's answers, and that nobody else's is taken for it."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdyolo.boxes import Detections, xywh_to_xyxy
from kdyolo.distill import soft_labels
from kdyolo.distill.soft_labels import Origin, SoftLabels, pair, read_soft_labels, soften, write_soft_labels
from kdyolo.errors import DatasetError

ORIGIN = Origin("f" * 64, 320, ("cat", "dög", "x"))


def some(n, seed=0, nc=3):
    rng = np.random.default_rng(seed)
    boxes = np.column_stack([rng.uniform(0.3, 0.7, (n, 2)), rng.uniform(0.05, 0.5, (n, 2))])
    arrays = boxes, rng.uniform(0, 1, (n, nc)), rng.uniform(0, 0.5, (n, 4))
    score, cls = rng.uniform(0, 1, n), rng.integers(0, nc, n)
    return SoftLabels(*(array.astype(np.float32) for array in arrays), score, cls)


@given(st.lists(st.integers(0, 12), min_size=1, max_size=5))
def test_a_round_trip_keeps_boxes_and_rounds_the_rest_to_half_precision(tmp_path_factory, counts):
    path = tmp_path_factory.mktemp("soft") / "soft.npz"
    labels = {f"train/{i}.jpg": some(n, i) for i, n in enumerate(counts)}
    digests = {name: f"sha-{name}" for name in labels}
    write_soft_labels(path, labels, digests, ORIGIN)
    back = read_soft_labels(path, ORIGIN, digests)
    assert back.keys() == labels.keys()
    for name, soft in labels.items():
        assert np.array_equal(back[name].xywhn, soft.xywhn)
        assert np.allclose(back[name].probs, soft.probs, atol=5e-4)
        assert np.allclose(back[name].spread, soft.spread, atol=5e-4)
        assert np.array_equal(back[name].score, soft.score)
        assert np.array_equal(back[name].cls, soft.cls)
        assert (back[name].score.dtype, back[name].cls.dtype) == (np.float64, np.int64)


def test_fifty_kilobytes_an_image_are_enough_for_the_fullest_one(tmp_path):
    path = tmp_path / "soft.npz"
    labels = {f"{i}.jpg": some(300, i) for i in range(10)}
    write_soft_labels(path, labels, dict.fromkeys(labels, "0" * 64), ORIGIN)
    assert path.stat().st_size / 10 < 50_000


@pytest.mark.parametrize(
    "other",
    [
        dataclasses.replace(ORIGIN, teacher_sha256="e" * 64),
        dataclasses.replace(ORIGIN, imgsz=640),
        dataclasses.replace(ORIGIN, classes=("dög", "cat", "x")),
        "version",
        "image",
        "cut",
        "missing",
    ],
)
def test_stale_and_foreign_soft_labels_are_refused(tmp_path, monkeypatch, other):
    path, digests, origin = tmp_path / "soft.npz", {"a.jpg": "1" * 64}, ORIGIN
    write_soft_labels(path, {"a.jpg": some(3)}, digests, ORIGIN)
    told = "of another teacher, image size or version"
    if other == "version":
        monkeypatch.setattr(soft_labels, "VERSION", soft_labels.VERSION + 1)
    elif other == "image":
        digests, told = {"a.jpg": "2" * 64}, "another image called a.jpg"
    elif other == "cut":
        path.write_bytes(path.read_bytes()[:200])
        told = "cannot be read"
    elif other == "missing":
        path.unlink()
        told = "cannot be read"
    else:
        origin = other
    with pytest.raises(DatasetError, match=told) as caught:
        read_soft_labels(path, origin, digests)
    assert "pseudo-label" in caught.value.hint


def test_an_image_that_is_not_in_them_is_refused(tmp_path):
    path, digests = tmp_path / "soft.npz", {f"{i}.jpg": "1" * 64 for i in range(4)}
    write_soft_labels(path, {name: some(3) for name in list(digests)[:2]}, digests, ORIGIN)
    assert list(read_soft_labels(path, ORIGIN, {"1.jpg": "1" * 64})) == ["1.jpg"]
    with pytest.raises(DatasetError, match=r"lack 2 of 4 images, 2\.jpg for one") as caught:
        read_soft_labels(path, ORIGIN, digests)
    assert "pseudo-label" in caught.value.hint


def test_those_of_an_older_version_are_said_to_be(tmp_path):
    """Whatever its arrays are: version 1 had no scores."""
    path = tmp_path / "soft.npz"
    write_soft_labels(path, {"a.jpg": some(3)}, {"a.jpg": "1" * 64}, ORIGIN)
    with np.load(path) as stored:
        older = {name: stored[name] for name in stored.files if name not in ("score", "cls")}
    np.savez(path, **{**older, "version": np.array(1)})
    with pytest.raises(DatasetError, match="or version"):
        read_soft_labels(path, ORIGIN, {"a.jpg": "1" * 64})


def test_a_file_that_would_run_code_is_not_unpickled(tmp_path):
    path = tmp_path / "soft.npz"
    np.savez(path, **{"version": np.array([object()], dtype=object)})
    with pytest.raises(DatasetError, match="cannot be read"):
        read_soft_labels(path, ORIGIN, {})


def test_detections_become_shares_of_image_and_box():
    found = Detections(
        np.array([[10.0, 20, 50, 40], [-20, 0, 20, 100], [300, 0, 320, 10]]),
        np.array([0.5, 0.9, 0.1]),
        np.array([0, 1, 0]),
        probs=np.array([[0.5, 0.1], [0.2, 0.9], [0.1, 0]]),
        spread=np.array([[4.0, 2, 8, 1], [1, 1, 1, 1], [1, 1, 1, 1]]),
    )
    soft = soften(found, 200, 100, np.array([True, True]))
    assert soft.probs.argmax(1).tolist() == [1, 0]  # by score; the one outside of the image is gone
    assert np.allclose(xywh_to_xyxy(soft.xywhn), [[0, 0, 0.1, 1], [0.05, 0.2, 0.25, 0.4]])
    assert np.allclose(soft.spread[1], [4 / 40, 2 / 20, 8 / 40, 1 / 20])
    half = soften(found, 200, 100, np.array([True, False]))
    assert half.probs[:, 1].tolist() == pytest.approx([np.nan, np.nan], nan_ok=True)
    assert half.score.tolist() == [0.9, 0.5]
    assert half.cls.tolist() == [1, 0]


def test_each_true_box_gets_at_most_one_and_the_best_one():
    truth = np.array([[0, 0, 0.4, 0.4], [0.05, 0, 0.45, 0.4], [0.8, 0.8, 1, 1]])
    boxes = np.array([[0.22, 0.2, 0.4, 0.4], [0.25, 0.2, 0.4, 0.4], [0.5, 0.5, 0.1, 0.1]])
    soft = dataclasses.replace(some(3, nc=1), xywhn=boxes.astype(np.float32))
    assert pair(truth, soft).tolist() == [0, 1, -1]
    assert pair(truth[:1], soft).tolist() == [0]
    assert pair(np.zeros((0, 4)), soft).tolist() == []
    assert pair(truth, some(0)).tolist() == [-1, -1, -1]
