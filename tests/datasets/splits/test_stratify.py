import hashlib
import itertools
import random

import numpy as np
import pytest
from builders import checked
from hypothesis import given, settings
from hypothesis import strategies as st

from kdyolo.datasets.splits.deviation import class_deviations, least_deviations
from kdyolo.datasets.splits.features import features
from kdyolo.datasets.splits.grouping import group_identical
from kdyolo.datasets.splits.stratify import stratify
from kdyolo.errors import DatasetError

RATIOS = (0.7, 0.15, 0.15)


def image(name, classes, size=0.2, content=None, side=(640, 480)):
    return checked(name, content, [(c, 0.5, 0.5, size, size) for c in classes], size=side)


def skewed(n, nc, seed=0, copies=0):
    """Images with a long tail of classes; some of them there several times."""
    rng = random.Random(seed)
    weights = [1 / (k + 1) ** 1.3 for k in range(nc)]
    samples = []
    for i in range(n):
        classes = rng.choices(range(nc), weights, k=rng.randint(0, 6))
        repeats = rng.randint(2, 5) if i < copies else 1
        samples += [image(f"{i}-{k}", classes, rng.uniform(0.01, 0.4), str(i)) for k in range(repeats)]
    return group_identical(samples)


def counts(groups, chosen, parts, nc):
    table = features(groups, nc)
    return table, table.sums(np.array(chosen), parts)


@st.composite
def collections(draw):
    n = draw(st.integers(3, 40))
    contents = draw(st.lists(st.integers(0, n), min_size=n, max_size=n))
    contents[:3] = [n + 1, n + 2, n + 3]
    labels = draw(st.lists(st.lists(st.integers(0, 2), max_size=4), min_size=n, max_size=n))
    pairs = enumerate(zip(contents, labels, strict=True))
    return group_identical([image(f"{i}", cls, content=str(content)) for i, (content, cls) in pairs])


@settings(max_examples=120, deadline=None)
@given(groups=collections(), seed=st.integers(0, 99), parts=st.sampled_from([RATIOS, (0.5, 0.5), (0.2, 0.3, 0.5)]))
def test_fault_50_every_part_is_filled_and_none_by_more_than_a_group(groups, seed, parts):
    chosen = stratify(groups, parts, seed, 3)
    images = np.array([len(group.samples) for group in groups])
    sizes = np.bincount(chosen, weights=images, minlength=len(parts))
    assert len(chosen) == len(groups)
    assert sizes.min() > 0
    assert (sizes < np.array(parts) * images.sum() + images.max() + 1e-6).all()
    order = random.Random(seed).sample(range(len(groups)), len(groups))
    assert stratify([groups[i] for i in order], parts, seed, 3) == [chosen[i] for i in order]


@pytest.mark.parametrize(("n", "nc", "copies"), [(200, 6, 0), (400, 12, 60), (900, 30, 100)])
def test_no_division_could_keep_the_classes_closer(n, nc, copies):
    groups = skewed(n, nc, copies=copies)
    for seed in range(3):
        table, sums = counts(groups, stratify(groups, RATIOS, seed, nc), 3, nc)
        off = class_deviations(sums[:, table.boxes], np.array(RATIOS))
        least = least_deviations(table.totals[table.boxes], np.array(RATIOS))
        assert off.max() == pytest.approx(least.max(), abs=1e-9)
        assert (off - least).max() < 0.02


def test_sizes_and_empty_images_are_spread_as_well():
    groups = skewed(600, 5)
    table, sums = counts(groups, stratify(groups, (0.6, 0.2, 0.2), 0, 5), 3, 5)
    shares = sums[:, :5] / table.totals[:5]
    assert (table.totals[:5] > 20).all()
    assert np.abs(shares - np.array([[0.6], [0.2], [0.2]])).max() < 0.03


def test_small_and_large_are_as_the_network_sees_them():
    sides = [(640, 480), (1280, 960), (480, 640)]
    for side, (width, expected) in itertools.product(sides, [(31, 0), (33, 1), (95, 1), (97, 2)]):
        scale = max(side) / 640
        size = checked("a", None, [(0, 0.5, 0.5, width * scale / side[0], width * scale / side[1])], size=side)
        assert features(group_identical([size]), 1).totals[2:5].tolist() == np.eye(3)[expected].tolist()


def test_what_is_counted():
    groups = group_identical([image("a", [0, 0, 2]), image("a2", [0], content="a"), image("b", [])])
    table = features(groups, 3)
    assert table.totals.tolist() == [3, 1, 0, 0, 4, 2, 0, 1, 3, 0, 1]
    assert sorted(table.images.tolist()) == [1, 2]
    assert table.sums(np.array([0, 0]), 1)[0].tolist() == table.totals.tolist()
    alone = table.images.tolist().index(1)
    assert table.sums(np.where(np.arange(2) == alone, 0, -1), 1)[0, :2].tolist() == [1, 1]


def test_the_seed_decides_and_nothing_else():
    groups = skewed(80, 4)
    assert stratify(groups, RATIOS, 1, 4) == stratify(groups, RATIOS, 1, 4)
    assert len({tuple(stratify(groups, RATIOS, seed, 4)) for seed in range(5)}) == 5


def test_the_division_of_one_seed_is_pinned():
    chosen = stratify(skewed(300, 8, copies=40), RATIOS, 0, 8)
    assert hashlib.sha256(bytes(chosen)).hexdigest()[:16] == "1daec0db13d27358"


@pytest.mark.parametrize("n", [1, 2])
def test_fault_50_fewer_groups_than_parts(n):
    groups = group_identical([image(f"{i}-{k}", [0], content=str(i)) for i in range(n) for k in range(5)])
    with pytest.raises(DatasetError, match=f"only {n} different usable images for 3 splits"):
        stratify(groups, RATIOS, 0, 1)


def test_as_many_groups_as_parts():
    groups = group_identical([image(f"{i}", [0]) for i in range(3)])
    assert sorted(stratify(groups, RATIOS, 0, 1)) == [0, 1, 2]


@settings(max_examples=200, deadline=None)
@given(total=st.integers(1, 14), cuts=st.tuples(st.integers(1, 18), st.integers(1, 18)))
def test_least_deviations_are_the_least(total, cuts):
    a, b = sorted(cuts)
    shares = np.array([a, b - a + 1, 20 - b]) / 21
    every = [np.array([[i], [j], [total - i - j]]) for i in range(total + 1) for j in range(total + 1 - i)]
    brute = min(class_deviations(boxes.astype(float), shares)[0] for boxes in every)
    assert least_deviations(np.array([float(total)]), shares)[0] == pytest.approx(brute, abs=1e-9)


def test_deviations_of_tiny_and_absent_classes():
    shares = np.array(RATIOS)
    boxes = np.array([[1.0, 0, 0, 70], [0, 0, 1, 15], [0, 0, 0, 15]])
    assert class_deviations(boxes, shares).tolist() == pytest.approx([0.3, 0, 0.85, 0])
    assert least_deviations(boxes.sum(axis=0), shares).tolist() == pytest.approx([0.3, 0, 0.3, 0])
