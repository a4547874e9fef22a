import hashlib
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kdyolo.config import SplitSettings
from kdyolo.datasets.sample import SPLITS, Dataset, ImageCheck, Sample
from kdyolo.datasets.splitting import group_identical, split_dataset, stratify
from kdyolo.errors import ConfigError, DatasetError

RATIOS = (0.7, 0.15, 0.15)


def sample(name, content=None, cls=(0,), given=()):
    digest = hashlib.sha256((content or name).encode()).hexdigest()
    boxes = np.tile([0.5, 0.5, 0.2, 0.2], (len(cls), 1))
    return Sample(
        Path(name), name, given, cls=np.array(cls, dtype=np.int64), xywhn=boxes, check=ImageCheck(sha256=digest)
    )


def dataset(samples, nc=3):
    return Dataset(Path("/d"), "yolo", tuple(f"c{i}" for i in range(nc)), samples)


def divide(samples, seed=0, nc=3, **settings):
    rows = split_dataset(dataset(samples, nc), SplitSettings(seed=seed, **settings))
    return {item.name: split for split, _, item in rows}


@st.composite
def collections(draw):
    n = draw(st.integers(3, 60))
    contents = draw(st.lists(st.integers(0, n), min_size=n, max_size=n))
    if len(set(contents)) < 3:
        contents[:3] = [n + 1, n + 2, n + 3]
    labels = draw(st.lists(st.lists(st.integers(0, 2), max_size=4), min_size=n, max_size=n))
    return [sample(f"{i}.jpg", str(c), cls) for i, (c, cls) in enumerate(zip(contents, labels, strict=True))]


@settings(max_examples=80, deadline=None)
@given(samples=collections(), seed=st.integers(0, 99), shuffle=st.randoms(use_true_random=False))
def test_fault_47_50_split_invariants(samples, seed, shuffle):
    found = divide(samples, seed)
    assert sorted(found) == sorted(item.name for item in samples)
    assert set(found.values()) == set(SPLITS)
    by_content = {}
    for item in samples:
        by_content.setdefault(item.check.sha256, set()).add(found[item.name])
    assert all(len(splits) == 1 for splits in by_content.values())
    largest = max(len(group.samples) for group in group_identical(samples))
    for ratio, split in zip(RATIOS, SPLITS, strict=True):
        count = sum(value == split for value in found.values())
        assert count < ratio * len(samples) + largest + 1e-6
    shuffle.shuffle(samples)
    assert divide(samples, seed) == found


def test_ratios_are_met_and_classes_spread_evenly():
    rng = random.Random(1)
    samples = [sample(f"{i}", cls=[rng.choice([0, 0, 0, 0, 1, 1, 2])] * rng.randint(0, 3)) for i in range(400)]
    found = divide(samples, ratios=(0.6, 0.2, 0.2))
    totals = np.bincount(np.concatenate([s.cls for s in samples]), minlength=3)
    for split, ratio in zip(SPLITS, (0.6, 0.2, 0.2), strict=True):
        inside = [s for s in samples if found[s.name] == split]
        assert abs(len(inside) - ratio * 400) <= 1
        shares = np.bincount(np.concatenate([s.cls for s in inside]), minlength=3) / totals
        assert np.abs(shares - ratio).max() < 0.04
        empties = sum(len(s.cls) == 0 for s in inside) / sum(len(s.cls) == 0 for s in samples)
        assert abs(empties - ratio) < 0.04


def test_the_seed_decides():
    samples = [sample(f"{i}", cls=[i % 3]) for i in range(60)]
    assert divide(samples, seed=1) == divide(samples, seed=1) != divide(samples, seed=2)


def test_file_names_do_not_decide():
    first = divide([sample(f"a{i}", str(i), [i % 3]) for i in range(40)])
    second = divide([sample(f"z{99 - i}", str(i), [i % 3]) for i in range(40)])
    assert [first[f"a{i}"] for i in range(40)] == [second[f"z{99 - i}"] for i in range(40)]


def test_fault_50_three_images_and_one_class():
    assert sorted(divide([sample(str(i)) for i in range(3)], nc=1).values()) == ["test", "train", "val"]


