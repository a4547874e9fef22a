"""Several teachers' boxes as one set, against a plain loop and by what must hold whatever they found."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kdyolo.boxes import Detections
from kdyolo.pseudo.fusion import IOU, class_weights, fuse, known_classes

NC = 3
quick = settings(max_examples=60, deadline=None)
ALL = np.ones((2, NC), dtype=bool)
EVEN = np.ones((2, NC))
FIELDS = ("xyxy", "score", "cls", "probs", "spread")


def make(*rows, spread=1.0, probs=None):
    """Detections of rows (x1, y1, x2, y2, score, cls)."""
    table = np.array(rows, dtype=float).reshape(-1, 6)
    count = len(table)
    probs = np.full((count, NC), 0.1) if probs is None else np.array(probs, dtype=float)
    return Detections(table[:, :4], table[:, 4], table[:, 5].astype(int), probs, np.full((count, 4), spread))


@st.composite
def teachers(draw, most=4):
    """Coarse boxes, so that they meet and tie; any weights; every teacher knows at least one class."""
    number = draw(st.integers(1, most))
    knows = np.array(
        draw(st.lists(st.lists(st.booleans(), min_size=NC, max_size=NC), min_size=number, max_size=number))
    )
    knows[np.arange(number), draw(st.lists(st.integers(0, NC - 1), min_size=number, max_size=number))] = True
    weight = st.sampled_from([0.25, 1.0, 1.0, 3.0])
    weights = np.array(draw(st.lists(st.lists(weight, min_size=NC, max_size=NC), min_size=number, max_size=number)))
    found = []
    for row in knows:
        small = st.integers(0, 4)
        side, level = st.integers(8, 12), st.sampled_from([0.0, 0.2, 0.5, 0.5, 0.9])
        box = st.tuples(small, small, side, side, level, st.sampled_from(np.flatnonzero(row).tolist()))
        table = np.array(draw(st.lists(box, max_size=5)), dtype=float).reshape(-1, 6)
        table = table[np.argsort(-table[:, 4], kind="stable")]
        table[:, 2:4] += table[:, :2]
        rng = np.random.default_rng(draw(st.integers(0, 99)))
        soft = rng.random((len(table), NC)), 1 + rng.random((len(table), 4))
        found.append(Detections(table[:, :4], table[:, 4], table[:, 5].astype(int), *soft))
    return found, weights, knows


def overlap(a, b):
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    both = max(width, 0) * max(height, 0)
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


def mean(values, weights):
    weights = weights if sum(weights) else [1] * len(weights)
    return sum(w * v for w, v in zip(weights, values, strict=True)) / sum(weights)


def plain_fusion(found, weights, knows, iou):
    """Class by class, box by box, side by side: rows of (xyxy, score, cls, probs, spread)."""
    rows = []
    for c in range(NC):
        judges = [t for t in range(len(found)) if knows[t, c]]
        boxes = [(t, i) for t in judges for i in range(len(found[t].score)) if found[t].cls[i] == c]
        boxes.sort(key=lambda x: -weights[x[0], c] * found[x[0]].score[x[1]])
        clusters = []
        for t, i in boxes:
            best, chosen = iou, None
            for cluster in clusters:
                if all(other != t for other, _ in cluster):
                    pull = [weights[u, c] * found[u].score[j] for u, j in cluster]
                    fused = [mean([found[u].xyxy[j][k] for u, j in cluster], pull) for k in range(4)]
                    if overlap(found[t].xyxy[i], fused) > best:
                        best, chosen = overlap(found[t].xyxy[i], fused), cluster
            if chosen is None:
                clusters.append([(t, i)])
            else:
                chosen.append((t, i))
        for cluster in clusters:
            pull = [weights[u, c] * found[u].score[j] for u, j in cluster]
            xyxy = [mean([found[u].xyxy[j][k] for u, j in cluster], pull) for k in range(4)]
            said = {u: found[u].score[j] for u, j in cluster}
            score = mean([said.get(t, 0.0) for t in judges], [weights[t, c] for t in judges])
            probs = []
            for k in range(NC):
                known = [(u, j) for u, j in cluster if knows[u, k]]
                values = [found[u].probs[j, k] for u, j in known]
                probs.append(mean(values, [weights[u, k] for u, _ in known]) if known else np.nan)
            second = [
                mean([found[u].spread[j][k] ** 2 + found[u].xyxy[j][k] ** 2 for u, j in cluster], pull)
                for k in range(4)
            ]
            rows.append((xyxy, score, c, probs, [np.sqrt(second[k] - xyxy[k] ** 2) for k in range(4)]))
    return rows


def flat(rows):
    table = np.array([[score, cls, *xyxy, *probs, *spread] for xyxy, score, cls, probs, spread in rows])
    table = table.reshape(-1, 6 + NC + 4).round(6)
    return table[np.lexsort(np.nan_to_num(table, nan=-1.0).T[::-1])]


@quick
@given(teachers(), st.integers(0, 1000), st.sampled_from([0.3, IOU, 0.8]))
def test_it_is_the_plain_loop(case, seed, iou):
    found, weights, knows = case
    rng = np.random.default_rng(seed)
    # Where boxes tie, rounding decides which of two right answers comes out.
    found = [
        Detections(x.xyxy + 0.01 * rng.random(x.xyxy.shape), rng.random(len(x.score)), x.cls, x.probs, x.spread)
        for x in found
    ]
    fused = fuse(found, weights, knows, iou)
    rows = list(zip(fused.xyxy, fused.score, fused.cls, fused.probs, fused.spread, strict=True))
    np.testing.assert_allclose(flat(rows), flat(plain_fusion(found, weights, knows, iou)), atol=3e-6)
    assert (np.diff(fused.score) <= 0).all()


@quick
@given(teachers(most=1))
def test_one_teacher_comes_out_as_it_went_in(case):
    (one,), weights, knows = case
    fused = fuse([one], weights, knows)
    for field in FIELDS:
        expected = getattr(one, field)
        if field == "probs":
            expected = np.where(knows, expected, np.nan)
        np.testing.assert_array_equal(getattr(fused, field), expected)


@quick
@given(teachers(), st.randoms(use_true_random=False))
def test_the_order_of_teachers_does_not_matter(case, random):
    found, weights, knows = case
    order = list(range(len(found)))
    random.shuffle(order)
    fused, turned = fuse(found, weights, knows), fuse([found[t] for t in order], weights[order], knows[order])
    for field in FIELDS:
        np.testing.assert_allclose(getattr(fused, field), getattr(turned, field), rtol=1e-12)


@quick
@given(teachers())
def test_only_the_ratios_of_weights_count(case):
    found, weights, knows = case
    fused, scaled = fuse(found, weights, knows), fuse(found, weights * [2.0, 8.0, 0.25], knows)
    for field in FIELDS:
        np.testing.assert_allclose(getattr(fused, field), getattr(scaled, field), rtol=1e-12)


@quick
@given(teachers())
def test_it_stays_between_the_teachers(case):
    found, weights, knows = case
    fused = fuse(found, weights, knows)
    for c in set(fused.cls.tolist()):
        mine, theirs = fused.cls == c, [one.cls == c for one in found]
        xyxy = np.concatenate([one.xyxy[rows] for one, rows in zip(found, theirs, strict=True)])
        score = np.concatenate([one.score[rows] for one, rows in zip(found, theirs, strict=True)])
        assert (fused.xyxy[mine] >= xyxy.min(0) - 1e-9).all()
        assert (fused.xyxy[mine] <= xyxy.max(0) + 1e-9).all()
        assert fused.score[mine].max() <= score.max() + 1e-9
        assert max(rows.sum() for rows in theirs) <= mine.sum() <= sum(rows.sum() for rows in theirs)
    assert (fused.spread >= 1 - 1e-9).all()


@quick
@given(teachers(most=1), st.integers(2, 4))
def test_teachers_that_agree_are_one(case, count):
    """If no two of a teacher's own boxes could be taken for each other."""
    (one,), weights, knows = case
    rows = [i for i in range(len(one.cls)) if all(overlap(one.xyxy[i], one.xyxy[j]) < 1 for j in range(i))]
    one = Detections(*(getattr(one, field)[rows] for field in FIELDS))
    fused = fuse([one] * count, weights.repeat(count, 0), knows.repeat(count, 0))
    again = fuse([one], weights, knows)
    for field in FIELDS:
        np.testing.assert_allclose(getattr(fused, field), getattr(again, field), rtol=1e-9)


