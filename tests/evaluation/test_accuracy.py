"""Accuracy against hand-computed cases, against raw pycocotools, and against brute force."""

import contextlib
import io
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from kdyolo.boxes import iou_matrix
from kdyolo.evaluation.accuracy import CONFIDENCES, USUAL_CONF, Accuracy, Detections, Truth, evaluate

NAMES = ["leaf", "spot", "mite", "rust"]


def truth(*rows):
    """Rows of (class, x1, y1, x2, y2)."""
    table = np.array(rows, dtype=np.float64).reshape(-1, 5)
    return Truth(table[:, 1:], table[:, 0].astype(int), 640, 480)


def found(*rows):
    """Rows of (class, score, x1, y1, x2, y2)."""
    table = np.array(rows, dtype=np.float64).reshape(-1, 6)
    return Detections(table[:, 2:], table[:, 1], table[:, 0].astype(int))


def random_case(seed, images=12, classes=(0, 1, 3), max_boxes=6):
    """Truth of `classes`, and detections of all four: shifted copies of the truth and noise."""
    rng = np.random.default_rng(seed)
    truths, detections = {}, {}
    for i in range(images):
        n = int(rng.integers(0, max_boxes))
        corner = rng.uniform(0, 400, (n, 2))
        xyxy = np.hstack([corner, corner + rng.uniform(60, 160, (n, 2))])
        cls = rng.choice(classes, n)
        noise = int(rng.integers(0, 5))
        corner = rng.uniform(0, 400, (noise, 2))
        boxes = np.vstack([xyxy + rng.normal(0, 8, (n, 4)), xyxy, np.hstack([corner, corner + 50])])
        labels = np.concatenate([cls, rng.integers(0, 4, n), rng.integers(0, 4, noise)])
        order = rng.permutation(len(boxes))
        truths[f"images/test/{i}.jpg"] = Truth(xyxy, cls, 640, 480)
        detections[f"images/test/{i}.jpg"] = Detections(boxes[order], rng.uniform(0, 1, len(boxes)), labels[order])
    return truths, detections


def raw_coco(truths, detections, max_det=300):
    """pycocotools used as its own documentation does, with loadRes and the default areas: precision (T, R, K)."""
    annotations, results = [], []
    for image_id, key in enumerate(truths, start=1):
        for (x1, y1, x2, y2), c in zip(truths[key].xyxy, truths[key].cls, strict=True):
            area = (x2 - x1) * (y2 - y1)
            annotation = {"image_id": image_id, "category_id": int(c), "bbox": [x1, y1, x2 - x1, y2 - y1]}
            annotations.append({**annotation, "id": len(annotations) + 1, "area": area, "iscrowd": 0})
        d = detections[key]
        for (x1, y1, x2, y2), s, c in zip(d.xyxy, d.score, d.cls, strict=True):
            result = {"image_id": image_id, "category_id": int(c), "bbox": [x1, y1, x2 - x1, y2 - y1]}
            results.append({**result, "score": float(s)})
    with contextlib.redirect_stdout(io.StringIO()):
        gt = COCO()
        gt.dataset = {
            "info": {},
            "images": [{"id": i} for i in range(1, len(truths) + 1)],
            "categories": [{"id": c} for c in range(len(NAMES))],
            "annotations": annotations,
        }
        gt.createIndex()
        evaluator = COCOeval(gt, gt.loadRes(results), "bbox")
        evaluator.params.maxDets = [1, 10, max_det]
        evaluator.evaluate()
        evaluator.accumulate()
    return evaluator.eval["precision"][:, :, :, 0, -1]


