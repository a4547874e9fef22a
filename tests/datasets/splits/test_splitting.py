import random

import numpy as np
import pytest
from builders import checked, dataset_of, looks
from hypothesis import given, settings
from hypothesis import strategies as st

from kdyolo.config import SplitSettings
from kdyolo.datasets.sample import SPLITS
from kdyolo.datasets.splits.splitting import split_dataset
from kdyolo.errors import ConfigError, DatasetError

RATIOS = (0.7, 0.15, 0.15)


def sample(name, content=None, cls=(0,), given=(), looks=b""):
    return checked(name, content, [(c, 0.5, 0.5, 0.2, 0.2) for c in cls], given, looks=looks)


def dataset(samples, nc=3):
    return dataset_of(samples, [f"c{i}" for i in range(nc)])


def divide(samples, seed=0, nc=3, **settings):
    division = split_dataset(dataset(samples, nc), SplitSettings(seed=seed, **settings))
    return {item.name: split for split, _, item in division.rows}


def messages(whole, code):
    return [finding.message for finding in whole.findings if finding.code == code]


@st.composite
def collections(draw):
    """Images with identical copies, near copies and frames of videos; at least three groups."""
    n = draw(st.integers(3, 40))
    contents = draw(st.lists(st.integers(0, n), min_size=n, max_size=n))
    pictures = draw(st.lists(st.one_of(st.none(), st.integers(0, 3)), min_size=n + 1, max_size=n + 1))
    videos = draw(st.lists(st.one_of(st.none(), st.integers(0, 3)), min_size=n, max_size=n))
    contents[:3], videos[:3] = [n + 1, n + 2, n + 3], [None] * 3
    pictures += [None] * 3
    labels = draw(st.lists(st.lists(st.integers(0, 2), max_size=4), min_size=n, max_size=n))
    signatures = [looks(seed) for seed in range(4)]
    return [
        sample(
            f"{i}.jpg" if video is None else f"clip{video}_frame_{i}.jpg",
            str(content),
            cls,
            looks=b"" if pictures[content] is None else signatures[pictures[content]],
        )
        for i, (content, cls, video) in enumerate(zip(contents, labels, videos, strict=True))
    ]


@settings(max_examples=80, deadline=None)
@given(samples=collections(), seed=st.integers(0, 99), shuffle=st.randoms(use_true_random=False))
def test_fault_47_48_50_split_invariants(samples, seed, shuffle):
    whole = dataset(samples)
    division = split_dataset(whole, SplitSettings(seed=seed))
    found = {item.name: split for split, _, item in division.rows}
    assert sorted(found) == sorted(item.name for item in samples)
    assert set(found.values()) == set(SPLITS)
    together = [("sha256", lambda s: s.check.sha256), ("picture", lambda s: s.check.signature or s.name)]
    if not messages(whole, "source_divided"):
        together.append(("video", lambda s: s.name.partition("_frame_")[0]))
    for what, key in together:
        places = {}
        for item in samples:
            places.setdefault(key(item), set()).add(found[item.name])
        assert all(len(splits) == 1 for splits in places.values()), what
    largest = max(len(group.samples) for groups in division.parts.values() for group in groups)
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
        assert np.abs(shares - ratio).max() < 0.01
        empties = sum(len(s.cls) == 0 for s in inside) / sum(len(s.cls) == 0 for s in samples)
        assert abs(empties - ratio) < 0.02


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
    assert "--repair mends them with the fewest moves (1)" in caught.value.hint
    assert set(divide(samples).values()) == set(SPLITS)


def test_fault_46_train_is_val():
    samples = [sample(str(i), given=("train", "val")) for i in range(5)]
    with pytest.raises(DatasetError, match="5 of 5 val images"):
        divide(samples, keep_splits=True)


