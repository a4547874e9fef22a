from builders import checked, looks
from hypothesis import given, settings
from hypothesis import strategies as st

from kdyolo.datasets.splits.grouping import Leak, Link, group_identical, group_images, label_links, leaks, near_links


def names(groups):
    return sorted(sorted(sample.name for sample in group.samples) for group in groups)


def test_identical_images_are_one_group():
    samples = [checked("a", "1"), checked("b", "2"), checked("c", "1")]
    groups = group_identical(samples)
    assert names(groups) == [["a", "c"], ["b"]]
    assert [group.key for group in groups] == sorted(group.key for group in groups)
    assert {group.key for group in groups} == {sample.check.sha256 for sample in samples}


def test_near_and_mirrored_copies_are_linked_once_a_content():
    samples = [
        checked("a", looks=looks(1)),
        checked("a2", "a", looks=looks(1)),
        checked("b", looks=looks(1, noise=3)),
        checked("c", looks=looks(1, flipped=True)),
        checked("d", looks=looks(2)),
        checked("flat", looks=b""),
    ]
    links = near_links(samples)
    assert {(link.first.name, link.second.name, link.kind) for link in links} >= {("a", "b", "near")}
    assert "flipped" in {link.kind for link in links}
    assert not any("a2" in (link.first.name, link.second.name) for link in links)
    assert names(group_images(samples, links)) == [["a", "a2", "b", "c"], ["d"], ["flat"]]


def test_links_reach_through_others():
    samples = [checked(n, c) for n, c in (("a", "1"), ("b", "1"), ("c", "2"), ("d", "3"), ("e", "4"))]
    by_label = label_links(samples, {"b": "x", "c": "x", "d": "y"}, "name")
    near = Link(samples[2], samples[3], "near")
    (group, alone) = sorted(group_images(samples, [*by_label, near]), key=lambda group: -len(group.samples))
    assert [sample.name for sample in group.samples] == ["a", "b", "c", "d"]
    assert group.key == min(sample.check.sha256 for sample in samples[:4])
    assert {link.kind for link in group.links} == {"identical", "name", "near"}
    assert alone.links == ()


@st.composite
def linked(draw):
    n = draw(st.integers(1, 20))
    samples = [checked(f"{i}", str(draw(st.integers(0, n)))) for i in range(n)]
    pairs = draw(st.lists(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)), max_size=n))
    splits = draw(st.lists(st.sampled_from(["train", "val", "test"]), min_size=n, max_size=n))
    return samples, [Link(samples[a], samples[b], "near") for a, b in pairs], splits


@settings(max_examples=150, deadline=None)
@given(case=linked(), shuffle=st.randoms(use_true_random=False))
def test_groups_are_a_partition_that_respects_links_and_ignores_order(case, shuffle):
    samples, links, splits = case
    groups = group_images(samples, links)
    where = {sample.name: group.key for group in groups for sample in group.samples}
    assert sorted(name for group in names(groups) for name in group) == sorted(sample.name for sample in samples)
    assert len({group.key for group in groups}) == len(groups)
    assert all(where[link.first.name] == where[link.second.name] for link in links)
    contents = {}
    for sample in samples:
        assert contents.setdefault(sample.check.sha256, where[sample.name]) == where[sample.name]
    placed = {s: [x for x, split in zip(samples, splits, strict=True) if split == s] for s in ("train", "val", "test")}
    found = leaks(placed, groups)
    spans = {g.key for g in groups if len({splits[int(s.name)] for s in g.samples}) > 1}
    assert {where[leak.sample.name] for leak in found} == spans == {where[leak.twin.name] for leak in found}
    shuffle.shuffle(samples)
    shuffle.shuffle(links)
    again = group_images(samples, links)
    assert [(g.key, g.samples) for g in again] == [(g.key, g.samples) for g in groups]


def test_a_leak_names_the_closest_twin():
    a, b, c, d, e = (checked(n, c) for n, c in (("a", "1"), ("b", "2"), ("c", "3"), ("d", "2"), ("e", "5")))
    links = [Link(a, b, "name"), Link(b, c, "near"), Link(a, c, "flipped"), Link(d, e, "rule")]
    found = leaks({"train": [a, b], "val": [c], "test": [d, e]}, group_images([a, b, c, d, e], links))
    assert found == [
        Leak(c, "val", b, "train", "near"),
        Leak(d, "test", b, "train", "identical"),
        Leak(e, "test", a, "train", None),
        Leak(d, "test", c, "val", None),
        Leak(e, "test", c, "val", None),
    ]


def test_an_image_in_two_splits_leaks_into_itself():
    both, other = checked("both"), checked("other")
    found = leaks({"train": [other, both], "val": [both]}, group_identical([both, other]))
    assert found == [Leak(both, "val", both, "train", "identical")]


def test_images_in_no_split_leak_nothing():
    a, b, c = (checked(name, "1") for name in "abc")
    assert leaks({"train": [a], "val": [], "test": []}, group_identical([a, b, c])) == []