@pytest.mark.parametrize("seed", range(8))
def test_average_precision_equals_raw_pycocotools(seed):
    truths, detections = random_case(seed)
    precision = raw_coco(truths, detections)
    accuracy = evaluate(truths, detections, NAMES)
    for k, name in enumerate(NAMES):
        figures = accuracy.per_class[name]
        if figures.boxes == 0:
            assert (precision[:, :, k] == -1).all()
            assert figures.mAP50 is None
            continue
        assert figures.mAP50 == pytest.approx(precision[0, :, k].mean(), abs=1e-9)
        assert figures.mAP75 == pytest.approx(precision[5, :, k].mean(), abs=1e-9)
        assert figures.mAP50_95 == pytest.approx(precision[:, :, k].mean(), abs=1e-9)
        np.testing.assert_allclose(figures.pr_curve, precision[0, :, k], atol=1e-9)
    valid = precision[:, :, precision[0, 0] > -1]
    assert accuracy.mAP50_95 == pytest.approx(valid.mean(), abs=1e-9)
    assert accuracy.mAP50 == pytest.approx(valid[0].mean(), abs=1e-9)


def test_max_det_counts_the_most_confident_per_image_and_class():
    truths, detections = random_case(3, images=4, classes=(0,), max_boxes=30)
    accuracy = evaluate(truths, detections, NAMES, max_det=5)
    assert accuracy.mAP50 == pytest.approx(raw_coco_limited(truths, detections, 5), abs=1e-9)
    assert accuracy.mAP50 < evaluate(truths, detections, NAMES).mAP50


def raw_coco_limited(truths, detections, limit):
    """pycocotools on detections cut by hand to the best `limit` of each image and class."""
    kept = {}
    for key, d in detections.items():
        order = np.argsort(-d.score)
        rows = [i for c in np.unique(d.cls) for i in order[d.cls[order] == c][:limit]]
        kept[key] = Detections(d.xyxy[rows], d.score[rows], d.cls[rows])
    precision = raw_coco(truths, kept)
    return precision[0][:, precision[0, 0] > -1].mean()


def test_hand_computed_case():
    # Class leaf: 2 boxes; a hit at 0.9, a false alarm at 0.8, a hit at 0.7. Recall 0.5 at precision 1, recall 1 at 2/3.
    truths = {"a": truth((0, 0, 0, 10, 10), (0, 50, 50, 90, 90))}
    detections = {"a": found((0, 0.9, 0, 0, 10, 10), (0, 0.8, 200, 200, 220, 220), (0, 0.7, 50, 50, 90, 90))}
    accuracy = evaluate(truths, detections, NAMES)
    expected = (51 * 1.0 + 50 * 2 / 3) / 101
    assert (accuracy.mAP50, accuracy.mAP75, accuracy.mAP50_95) == pytest.approx((expected,) * 3, abs=1e-9)
    # Best F1: all three kept, 2*2/(3+2) = 0.8, against 2*1/(1+2) = 0.67 for the first alone.
    assert accuracy.best_threshold["leaf"] == pytest.approx(0.7)
    assert accuracy.confidence == pytest.approx(0.7)
    assert accuracy.precision == pytest.approx(2 / 3)
    assert accuracy.recall == 1.0
    assert (accuracy.mean.found, accuracy.mean.false_alarms) == (2, 1)


def test_an_operating_point_chosen_elsewhere_is_kept_and_changes_no_average_precision():
    truths = {"a": truth((0, 0, 0, 10, 10), (0, 50, 50, 90, 90), (1, 0, 50, 20, 90))}
    detections = {"a": found((0, 0.9, 0, 0, 10, 10), (0, 0.8, 200, 200, 220, 220), (0, 0.7, 50, 50, 90, 90))}
    chosen, best = evaluate(truths, detections, NAMES, confidence=0.85), evaluate(truths, detections, NAMES)
    assert chosen.confidence == chosen.operating_point == 0.85
    leaf, spot = (chosen.per_class[name] for name in NAMES[:2])
    assert (leaf.found, leaf.false_alarms, leaf.precision, leaf.recall) == (1, 0, 1, 0.5)
    assert (spot.found, spot.false_alarms, spot.precision, spot.recall) == (0, 0, 0, 0)
    assert (chosen.mean.boxes, chosen.mean.found, chosen.recall) == (3, 1, 0.25)
    assert (chosen.mAP50, chosen.mAP75, chosen.mAP50_95) == (best.mAP50, best.mAP75, best.mAP50_95)
    assert chosen.best_threshold == best.best_threshold
    assert evaluate({}, {}, NAMES, confidence=0.4).operating_point == 0.4


