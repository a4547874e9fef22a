"""Average precision of resamples, against pycocotools on images that are really there several times."""

import contextlib
import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from kdyolo.evaluation.matching import ImageMatches, image_matches, match
from kdyolo.evaluation.resampling import METRICS, average_precision, mean_ap

CLASSES = range(3)


def labels(seed, images=9):
    """Truth, and detections with distinct scores: moved copies of the truth and noise. Image 0 is empty."""
    rng = np.random.default_rng(seed)
    truths, detections = [], []
    for i in range(images):
        n, noise = (int(rng.integers(0, 5)), int(rng.integers(0, 4))) if i else (0, 0)
        corner = rng.uniform(0, 300, (n, 2))
        xyxy = np.hstack([corner, corner + rng.uniform(30, 90, (n, 2))])
        cls = rng.choice(CLASSES, n)
        corner = rng.uniform(0, 300, (noise, 2))
        boxes = np.vstack([xyxy + rng.normal(0, 5, (n, 4)), xyxy + 1, np.hstack([corner, corner + 40])])
        found = np.concatenate([cls, rng.choice(CLASSES, n), rng.choice(CLASSES, noise)])
        truths.append((xyxy, cls, np.zeros(n)))
        detections.append((boxes, found, rng.uniform(0, 1, len(boxes))))
    return truths, detections


def raw_coco(truths, detections, weights):
    """pycocotools on `weights[i]` copies of each image i: average precision (C, 10), NaN for a class without truth."""
    copies = np.repeat(np.arange(len(truths)), weights)
    dataset = {"images": [{"id": i} for i in range(len(copies))], "categories": [{"id": c} for c in CLASSES]}
    tables = []
    for source in (truths, detections):
        rows = []
        for image, i in enumerate(copies):
            for (x1, y1, x2, y2), c, s in zip(*source[i], strict=True):
                w, h = x2 - x1, y2 - y1
                row = {"image_id": image, "category_id": int(c), "bbox": [x1, y1, w, h], "area": w * h, "score": s}
                rows.append({**row, "id": len(rows) + 1, "iscrowd": 0})
        tables.append(COCO())
        tables[-1].dataset = {**dataset, "annotations": rows}
    with contextlib.redirect_stdout(io.StringIO()):
        for table in tables:
            table.createIndex()
        evaluator = COCOeval(*tables, "bbox")
        evaluator.evaluate()
        evaluator.accumulate()
    precision = evaluator.eval["precision"][:, :, :, 0, -1]
    return np.where(precision < 0, np.nan, precision).mean(axis=1).T


def ours(truths, detections, weights):
    per_class = image_matches(truths, detections, CLASSES, 100)
    return np.stack([average_precision(matches, np.asarray(weights)) for matches in per_class], axis=1)


@pytest.mark.parametrize("seed", range(4))
def test_each_image_once_is_coco(seed):
    truths, detections = labels(seed)
    got = ours(truths, detections, np.ones((1, len(truths)), int))[0]
    np.testing.assert_allclose(got, raw_coco(truths, detections, [1] * len(truths)), atol=1e-9)
    assert got.min() < got.max()


@given(st.integers(0, 10_000), st.lists(st.integers(0, 3), min_size=9, max_size=9).filter(any))
@settings(max_examples=25, deadline=None)
def test_weights_are_images_repeated(seed, weights):
    truths, detections = labels(seed)
    weights = np.array(weights)
    np.testing.assert_allclose(
        ours(truths, detections, weights[None])[0], raw_coco(truths, detections, weights), atol=1e-9
    )


@pytest.mark.parametrize("boxes", [1, 7, 20, 25, 40, 50, 80, 100, 150])
def test_recall_points_are_reached_by_the_same_hit_as_in_coco(boxes):
    """Whether 3 hits of 20 reach recall 0.15 is a matter of rounding, and here each hit has less precision."""
    hit = np.tile([True, False], boxes)
    score, image = -np.arange(2.0 * boxes), np.zeros(2 * boxes, int)
    matches = ImageMatches(score, image, np.tile(hit, (10, 1)), np.array([boxes]))
    found = np.cumsum(hit)
    at = np.searchsorted(found / boxes, np.linspace(0, 1, 101))
    naive = (found / np.arange(1, len(hit) + 1))[at].mean()
    assert average_precision(matches, np.array([[1], [2]]))[0] == pytest.approx([naive] * 10, abs=1e-12)


