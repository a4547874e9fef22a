"""The kind of every box, by hand, against naive loops and against the matches that average precision is made of."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scenes import found, random_detections, random_truths, shuffled, truth

from kdyolo.boxes import iou_matrix
from kdyolo.evaluation.errors import DETECTION_KINDS, TRUTH_KINDS, assign, classify, classify_image
from kdyolo.evaluation.matching import match

NAMES = ["leaf", "spot", "mite"]
seeds = settings(max_examples=40, deadline=None)


def errors_of(seed, confidence=0.3):
    truths = random_truths(seed)
    return truths, classify(truths, random_detections(truths, seed + 1), NAMES, confidence)


@pytest.mark.parametrize(
    ("box", "truth_kind", "kind"),
    [
        ((0, 0.9, 0, 0, 100, 100), "found", "correct"),
        ((0, 0.9, 0, 0, 100, 50), "found", "correct"),  # IoU just 0.5
        ((0, 0.9, 0, 0, 100, 49), "loose", "loose"),
        ((0, 0.9, 0, 0, 100, 10), "loose", "loose"),  # IoU just 0.1
        ((0, 0.9, 0, 0, 100, 9), "missed", "false_box"),
        ((1, 0.9, 0, 0, 100, 50), "wrong_class", "wrong_class"),
        ((1, 0.9, 0, 0, 100, 49), "missed", "both"),
        ((1, 0.9, 0, 0, 100, 9), "missed", "false_box"),
        ((0, 0.9, 300, 300, 400, 400), "missed", "false_box"),
    ],
)
def test_overlap_and_class_decide(box, truth_kind, kind):
    image = classify_image(truth((0, 0, 0, 100, 100)), found(box))
    assert (image.truth_kind.tolist(), image.kind.tolist()) == ([truth_kind], [kind])
    assert image.pair.tolist() == [-1 if truth_kind == "missed" else 0]
    assert image.given_cls.tolist() == [-1 if truth_kind == "missed" else box[0]]


def test_the_better_of_two_is_correct_and_the_other_a_duplicate():
    image = classify_image(truth((0, 0, 0, 100, 100)), found((0, 0.5, 0, 0, 100, 100), (0, 0.8, 0, 0, 100, 90)))
    assert image.score.tolist() == [0.8, 0.5]
    assert image.kind.tolist() == ["correct", "duplicate"]


def test_a_detection_explains_one_truth_box_only():
    # The neighbour's own detection lies over parts of the second box and nearly all of the third: both are missed.
    truths = truth((0, 0, 0, 100, 100), (0, 0, 70, 100, 170), (1, 0, 0, 100, 95))
    image = classify_image(truths, found((0, 0.9, 0, 0, 100, 100)))
    assert image.truth_kind.tolist() == ["found", "missed", "missed"]
    # Two boxes under a single one of the wrong class: it stands for the one it fits better.
    truths = truth((0, 0, 0, 100, 100), (0, 0, 0, 100, 60))
    image = classify_image(truths, found((1, 0.9, 0, 0, 100, 95)))
    assert sorted(image.truth_kind.tolist()) == ["missed", "wrong_class"]
    assert image.truth_xyxy[image.truth_kind == "wrong_class"].tolist() == [[0, 0, 100, 100]]


def test_a_correct_detection_goes_before_a_more_confident_one_of_another_class():
    image = classify_image(truth((0, 0, 0, 100, 100)), found((1, 0.9, 0, 0, 100, 100), (0, 0.3, 0, 0, 100, 80)))
    assert image.truth_kind.tolist() == ["found"]
    assert image.kind.tolist() == ["wrong_class", "correct"]
    assert image.given_cls.tolist() == [0]


def test_detections_below_the_operating_point_are_left_out():
    errors = classify(
        {"a": truth((0, 0, 0, 9, 9))}, {"a": found((0, 0.5, 0, 0, 9, 9), (0, 0.4, 50, 50, 60, 60))}, NAMES, 0.5
    )
    assert errors.detection_counts == {**dict.fromkeys(DETECTION_KINDS, 0), "correct": 1}
    assert errors.f1 == 1.0
    assert classify({"a": truth((0, 0, 0, 9, 9))}, {"a": found((0, 0.5, 0, 0, 9, 9))}, NAMES, 0.51).f1 == 0.0


def test_confusion_by_hand():
    truths = {"a": truth((0, 0, 0, 100, 100), (1, 200, 0, 300, 100), (1, 0, 200, 100, 300))}
    boxes = found(
        (0, 0.9, 0, 0, 100, 100), (2, 0.8, 200, 0, 300, 100), (0, 0.7, 200, 0, 300, 90), (1, 0.6, 0, 200, 100, 230)
    )
    table = classify(truths, {"a": boxes}, NAMES, 0.0).confusion
    # The leaf is found; the first spot is a mite to the more confident of two; the second has a loose box only.
    assert table.tolist() == [[1, 0, 0, 0], [0, 0, 1, 1], [0, 0, 0, 0], [1, 1, 0, 0]]


@seeds
@given(st.integers(0, 10**6))
def test_every_box_is_in_exactly_one_kind(seed):
    truths, errors = errors_of(seed)
    detections = random_detections(truths, seed + 1)
    labels = np.concatenate([t.cls for t in truths.values()])
    kept = np.concatenate([d.cls[d.score >= 0.3] for d in detections.values()])
    assert sum(errors.truth_counts.values()) == len(labels)
    assert sum(errors.detection_counts.values()) == len(kept)
    assert errors.truth_counts["found"] == errors.detection_counts["correct"]
    table = errors.confusion
    assert table[:-1].sum(axis=1).tolist() == np.bincount(labels, minlength=3).tolist()
    assert table[:, :-1].sum(axis=0).tolist() == np.bincount(kept, minlength=3).tolist()
    assert table.trace() == errors.truth_counts["found"]
    rows = errors.to_json()["per_class"]
    for part, counts in (("truth", errors.truth_counts), ("detections", errors.detection_counts)):
        assert {kind: sum(row[part][kind] for row in rows) for kind in counts} == counts


@seeds
@given(st.integers(0, 10**6))
def test_every_kind_keeps_its_definition(seed):
    for image in errors_of(seed)[1].images.values():
        iou = iou_matrix(image.xyxy, image.truth_xyxy)
        paired = image.pair[image.pair >= 0].tolist()
        assert len(set(paired)) == len(paired)
        for t, (kind, d) in enumerate(zip(image.truth_kind, image.pair, strict=True)):
            assert (d == -1) == (kind == "missed")
            if d >= 0:
                same, overlap = image.cls[d] == image.truth_cls[t], iou[d, t]
                assert kind in TRUTH_KINDS
                assert same == (kind != "wrong_class")
                assert 0.1 <= overlap < 0.5 if kind == "loose" else overlap >= 0.5
                assert image.kind[d] == {"found": "correct"}.get(kind, kind)
        for d, kind in enumerate(image.kind):
            own = max((iou[d, t] for t in range(len(image.pair)) if image.truth_cls[t] == image.cls[d]), default=0)
            other = max((iou[d, t] for t in range(len(image.pair)) if image.truth_cls[t] != image.cls[d]), default=0)
            assert {
                "correct": own >= 0.5,
                "duplicate": own >= 0.5,
                "wrong_class": other >= 0.5,
                "loose": 0.1 <= own < 0.5,
                "both": own < 0.1 <= other < 0.5,
                "false_box": max(own, other) < 0.1,
            }[kind]


@seeds
@given(st.integers(0, 10**6))
def test_no_pair_is_left_unmade(seed):
    for image in errors_of(seed)[1].images.values():
        iou = iou_matrix(image.xyxy, image.truth_xyxy)
        for t in np.flatnonzero(image.truth_kind != "found"):
            on_it = iou[:, t] >= 0.5
            assert not np.any(on_it & (image.cls == image.truth_cls[t]) & (image.kind != "correct"))
            if image.truth_kind[t] != "wrong_class":
                idle = ~np.isin(np.arange(len(image.cls)), image.pair)
                assert not np.any(on_it & (image.cls != image.truth_cls[t]) & idle)


@seeds
@given(st.integers(0, 10**6), st.sampled_from([0.0, 0.3, 0.7]))
def test_correct_detections_are_the_hits_of_pycocotools(seed, confidence):
    truths, errors = errors_of(seed, confidence)
    detections = random_detections(truths, seed + 1)
    present = sorted({int(c) for t in truths.values() for c in t.cls})
    if not present:
        return
    keys = sorted(truths)
    matches = match(
        [(truths[k].xyxy, truths[k].cls, np.zeros(len(truths[k].cls))) for k in keys],
        [(detections[k].xyxy, detections[k].cls, detections[k].score) for k in keys],
        present,
        300,
    )
    for c, m in zip(present, matches, strict=True):
        mine = sorted(s for i in errors.images.values() for s in i.score[(i.kind == "correct") & (i.cls == c)])
        assert mine == m.score[m.hit & (m.score >= confidence)].tolist()


@seeds
@given(st.integers(0, 10**6))
def test_the_order_of_images_and_boxes_does_not_matter(seed):
    truths = random_truths(seed)
    detections = random_detections(truths, seed + 1)
    one, other = (classify(*pair, NAMES, 0.3) for pair in ((truths, detections), shuffled(truths, detections, seed)))
    assert one.to_json() == other.to_json()
    assert json.dumps([i.to_json() for i in one.images.values()]) == json.dumps(
        [i.to_json() for i in other.images.values()]
    )


@seeds
@given(st.integers(0, 10**6))
def test_assign_equals_a_naive_loop(seed):
    rng = np.random.default_rng(seed)
    iou = np.round(rng.uniform(0, 1, (int(rng.integers(0, 7)), int(rng.integers(0, 7)))), 1)
    free, expected = set(range(iou.shape[1])), []
    for row in iou:
        able = [(row[t], t) for t in free if row[t] >= 0.5]
        expected.append(max(able)[1] if able else -1)
        free.discard(expected[-1])
    assert assign(iou, 0.5).tolist() == expected


def test_nothing_at_all():
    errors = classify({"a": truth()}, {"a": found()}, NAMES, 0.25)
    assert errors.f1 is None
    assert sum(errors.truth_counts.values()) == sum(errors.detection_counts.values()) == 0
    assert classify({}, {}, NAMES, 0.25).confusion.tolist() == [[0] * 4] * 4


def test_the_images_must_be_the_same():
    with pytest.raises(ValueError, match="'b' is in one set only"):
        classify({"a": truth(), "b": truth()}, {"a": found()}, NAMES, 0.25)