def test_teachers_of_disjoint_classes_do_not_touch_each_other():
    box = (0, 0, 10, 10)
    knows = np.array([[True, False, False], [False, True, False]])
    fused = fuse([make((*box, 0.8, 0)), make((*box, 0.6, 1))], EVEN, knows)
    assert fused.cls.tolist() == [0, 1]
    assert fused.score.tolist() == [0.8, 0.6]  # nobody is silent who could have spoken
    np.testing.assert_array_equal(fused.probs, [[0.1, np.nan, np.nan], [np.nan, 0.1, np.nan]])


def test_who_knows_the_class_and_is_silent_lowers_the_score():
    found = [make((0, 0, 10, 10, 0.8, 0)), make()]
    assert fuse(found, EVEN, ALL).score.tolist() == pytest.approx([0.4])
    assert fuse(found, np.array([[3.0] * NC, [1.0] * NC]), ALL).score.tolist() == pytest.approx([0.6])
    knows = ALL.copy()
    knows[1, 0] = False
    assert fuse(found, EVEN, knows).score.tolist() == [0.8]


def test_weight_times_score_moves_the_box():
    found = [make((0, 0, 10, 10, 0.8, 0)), make((2, 0, 12, 10, 0.4, 0))]
    assert fuse(found, EVEN, ALL).xyxy[0].tolist() == pytest.approx([2 / 3, 0, 10 + 2 / 3, 10])
    heavy = fuse(found, np.array([[1.0] * NC, [6.0] * NC]), ALL)
    assert heavy.xyxy[0].tolist() == pytest.approx([1.5, 0, 11.5, 10])
    assert heavy.score.tolist() == pytest.approx([(0.8 + 6 * 0.4) / 7])