def test_what_is_chosen_for_other_images_is_the_middle_of_the_best():
    truths = {"a": truth((0, 0, 0, 10, 10), (0, 50, 50, 90, 90))}
    detections = {"a": found((0, 0.9, 0, 0, 10, 10), (0, 0.8, 50, 50, 90, 90), (0, 0.4, 200, 200, 220, 220))}
    accuracy = evaluate(truths, detections, NAMES)
    # F1 is 1 from just above the false alarm at 0.4 up to the second hit.
    assert accuracy.confidence == pytest.approx(0.8)
    assert accuracy.choice == pytest.approx(0.6, abs=1e-3)
    assert evaluate({"a": truth()}, {"a": found()}, NAMES).choice is None
    assert evaluate(truths, {"a": found()}, NAMES).choice is None


@pytest.mark.parametrize("seed", range(4))
def test_no_confidence_is_better_than_the_chosen_one(seed):
    accuracy = evaluate(*random_case(seed, images=8), NAMES)
    f1, chosen = accuracy.mean.f1_curve, int(np.abs(CONFIDENCES - accuracy.choice).argmin())
    assert f1[chosen] == f1.max()
    assert accuracy.choice <= accuracy.confidence


def test_detections_of_a_class_without_truth_are_false_alarms():
    truths = {"a": truth((0, 0, 0, 10, 10))}
    detections = {"a": found((0, 0.9, 0, 0, 10, 10), (1, 0.95, 50, 50, 90, 90), (1, 0.2, 50, 50, 90, 90))}
    accuracy = evaluate(truths, detections, NAMES)
    other = accuracy.per_class[NAMES[1]]
    assert (other.boxes, other.found, other.false_alarms, other.precision) == (0, 0, 1, None)
    assert (accuracy.mean.boxes, accuracy.mean.found, accuracy.mean.false_alarms) == (1, 1, 1)
    assert accuracy.precision == 1  # a mean over the classes with truth


def test_each_truth_is_found_once_and_iou_decides():
    # The second detection of the same box is a false alarm; IoU of the shifted one is 80/120 = 2/3.
    truths = {"a": truth((0, 0, 0, 10, 10))}
    detections = {"a": found((0, 0.9, 0, 0, 10, 12), (0, 0.8, 0, 0, 10, 10))}
    accuracy = evaluate(truths, detections, NAMES)
    assert accuracy.mAP50 == pytest.approx(1.0)
    # At IoU 0.85, 0.90 and 0.95 the first (IoU 0.833) misses, so the second is the hit, at precision 1/2.
    assert accuracy.mAP50_95 == pytest.approx((7 * 1 + 3 * 0.5) / 10)


def test_perfect_detections_score_one():
    truths, _ = random_case(1)
    detections = {k: Detections(t.xyxy, np.full(len(t.cls), 0.9), t.cls) for k, t in truths.items()}
    accuracy = evaluate(truths, detections, NAMES)
    for figures in (accuracy.mean, *(f for f in accuracy.per_class.values() if f.boxes)):
        assert (figures.precision, figures.recall) == (1.0, 1.0)
        assert (figures.mAP50, figures.mAP75, figures.mAP50_95) == pytest.approx((1.0, 1.0, 1.0))
    assert accuracy.confidence == 0.9


def test_class_without_truth_is_not_available_and_not_in_the_mean():
    truths = {"a": truth((0, 0, 0, 10, 10))}
    detections = {"a": found((0, 0.9, 0, 0, 10, 10), (1, 0.99, 0, 0, 10, 10))}
    accuracy = evaluate(truths, detections, NAMES)
    assert accuracy.mAP50_95 == pytest.approx(1.0)
    spot = accuracy.per_class["spot"]
    assert spot.boxes == 0
    assert {spot.precision, spot.recall, spot.mAP50, spot.mAP75, spot.mAP50_95, spot.best_threshold} == {None}
    assert list(accuracy.per_class) == NAMES


