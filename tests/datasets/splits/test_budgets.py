import random

import numpy as np
import pytest
from builders import checked
from hypothesis import given, settings
from hypothesis import strategies as st

from kdyolo.datasets.splits.budgets import nested_order, take
from kdyolo.datasets.splits.features import features
from kdyolo.datasets.splits.grouping import group_identical
from kdyolo.errors import ConfigError

NAMES = ("a", "b", "c", "d")


def groups_of(labels, contents=None):
    return group_identical([
        checked(f"{i}", str(i if contents is None else contents[i]), [(c, 0.5, 0.5, 0.2, 0.2) for c in classes])
        for i, classes in enumerate(labels)
    ])  # fmt: skip


def skewed(n, nc, seed=0):
    rng = random.Random(seed)
    weights = [1 / (k + 1) ** 1.2 for k in range(nc)]
    return groups_of([rng.choices(range(nc), weights, k=rng.randint(0, 5)) for _ in range(n)])


@st.composite
def collections(draw):
    n = draw(st.integers(1, 70))
    labels = draw(st.lists(st.lists(st.integers(0, 3), max_size=3), min_size=n, max_size=n))
    return groups_of(labels, draw(st.lists(st.integers(0, n), min_size=n, max_size=n)))


def keys(groups):
    return [group.key for group in groups]


@settings(max_examples=80, deadline=None)
@given(groups=collections(), seed=st.integers(0, 9), fractions=st.lists(st.floats(0.01, 1), min_size=2, max_size=4))
def test_shares_are_nested_whole_and_cover_the_classes(groups, seed, fractions):
    order = nested_order(groups, 4, seed)
    assert sorted(order) == list(range(len(groups)))
    total = sum(len(group.samples) for group in groups)
    present = {c for group in groups for sample in group.samples for c in sample.cls.tolist()}
    smaller = None
    for fraction in sorted(fractions):
        try:
            labelled, rest = take(groups, fraction, NAMES, seed)
        except ConfigError:
            assert smaller is None  # what a smaller share covers a larger one covers
            continue
        assert sorted(keys(labelled) + keys(rest)) == keys(groups)
        assert {c for group in labelled for sample in group.samples for c in sample.cls.tolist()} == present
        largest = max(len(group.samples) for group in groups)
        assert abs(sum(len(group.samples) for group in labelled) - fraction * total) <= max(largest, 1) / 2 + 1e-6
        assert smaller is None or set(smaller) <= set(keys(labelled))
        smaller = keys(labelled)
    assert take(groups, 1, NAMES, seed) == (groups, [])


@settings(max_examples=40, deadline=None)
@given(groups=collections(), seed=st.integers(0, 9), shuffle=st.randoms(use_true_random=False))
def test_the_order_of_files_decides_nothing(groups, seed, shuffle):
    expected = [groups[i].key for i in nested_order(groups, 4, seed)]
    shuffle.shuffle(groups)
    assert [groups[i].key for i in nested_order(groups, 4, seed)] == expected


def test_the_seed_decides():
    groups = skewed(90, 4)
    assert nested_order(groups, 4, 1) == nested_order(groups, 4, 1) != nested_order(groups, 4, 2)


def test_classes_come_first_and_the_rarest_of_all():
    groups = groups_of([[0], [0], [0], [0, 1], [0, 1], [2], [0], [0, 3], [1], [3, 1]])
    order = nested_order(groups, 4, 0)
    classes = [set(groups[i].samples[0].cls.tolist()) for i in order]
    assert classes[0] == {2}
    assert classes[1] == {1, 3}
    assert 0 in classes[2]


def test_no_groups_have_no_order():
    assert nested_order([], 3, 0) == []


@pytest.mark.parametrize(("fraction", "limit"), [(1 / 8, 0.03), (1 / 4, 0.02), (1 / 2, 0.01), (0.3, 0.03), (0.8, 0.03)])
def test_every_beginning_is_like_the_whole(fraction, limit):
    groups = skewed(800, 6)
    labelled, _ = take(groups, fraction, [f"c{i}" for i in range(6)], 0)
    whole, part = features(groups, 6), features(labelled, 6)
    assert (whole.totals[whole.boxes] > 60).all()
    assert np.abs(part.totals / np.maximum(whole.totals, 1) - fraction)[whole.boxes].max() < limit
    assert abs(part.totals[0] - fraction * 800) <= 0.5


def test_a_share_that_is_too_small_says_which_would_do():
    groups = groups_of([[0]] * 36 + [[1], [2], [3]] + [[]])
    with pytest.raises(ConfigError, match="leaves 2 of 40 training images, without a box of") as caught:
        take(groups, 0.05, NAMES, 0)
    assert "--labels-fraction 0.1" in caught.value.hint
    labelled, rest = take(groups, 0.1, NAMES, 0)
    assert (len(labelled), len(rest)) == (4, 36)
    with pytest.raises(ConfigError, match="leaves 0 of 40 training images, without a box of a, b, c, d"):
        take(groups, 0.001, NAMES, 0)


def test_no_image_at_all_is_too_few():
    with pytest.raises(ConfigError, match="leaves 0 of 9 training images, empty") as caught:
        take(groups_of([[]] * 9), 0.01, NAMES, 0)
    assert "0.112" in caught.value.hint