def test_spread_is_that_of_the_mixture():
    found = [make((0, 0, 10, 10, 0.5, 0), spread=3.0), make((2, 0, 12, 10, 0.5, 0), spread=3.0)]
    assert fuse(found, EVEN, ALL).spread[0].tolist() == pytest.approx([10**0.5, 3, 10**0.5, 3])


def test_two_boxes_of_one_teacher_stay_two():
    """They overlap by IoU 0.67, less than non-maximum suppression minds and more than fusion does."""
    pair = ((0, 0, 10, 10, 0.9, 0), (2, 0, 12, 10, 0.8, 0))
    fused = fuse([make(*pair), make(pair[1])], EVEN, ALL)
    assert fused.xyxy.tolist() == [[2, 0, 12, 10], [0, 0, 10, 10]]
    assert fused.score.tolist() == pytest.approx([0.8, 0.45])


def test_a_teacher_of_weight_nought_is_not_heard():
    found = [make((0, 0, 10, 10, 0.5, 0)), make((1, 0, 11, 10, 0.9, 0), (50, 50, 60, 60, 0.9, 0))]
    fused = fuse(found, np.array([[1.0] * NC, [0.0] * NC]), ALL)
    assert (fused.xyxy.tolist(), fused.score.tolist()) == ([[0, 0, 10, 10]], [0.5])


def test_what_a_teacher_says_of_a_class_it_does_not_know_is_not_read():
    knows = np.array([[True, True, False], [True, False, False]])
    found = [
        make((0, 0, 10, 10, 0.8, 0), probs=[[0.8, 0.3, np.nan]]),
        make((0, 0, 10, 10, 0.4, 0), probs=[[0.4, np.nan, 0.9]]),
    ]
    np.testing.assert_allclose(fuse(found, EVEN, knows).probs, [[0.6, 0.3, np.nan]])


def test_nothing_found_and_nothing_soft():
    fused = fuse([make(), make()], EVEN, ALL)
    assert [getattr(fused, field).shape for field in FIELDS] == [(0, 4), (0,), (0,), (0, NC), (0, 4)]
    bare = Detections(np.array([[0.0, 0, 10, 10]]), np.array([0.5]), np.array([0]))
    fused = fuse([bare, make((0, 0, 10, 10, 0.5, 0))], EVEN, ALL)
    assert (len(fused.score), fused.probs, fused.spread) == (1, None, None)


@pytest.mark.parametrize(
    ("found", "weights", "knows"),
    [
        ([make()], EVEN, ALL),
        ([make(), make()], EVEN, ALL[:1]),
        ([make(), make()], -EVEN, ALL),
        ([make(), make()], EVEN * np.nan, ALL),
        ([make(), make()], EVEN * 0, ALL),
        ([make((0, 0, 1, 1, 0.5, 0)), make()], EVEN, ~ALL),
        ([make((0, 0, 1, 1, 0.5, NC)), make()], EVEN, ALL),
        ([make((0, 0, 1, 1, 0.5, -1)), make()], EVEN, ALL),
        ([make((0, 0, 1, 1, 0.5, 0), probs=[[0.5]]), make()], EVEN, ALL),
    ],
)
def test_what_cannot_be_fused(found, weights, knows):
    with pytest.raises(ValueError, match=r"teacher|weights"):
        fuse(found, weights, knows)


def test_weights_of_classes():
    aps = [{"cat": 0.6, "dog": 0.3, "hen": None, "ox": 0.5}, {"cat": 0.2, "hen": None, "cow": 0.0}, {"cow": 0.0}]
    names = ["cat", "dog", "hen", "cow", "yak"]
    expected = [[0.75, 1, 0.5, 0, 0], [0.25, 0, 0.5, 0.5, 0], [0, 0, 0, 0.5, 0]]
    np.testing.assert_allclose(class_weights(aps, names), expected)
    assert known_classes(aps, names).tolist() == [[value > 0 for value in row] for row in expected]


def test_a_teacher_without_a_measured_ap_counts_like_the_mean():
    weights = class_weights([{"cat": 0.6}, {"cat": 0.2}, {"cat": None}], ["cat"])
    np.testing.assert_allclose(weights[:, 0], np.array([0.6, 0.2, 0.4]) / 1.2)


@pytest.mark.parametrize("ap", [-0.1, 1.1, float("inf")])
def test_an_ap_that_is_none(ap):
    with pytest.raises(ValueError, match="outside"):
        class_weights([{"cat": ap}], ["cat"])