def test_class_with_truth_and_no_detections_is_zero():
    truths = {"a": truth((0, 0, 0, 10, 10), (1, 0, 0, 10, 10))}
    accuracy = evaluate(truths, {"a": found((0, 0.9, 0, 0, 10, 10))}, NAMES)
    spot = accuracy.per_class["spot"]
    assert (spot.precision, spot.recall, spot.mAP50, spot.best_threshold) == (0, 0, 0, None)
    assert accuracy.mAP50 == pytest.approx(0.5)


def test_nothing_found_at_all():
    accuracy = evaluate({"a": truth((0, 0, 0, 10, 10)), "b": truth()}, {"a": found(), "b": found()}, NAMES)
    assert (accuracy.images, accuracy.precision, accuracy.recall, accuracy.mAP50_95) == (2, 0, 0, 0)
    assert accuracy.confidence is None
    assert accuracy.operating_point == USUAL_CONF
    assert (accuracy.mean.found, accuracy.mean.false_alarms) == (0, 0)


@pytest.mark.parametrize("images", [0, 2])
def test_no_truth_at_all_is_not_available(images):
    keys = [str(i) for i in range(images)]
    detections = {k: found((0, 0.9, 0, 0, 10, 10)) for k in keys}
    accuracy = evaluate({k: truth() for k in keys}, detections, NAMES)
    figures = accuracy.to_json()
    assert figures["images"] == images
    assert all(figures[name] is None for name in ("precision", "recall", "mAP50", "mAP75", "mAP50_95", "confidence"))
    assert figures["curves"]["precision"]["all"] is None
    assert all(row["boxes"] == 0 and row["mAP50"] is None for row in figures["per_class"])


def test_detections_on_an_image_without_truth_count_against_the_model():
    truths = {"a": truth((0, 0, 0, 10, 10)), "b": truth()}
    hit, alarm = found((0, 0.8, 0, 0, 10, 10)), found((0, 0.9, 0, 0, 10, 10))
    assert evaluate(truths, {"a": hit, "b": alarm}, NAMES).mAP50 == pytest.approx(0.5)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.randoms(use_true_random=False), st.booleans())
def test_the_order_of_images_and_boxes_changes_nothing(seed, random, ties):
    truths, detections = random_case(seed, images=5)
    if ties:
        detections = {k: Detections(d.xyxy, np.round(d.score, 1), d.cls) for k, d in detections.items()}
    keys = list(truths)
    random.shuffle(keys)
    shuffled_truths, shuffled = {}, {}
    for key in keys:
        t, d = truths[key], detections[key]
        rows, others = random.sample(range(len(t.cls)), len(t.cls)), random.sample(range(len(d.cls)), len(d.cls))
        shuffled_truths[key] = Truth(t.xyxy[rows], t.cls[rows], t.width, t.height)
        shuffled[key] = Detections(d.xyxy[others], d.score[others], d.cls[others])
    assert evaluate(truths, detections, NAMES).to_json() == evaluate(shuffled_truths, shuffled, NAMES).to_json()


def brute_force(truths, detections, c, confidence):
    """Precision and recall of class `c` by greedy matching in score order, image by image."""
    hits = kept = boxes = 0
    for key, t in truths.items():
        d = detections[key]
        targets, taken = t.xyxy[t.cls == c], set()
        boxes += len(targets)
        rows = [i for i in np.argsort(-d.score) if d.cls[i] == c and d.score[i] >= confidence]
        kept += len(rows)
        for i in rows:
            iou = iou_matrix(d.xyxy[i : i + 1], targets)[0] if len(targets) else []
            free = [(value, j) for j, value in enumerate(iou) if value >= 0.5 and j not in taken]
            if free:
                taken.add(max(free)[1])
                hits += 1
    return (hits / kept if kept else 0.0), hits / boxes


