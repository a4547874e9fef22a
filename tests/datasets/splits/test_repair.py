import itertools

from builders import checked
from hypothesis import given, settings
from hypothesis import strategies as st

from kdyolo.datasets.splits.grouping import Link, group_identical, group_images, leaks
from kdyolo.datasets.splits.repair import repair

SPLITS = ("train", "val", "test")


def placed(text):
    """Splits from a text such as ``train: a1 a2 b1; val: a3``; images of one letter are identical."""
    given, samples = {split: [] for split in SPLITS}, {}
    for part in text.split(";"):
        split, _, names = part.partition(":")
        for name in names.split():
            given[split.strip()].append(samples.setdefault(name, checked(name, name[0])))
    return given, group_identical(sorted(samples.values(), key=lambda s: s.name))


def mended(text):
    given, moves = repair(*placed(text))
    told = {f"{move.sample.name}: {move.origin} -> {move.target}" for move in moves}
    return {split: " ".join(sample.name for sample in given[split]) for split in SPLITS}, told


def test_a_group_goes_where_most_of_it_is():
    after, told = mended("train: a1 b1 c1 d1; val: a2 e1 e2 e3; test: a3 a4 f1 f2 f3")
    assert after == {"train": "b1 c1 d1", "val": "e1 e2 e3", "test": "a1 a2 a3 a4 f1 f2 f3"}
    assert told == {"a1: train -> test", "a2: val -> test"}


def test_ties_go_to_train_while_the_other_split_keeps_half():
    after, told = mended("train: a1 b1 c1 d1; val: a2 b2 c2 d2; test: z1")
    assert {split: len(after[split].split()) for split in SPLITS} == {"train": 4, "val": 4, "test": 1}
    assert told <= {f"{letter}{i}: {way}" for letter in "abcd" for i, way in ((2, "val -> train"), (1, "train -> val"))}
    assert len(told) == 4
    after, _ = mended("train: a1 x1; val: a2 x2 b1 c1; test: z1")
    assert after == {"train": "a1 a2 x1 x2", "val": "b1 c1", "test": "z1"}


def test_an_image_listed_twice_is_taken_out_of_one():
    given, moves = repair(*placed("train: a1 b1 c1; val: a1 d1; test: e1"))
    assert [sample.name for sample in given["train"]] == ["a1", "b1", "c1"]
    assert [sample.name for sample in given["val"]] == ["d1"]
    assert [move.why for move in moves] == ["Taken out of val: it is in train as well."]


def test_a_move_says_why():
    a, b, c = checked("a"), checked("b"), checked("c")
    groups = group_images([a, b, c], [Link(a, b, "near"), Link(b, c, "near")])
    _, moves = repair({"train": [a, b], "val": [], "test": [c]}, groups)
    assert [(move.sample.name, move.why) for move in moves] == [
        ("c", "Moved from test to train: it is nearly the same as b there.")
    ]


def test_nothing_is_moved_where_nothing_leaks():
    given, groups = placed("train: a1 a2; val: b1; test: c1 c2")
    assert repair(given, groups) == (given, [])


@st.composite
def splits(draw):
    names = [f"{letter}{i}" for letter in "abcdef" for i in range(draw(st.integers(1, 4)))]
    where = {name: draw(st.sets(st.sampled_from(SPLITS), max_size=2)) for name in names}
    return placed(";".join(f"{split}: {' '.join(n for n in names if split in where[n])}" for split in SPLITS))


@settings(max_examples=200, deadline=None)
@given(case=splits())
def test_nothing_leaks_afterwards_and_no_fewer_moves_would_do(case):
    given, groups = case
    after, moves = repair(given, groups)
    assert leaks(after, groups) == []
    before = {(sample.name, split) for split in SPLITS for sample in given[split]}
    now = {(sample.name, split) for split in SPLITS for sample in after[split]}
    assert {name for name, _ in before} == {name for name, _ in now}
    assert len(now) == len({name for name, _ in now})
    assert {(move.sample.name, move.origin) for move in moves} == before - now
    fewest = sum(
        min(sum(1 for s, split in itertools.product(group.samples, SPLITS) if split != t and (s.name, split) in before)
            for t in SPLITS)
        for group in groups
    )  # fmt: skip
    assert len(moves) == fewest
    untouched = {sample.name for sample in itertools.chain(*given.values())} - {move.sample.name for move in moves}
    assert {pair for pair in before if pair[0] in untouched} == {pair for pair in now if pair[0] in untouched}