def test_fault_47_identical_images_across_given_splits():
    samples = [sample(f"{i}", str(i % 6), given=(SPLITS[i // 4],)) for i in range(12)]
    with pytest.raises(DatasetError, match="val images are identical to train") as caught:
        divide(samples, keep_splits=True)
    assert "6 = 0" in caught.value.message
    assert "4 of 4 test images are identical to val" not in caught.value.message


def given_with_near_copy():
    return [
        *(sample(f"{i}", given=(SPLITS[i % 3],)) for i in range(9)),
        sample("a", given=("train",), looks=looks(5)),
        sample("b", given=("test",), looks=looks(5, noise=2)),
    ]


def test_fault_48_near_copies_across_given_splits():
    with pytest.raises(DatasetError, match=r"1 of 4 test images are near copies of train images \(b ~ a\)") as caught:
        divide(given_with_near_copy(), keep_splits=True)
    assert "split.near_duplicates=false" in caught.value.hint
    kept = divide(given_with_near_copy(), keep_splits=True, near_duplicates=False)
    assert (kept["a"], kept["b"]) == ("train", "test")
    made = divide(given_with_near_copy())
    assert made["a"] == made["b"]


def test_names_alone_do_not_refuse_given_splits():
    samples = [sample(f"clip{i % 5}_frame_{i}.jpg", given=(SPLITS[i % 3],)) for i in range(15)]
    assert divide(samples, keep_splits=True) == {item.name: item.given[0] for item in samples}


def test_the_users_groups_do_refuse_given_splits():
    samples = [sample(f"p{i % 5}_{i}.jpg", given=(SPLITS[i % 3],)) for i in range(15)]
    whole = dataset(samples)
    with pytest.raises(DatasetError, match="5 of 5 val images are in one group with train images"):
        split_dataset(whole, SplitSettings(keep_splits=True, group_by=r"p\d"))
    assert len(messages(whole, "group_leak")) == 15
    found = divide(samples, repair=True, group_by=r"p\d")
    assert all(len({found[s.name] for s in samples if s.name.startswith(f"p{i}")}) == 1 for i in range(5))


def test_repair_keeps_all_else_and_tells_every_move():
    whole = dataset(given_with_near_copy())
    division = split_dataset(whole, SplitSettings(repair=True))
    found = {item.name: split for split, _, item in division.rows}
    assert found == {item.name: item.given[0] for item in given_with_near_copy()} | {"b": "train"}
    assert messages(whole, "moved") == ["Moved from test to train: it is nearly the same as a there."]
    assert [(move.sample.name, move.origin, move.target) for move in division.moves] == [("b", "test", "train")]
    assert division.shares == pytest.approx((5 / 11, 3 / 11, 3 / 11))


def test_repair_brings_videos_together():
    samples = [sample(f"clip{i // 4}_frame_{i}.jpg", given=(SPLITS[min(i % 4, 2)],)) for i in range(20)]
    samples += [sample(f"{i}", given=("train",)) for i in range(9)]
    samples += [sample(f"v{i}", given=("val",)) for i in range(3)]
    found = divide(samples, repair=True)
    assert found == {s.name: "test" if s.name.startswith("clip") else s.given[0] for s in samples}


def test_a_repair_that_empties_train_is_refused():
    samples = [sample(f"{i}", "1", given=(split,)) for i, split in enumerate(["train", "val", "val"])]
    with pytest.raises(DatasetError, match="nothing is left of train"):
        divide(samples, repair=True)


def test_a_split_that_a_repair_empties_is_carved_out_of_train():
    samples = [sample(f"{i}", given=("train",)) for i in range(20)]
    samples += [
        sample("a", "x", given=("train",)),
        sample("b", "x", given=("train",)),
        sample("c", "x", given=("val",)),
    ]
    samples += [sample("t", given=("test",))]
    whole = dataset(samples)
    division = split_dataset(whole, SplitSettings(repair=True))
    assert len(division.parts["val"]) == 4
    assert len(messages(whole, "split_carved")) == 1


def test_kept_splits_stay_as_given():
    samples = [sample(str(i), given=(SPLITS[i % 3],)) for i in range(9)]
    assert divide(samples, keep_splits=True) == {str(i): SPLITS[i % 3] for i in range(9)}


@pytest.mark.parametrize("present", [("train",), ("train", "val"), ("train", "test")])
def test_missing_splits_are_carved_out_of_train(present):
    samples = [sample(str(i), cls=[i % 3], given=(present[min(i // 60, len(present) - 1)],)) for i in range(80)]
    whole = dataset(samples)
    division = split_dataset(whole, SplitSettings(keep_splits=True))
    found = {item.name: split for split, _, item in division.rows}
    for item in samples:
        assert found[item.name] == item.given[0] or (item.given == ("train",) and found[item.name] not in present)
    assert len(messages(whole, "split_carved")) == 3 - len(present)
    train = sum(item.given == ("train",) for item in samples)
    made = sum(found[s.name] != s.given[0] for s in samples)
    missing = 0.15 * (3 - len(present))
    assert abs(made - train * missing / (0.7 + missing)) <= 2


@pytest.mark.parametrize("settings", [{"keep_splits": True}, {"repair": True}])
def test_keeping_splits_that_are_not_there(settings):
    with pytest.raises(ConfigError, match="own splits hold no image"):
        divide([sample(str(i)) for i in range(9)], **settings)
    with pytest.raises(DatasetError, match="no training images"):
        divide([sample(str(i), given=("val",)) for i in range(9)], **settings)


def test_images_outside_kept_splits_are_left_out_and_told():
    samples = [sample(str(i), given=(SPLITS[i % 3],)) for i in range(9)]
    samples += [sample("extra"), sample("copy of 0", "0")]
    whole = dataset(samples)
    division = split_dataset(whole, SplitSettings(keep_splits=True))
    assert len(division.rows) == 9
    assert messages(whole, "not_in_a_split") == ["2 images are in none of the kept splits: left out."]


def test_quarantined_images_are_in_no_split():
    samples = [sample(str(i)) for i in range(9)]
    samples[4].reject("truncated")
    assert "4" not in divide(samples)


def test_fault_49_rare_classes_are_told():
    samples = [sample(str(i), cls=[0] * 10) for i in range(20)] + [sample("rare", cls=[1])]
    whole = dataset(samples, nc=2)
    split_dataset(whole, SplitSettings())
    (told,) = messages(whole, "rare_class")
    assert "'c1'" in told
    assert "0 in val" in told
    assert "0 in test" in told