@pytest.mark.parametrize("seed", range(6))
def test_precision_recall_and_best_f1_by_brute_force(seed):
    truths, detections = random_case(seed, images=8)
    accuracy = evaluate(truths, detections, NAMES)
    for c, name in enumerate(NAMES):
        figures = accuracy.per_class[name]
        if not figures.boxes:
            continue
        assert (figures.precision, figures.recall) == pytest.approx(
            brute_force(truths, detections, c, accuracy.confidence)
        )
        assert figures.found == pytest.approx(figures.recall * figures.boxes)
        assert figures.found == pytest.approx(figures.precision * (figures.found + figures.false_alarms))
        for index in (1, 250, 500, 777):
            p, r = brute_force(truths, detections, c, CONFIDENCES[index])
            assert figures.f1_curve[index] == pytest.approx(2 * p * r / (p + r) if p + r else 0)
            assert (figures.p_curve[index], figures.r_curve[index]) == pytest.approx((p, r))
        p, r = brute_force(truths, detections, c, figures.best_threshold)
        assert 2 * p * r / (p + r) >= figures.f1_curve.max() - 1e-12
    best = accuracy.confidence == CONFIDENCES
    assert accuracy.mean.f1_curve[best] == accuracy.mean.f1_curve.max()
    assert accuracy.mean.p_curve[best] == pytest.approx(accuracy.precision)
    assert accuracy.mean.r_curve[best] == pytest.approx(accuracy.recall)


@pytest.mark.parametrize(("missing", "extra"), [("b.jpg", None), (None, "z.jpg")])
def test_unequal_images_are_refused_by_name(missing, extra):
    truths = {"a.jpg": truth(), "b.jpg": truth()}
    detections = {k: found() for k in [*truths, *([extra] if extra else [])] if k != missing}
    with pytest.raises(ValueError, match=missing or extra):
        evaluate(truths, detections, NAMES)


@pytest.mark.parametrize(
    "wrong",
    [
        found((4, 0.9, 0, 0, 5, 5)),
        found((-1, 0.9, 0, 0, 5, 5)),
        found((0, np.nan, 0, 0, 5, 5)),
        found((0, 0.9, 0, np.inf, 5, 5)),
        Detections(np.zeros((2, 4)), np.zeros(2), np.zeros(1, int)),
        Detections(np.zeros((1, 4)), np.zeros(2), np.zeros(1, int)),
        Detections(np.zeros((1, 4)), np.zeros(1), np.array([0.5])),
    ],
)
def test_wrong_detections_are_refused_by_name(wrong):
    with pytest.raises(ValueError, match=r"b\.jpg"):
        evaluate({"b.jpg": truth((0, 0, 0, 5, 5))}, {"b.jpg": wrong}, NAMES)


def test_truth_without_area_and_names_given_twice_are_refused():
    with pytest.raises(ValueError, match="no area"):
        evaluate({"b": truth((0, 5, 5, 5, 9))}, {"b": found()}, NAMES)
    with pytest.raises(ValueError, match="differ"):
        evaluate({}, {}, ["a", "a"])


def test_json_is_plain_and_complete(capsys):
    truths, detections = random_case(5)
    accuracy: Accuracy = evaluate(truths, detections, NAMES)
    assert capsys.readouterr().out == ""
    figures = accuracy.to_json()
    assert json.loads(json.dumps(figures, allow_nan=False)) == figures
    assert figures["mAP50"] == accuracy.mAP50
    assert [row["class"] for row in figures["per_class"]] == NAMES
    assert len(figures["curves"]["recall"]) == len(figures["curves"]["precision"]["all"]) == 101
    assert len(figures["curves"]["confidence"]) == len(figures["curves"]["f1"]["leaf"]) == 1001
    assert len(figures["curves"]["precision_at_confidence"]["all"]) == 1001
    assert len(figures["curves"]["recall_at_confidence"]["all"]) == 1001
    assert figures["curves"]["precision"]["mite"] is None
    assert figures["boxes"] == sum(row["boxes"] for row in figures["per_class"]) == sum(accuracy.boxes.values())


def test_float32_arrays_and_empty_lists_are_accepted():
    truths = {"a": Truth(np.array([[0, 0, 10, 10]], np.float32), np.array([0]), 20, 20), "b": truth()}
    hit = Detections(np.array([[0, 0, 10, 10]], np.float32), np.array([0.5], np.float32), np.array([0], np.float32))
    empty = Detections(np.zeros((0,)), np.zeros(0), np.zeros(0))
    assert evaluate(truths, {"a": hit, "b": empty}, NAMES).mAP50_95 == pytest.approx(1.0)
