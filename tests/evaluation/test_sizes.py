"""Average precision by size against raw pycocotools with its own area ranges."""

import contextlib
import io
import json

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from scenes import found, random_detections, random_truths, shuffled, truth

from kdyolo.evaluation.accuracy import evaluate
from kdyolo.evaluation.sizes import SIZES, by_size

NAMES = ["leaf", "spot", "mite"]


def raw_coco(truths, detections, max_det):
    """pycocotools as its documentation uses it: AP50-95 of small, medium and large, NaN where there is none."""
    annotations, results = [], []
    for image_id, key in enumerate(truths, start=1):
        for (x1, y1, x2, y2), c in zip(truths[key].xyxy, truths[key].cls, strict=True):
            row = {"image_id": image_id, "category_id": int(c), "bbox": [x1, y1, x2 - x1, y2 - y1], "iscrowd": 0}
            annotations.append({**row, "id": len(annotations) + 1, "area": (x2 - x1) * (y2 - y1)})
        d = detections[key]
        for (x1, y1, x2, y2), s, c in zip(d.xyxy, d.score, d.cls, strict=True):
            row = {"image_id": image_id, "category_id": int(c), "bbox": [x1, y1, x2 - x1, y2 - y1]}
            results.append({**row, "score": float(s)})
    with contextlib.redirect_stdout(io.StringIO()):
        gt = COCO()
        images, categories = [{"id": i + 1} for i in range(len(truths))], [{"id": c} for c in range(len(NAMES))]
        gt.dataset = {"info": {}, "images": images, "categories": categories, "annotations": annotations}
        gt.createIndex()
        evaluator = COCOeval(gt, gt.loadRes(results), "bbox")
        evaluator.params.maxDets = [max_det]
        evaluator.evaluate()
        evaluator.accumulate()
    precision = evaluator.eval["precision"][:, :, :, 1:, 0]
    return [float(p[p > -1].mean()) if (p > -1).any() else None for p in np.moveaxis(precision, 3, 0)]


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("max_det", [2, 300])
def test_equals_pycocotools(seed, max_det):
    truths = random_truths(seed, images=10, crowd=12)
    detections = random_detections(truths, seed + 1, jitter=0.1)
    result = by_size(truths, detections, max_det)
    for figures, expected in zip(result.values(), raw_coco(truths, detections, max_det), strict=True):
        assert figures.mAP50_95 == (None if expected is None else pytest.approx(expected, abs=1e-9))
    assert sum(figures.boxes for figures in result.values()) == sum(len(t.cls) for t in truths.values())
    assert result == by_size(*shuffled(truths, detections, seed), max_det)


def test_objects_of_another_size_are_ignored():
    small, large = (0, 0, 30, 30), (200, 200, 400, 400)
    truths = {"a": truth((0, *small), (0, *large))}
    boxes = [(0, 0.9, *large), (0, 0.8, 450, 0, 550, 100), (0, 0.7, *small)]
    result = by_size(truths, {"a": found(*boxes)})
    assert result["small"].to_json() == {"boxes": 1, "mAP50_95": 1.0}
    assert result["large"].mAP50_95 == 1.0
    # A false box of the small size, more confident than the right one, counts against the small ones.
    result = by_size(truths, {"a": found(*boxes, (0, 0.95, 600, 0, 620, 20))})
    assert (result["small"].mAP50_95, result["large"].mAP50_95) == (0.5, 1.0)


def test_an_area_on_a_bound_is_in_two_sizes_as_in_coco():
    truths = {"a": truth((0, 0, 0, 32, 32))}
    boxes = {"a": found((0, 0.9, 0, 0, 32, 32))}
    assert [figures.boxes for figures in by_size(truths, boxes).values()] == [1, 1, 0]
    assert raw_coco(truths, boxes, 300) == pytest.approx([1.0, 1.0, None])


def test_one_size_only_equals_the_whole():
    truths = {"a": truth((0, 0, 0, 20, 20), (1, 50, 50, 70, 75)), "b": truth()}
    detections = {"a": found((0, 0.5, 1, 1, 20, 20), (1, 0.4, 50, 52, 70, 75)), "b": found((0, 0.9, 0, 0, 20, 20))}
    result = by_size(truths, detections)
    assert result["small"].mAP50_95 == pytest.approx(evaluate(truths, detections, NAMES).mAP50_95)


def test_nothing_there():
    result = by_size({"a": truth()}, {"a": found((0, 0.9, 0, 0, 9, 9))})
    assert json.dumps([f.to_json() for f in result.values()]) == json.dumps([{"boxes": 0, "mAP50_95": None}] * 3)
    assert list(result) == list(SIZES)
    assert by_size({"a": truth((0, 0, 0, 9, 9))}, {"a": found()})["small"].mAP50_95 == 0.0
    with pytest.raises(ValueError, match="in one set only"):
        by_size({"a": truth()}, {})