@pytest.mark.parametrize("n", [1, 2])
def test_fault_50_too_few_images(n):
    with pytest.raises(DatasetError, match=f"only {n} different"):
        divide([sample(str(i)) for i in range(n)])
    copies = [sample(f"{i}-{k}", str(i)) for i in range(n) for k in range(5)]
    with pytest.raises(DatasetError, match="different usable images"):
        divide(copies)


def test_fault_46_one_image_in_two_given_splits():
    samples = [sample(str(i), given=("train",)) for i in range(5)]
    samples += [sample("both", given=("train", "val")), sample("t", given=("test",))]
    with pytest.raises(DatasetError, match="1 of 1 val images are identical to train") as caught:
        divide(samples, keep_splits=True)
    assert "--keep-splits" in caught.value.hint
    assert set(divide(samples).values()) == set(SPLITS)


def test_fault_46_train_is_val():
    samples = [sample(str(i), given=("train", "val")) for i in range(5)]
    with pytest.raises(DatasetError, match="5 of 5 val images"):
        divide(samples, keep_splits=True)


def test_fault_47_identical_images_across_given_splits():
    samples = [sample(f"{i}", str(i % 6), given=(SPLITS[i // 4],)) for i in range(12)]
    whole = dataset(samples)
    with pytest.raises(DatasetError, match="val images are identical to train") as caught:
        split_dataset(whole, SplitSettings(keep_splits=True))
    assert "6 = 0" in caught.value.message
    assert {f.file for f in whole.findings if f.code == "split_leak"} >= {"6", "7"}


def test_kept_splits_stay_as_given():
    samples = [sample(str(i), given=(SPLITS[i % 3],)) for i in range(9)]
    assert divide(samples, keep_splits=True) == {str(i): SPLITS[i % 3] for i in range(9)}


@pytest.mark.parametrize("present", [("train",), ("train", "val"), ("train", "test")])
def test_missing_splits_are_carved_out_of_train(present):
    samples = [sample(str(i), cls=[i % 3], given=(present[min(i // 60, len(present) - 1)],)) for i in range(80)]
    whole = dataset(samples)
    rows = split_dataset(whole, SplitSettings(keep_splits=True))
    found = {item.name: split for split, _, item in rows}
    for item in samples:
        assert found[item.name] == item.given[0] or (item.given == ("train",) and found[item.name] not in present)
    carved = [f.message for f in whole.findings if f.code == "split_carved"]
    assert len(carved) == 3 - len(present)
    train = sum(item.given == ("train",) for item in samples)
    made = sum(found[s.name] != s.given[0] for s in samples)
    missing = 0.15 * (3 - len(present))
    assert abs(made - train * missing / (0.7 + missing)) <= 2


def test_keeping_splits_that_are_not_there():
    with pytest.raises(ConfigError, match="no splits of its own"):
        divide([sample(str(i)) for i in range(9)], keep_splits=True)
    with pytest.raises(DatasetError, match="no training images"):
        divide([sample(str(i), given=("val",)) for i in range(9)], keep_splits=True)


def test_images_outside_kept_splits_are_left_out_and_told():
    samples = [sample(str(i), given=(SPLITS[i % 3],)) for i in range(9)] + [sample("extra")]
    whole = dataset(samples)
    rows = split_dataset(whole, SplitSettings(keep_splits=True))
    assert len(rows) == 9
    assert "not_in_a_split" in {finding.code for finding in whole.findings}


def test_quarantined_images_are_in_no_split():
    samples = [sample(str(i)) for i in range(9)]
    samples[4].reject("truncated")
    assert "4" not in divide(samples)


def test_fault_49_rare_classes_are_told():
    samples = [sample(str(i), cls=[0]) for i in range(20)] + [sample("rare", cls=[1])]
    whole = dataset(samples, nc=2)
    split_dataset(whole, SplitSettings())
    told = [finding.message for finding in whole.findings if finding.code == "rare_class"]
    assert sum("'c1' has 0 boxes" in message for message in told) == 2


def test_stratify_takes_any_number_of_parts():
    groups = group_identical([sample(str(i), cls=[i % 3]) for i in range(50)])
    chosen = stratify(groups, (0.5, 0.5), 0, 3)
    assert abs(chosen.count(0) - 25) <= 1