def test_resamples_do_not_depend_on_each_other(monkeypatch):
    truths, detections = labels(1)
    weights = np.random.default_rng(0).integers(0, 3, (40, len(truths)))
    together = ours(truths, detections, weights)
    alone = np.concatenate([ours(truths, detections, row[None]) for row in weights])
    np.testing.assert_array_equal(together, alone)
    monkeypatch.setattr("kdyolo.evaluation.resampling._CELLS", 500)
    np.testing.assert_array_equal(together, ours(truths, detections, weights))


def test_a_resample_without_truth_is_nan_and_one_without_hits_is_zero():
    hit = np.zeros((10, 2), bool)
    hit[:, 0] = True
    matches = ImageMatches(np.array([0.9, 0.8]), np.array([0, 1]), hit, np.array([1, 1, 0]))
    ap = average_precision(matches, np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [0, 0, 0]]))
    np.testing.assert_allclose(ap[:, 0], [1, 0, np.nan, 51 / 101, np.nan])
    nothing = ImageMatches(np.zeros(0), np.zeros(0, int), np.zeros((10, 0), bool), np.array([2]))
    assert average_precision(nothing, np.array([[1]])).tolist() == [[0.0] * 10]
    assert average_precision(nothing, np.zeros((0, 1), int)).shape == (0, 10)


def test_means_are_over_the_classes_present():
    first, second = np.full((3, 10), 0.5), np.full((3, 10), np.nan)
    first[2] = np.nan
    second[0] = np.linspace(1.0, 0.1, 10)
    got = mean_ap([first, second])
    assert tuple(got) == METRICS
    np.testing.assert_allclose(got["mAP50"], [0.75, 0.5, np.nan])
    np.testing.assert_allclose(got["mAP75"], [0.5, 0.5, np.nan])
    np.testing.assert_allclose(got["mAP50_95"], [0.525, 0.5, np.nan])


@pytest.mark.parametrize("weights", [[1, 1, 1], [[1, 1]], [[1, -1, 1]], [[0.5, 1.0, 1.0]]])
def test_weights_that_make_no_sense_are_refused(weights):
    matches = ImageMatches(np.zeros(0), np.zeros(0, int), np.zeros((10, 0), bool), np.ones(3, int))
    with pytest.raises(ValueError, match="weights"):
        average_precision(matches, np.array(weights))


def test_image_matches_agree_with_the_pooled_ones():
    truths, detections = labels(2)
    for pooled, by_image, c in zip(
        match(truths, detections, CLASSES, 3), image_matches(truths, detections, CLASSES, 3), CLASSES, strict=True
    ):
        np.testing.assert_array_equal(by_image.score[::-1], pooled.score)
        np.testing.assert_array_equal(by_image.hit[0, ::-1], pooled.hit)
        assert by_image.truths.tolist() == [int((cls == c).sum()) for _, cls, _ in truths]
        for score, image in zip(by_image.score, by_image.image, strict=True):
            _, cls, scores = detections[image]
            assert score in scores[cls == c]


def test_equal_scores_keep_the_order_of_the_images():
    box = np.array([[0.0, 0.0, 9.0, 9.0]])
    one = (box, np.array([0]), np.array([0.5]))
    (matches,) = image_matches([one, (box + 90, *one[1:]), one], [one] * 3, [0], 10)
    assert matches.image.tolist() == [0, 1, 2]
    assert matches.hit.all(axis=0).tolist() == [True, False, True]
    (empty,) = image_matches([one], [one], [1], 10)
    assert (len(empty.score), empty.hit.shape, empty.truths.tolist()) == (0, (10, 0), [0])
