"""Images that are there more than once: byte for byte, nearly, or mirrored; inside a split and across splits."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from kdyolo.datasets.sample import SPLITS, Dataset, Sample, Severity, printable
from kdyolo.datasets.splits.grouping import Link, near_links
from kdyolo.datasets.splits.sources import by_names

Likeness = Literal["identical", "near", "flipped"]

_NOWHERE = ""  # the place of images the user put into no split
_LIKE: dict[Likeness, str] = {
    "identical": "identical to",
    "near": "nearly the same as",
    "flipped": "a mirror image of",
}


@dataclass(frozen=True)
class Copy:
    """An image that another one already shows.

    Attributes:
        sample: The copy.
        twin: The image it copies; the sample itself where it is listed in two splits.
        kind: How alike they are.
        leak: (split of the copy, earlier split of the twin) where they are in two of the user's own splits.
    """

    sample: Sample
    twin: Sample
    kind: Likeness
    leak: tuple[str, str] | None = None


class _Content:
    """All images with one sha256: the first of each split, in order of name."""

    def __init__(self) -> None:
        self.members: list[Sample] = []
        self.first: dict[str, Sample] = {}

    def add(self, sample: Sample) -> None:
        self.members.append(sample)
        for place in sample.given or (_NOWHERE,):
            self.first.setdefault(place, sample)

    def in_place_of(self, sample: Sample) -> Sample | None:
        """The first member that may stand beside `sample`: in one of its splits, or where one of them is in none."""
        places = (*sample.given, _NOWHERE) if sample.given else tuple(self.first)
        found = [self.first[place] for place in places if place in self.first]
        return min(found, key=lambda member: member.name, default=None)


def copies_of(dataset: Dataset) -> list[Copy]:
    """`find_copies` of a checked data set's usable images, found once."""
    if dataset.copies is None:
        dataset.copies = find_copies(dataset.usable, near_links_of(dataset))
    return dataset.copies


def near_links_of(dataset: Dataset) -> list[Link]:
    """`grouping.near_links` of a checked data set's usable images, searched for once."""
    if dataset.near is None:
        dataset.near = near_links(dataset.usable)
    return [link for link in dataset.near if not (link.first.quarantine or link.second.quarantine)]


def find_copies(samples: Sequence[Sample], near: Sequence[Link]) -> list[Copy]:
    """Every image that copies another one, once, with the worst that can be said of it.

    A leak into a later split is worse than a copy inside one, and an identical image worse than a similar one. Of
    several twins it is the one in the earliest split, then one that is not mirrored, then the first by name.

    Args:
        samples: Checked and usable, in order of name.
        near: Which of them, one of each content, are near or mirrored copies of one another.
    """
    contents: dict[str, _Content] = {}
    for sample in samples:
        contents.setdefault(sample.check.sha256, _Content()).add(sample)
    groups = list(contents.values())
    found = {copy.sample.name: copy for group in groups for copy in _identical(group)}
    for copy in _similar(groups, near, {name for name, copy in found.items() if copy.leak}):
        if copy.leak or copy.sample.name not in found:
            found[copy.sample.name] = copy
    return [found[sample.name] for sample in samples if sample.name in found]


def _identical(group: _Content) -> Iterator[Copy]:
    for sample in group.members:
        leak = _leak(sample, group.first)
        if leak is not None:
            twin = sample if leak[1] in sample.given else group.first[leak[1]]
            yield Copy(sample, twin, "identical", leak)
        elif (twin := group.in_place_of(sample) or sample) is not sample:
            yield Copy(sample, twin, "identical")


def _leak(sample: Sample, first: dict[str, Sample]) -> tuple[str, str] | None:
    """(split of the sample, earlier split that `first` has an image in), the pair of train and test before others."""
    for later in reversed(SPLITS):
        if later in sample.given:
            for earlier in SPLITS[: SPLITS.index(later)]:
                if earlier in first:
                    return later, earlier
    return None


def _similar(groups: Sequence[_Content], near: Sequence[Link], leaking: set[str]) -> Iterator[Copy]:
    number = {group.members[0].check.sha256: index for index, group in enumerate(groups)}
    linked: dict[int, list[tuple[Likeness, int]]] = defaultdict(list)
    for link in near:
        kind: Likeness = "flipped" if link.kind == "flipped" else "near"
        first, second = number[link.first.check.sha256], number[link.second.check.sha256]
        linked[first].append((kind, second))
        linked[second].append((kind, first))
    for index, neighbours in linked.items():
        neighbours.sort(key=lambda neighbour: (neighbour[0] == "flipped", neighbour[1]))
        for sample in groups[index].members:
            if sample.name not in leaking and (copy := _nearest(sample, index, neighbours, groups)):
                yield copy


def _nearest(
    sample: Sample, index: int, neighbours: list[tuple[Likeness, int]], groups: Sequence[_Content]
) -> Copy | None:
    leaks = [(leak, neighbour) for neighbour in neighbours if (leak := _leak(sample, groups[neighbour[1]].first))]
    if leaks:
        leak, (kind, other) = min(leaks, key=lambda pair: SPLITS.index(pair[0][1]))
        return Copy(sample, groups[other].first[leak[1]], kind, leak)
    for kind, other in neighbours:
        twin = groups[other].in_place_of(sample) if other < index else None
        if twin is not None:
            return Copy(sample, twin, kind)
    return None


def report_copies(dataset: Dataset, own_splits: bool) -> None:
    """Record every copy, and identical images whose labels differ.

    Args:
        dataset: Checked.
        own_splits: The user's splits are judged as they are. Otherwise kdyolo makes new ones and keeps copies
            together, so that they are only noted.
    """
    for copy in copies_of(dataset):
        code, severity, message = _describe(copy, own_splits)
        dataset.add(code, severity, copy.sample.name, message, partner=copy.twin.name)
        if copy.kind == "identical" and _boxes(copy.sample) != _boxes(copy.twin):
            message = f"The same image as {printable(copy.twin.name)}, with other labels."
            dataset.add("labels_differ", "warning", copy.sample.name, message, partner=copy.twin.name)


def _describe(copy: Copy, own_splits: bool) -> tuple[str, Severity, str]:
    twin, like = printable(copy.twin.name), _LIKE[copy.kind]
    if copy.leak is None:
        code = {"identical": "identical_image", "near": "near_duplicate", "flipped": "flipped_copy"}[copy.kind]
        return code, "warning" if own_splits else "note", f"It is {like} {twin}."
    later, earlier = copy.leak
    message = f"In {later}, but {like} {twin} in {earlier}."
    if copy.twin is copy.sample:
        message = f"It is in both {earlier} and {later}."
    return "split_leak" if copy.kind == "identical" else "near_leak", "error" if own_splits else "note", message


def report_sources(dataset: Dataset, own_splits: bool) -> None:
    """Record images that are of one source by their names, one finding a source, or one for each split it leaks into.

    Args:
        dataset: Checked.
        own_splits: As for `report_copies`.
    """
    samples = {sample.name: sample for sample in dataset.usable}
    sources: dict[str, list[Sample]] = defaultdict(list)
    for name, source in by_names(samples).items():
        sources[source].append(samples[name])
    for source in sorted(sources):
        members = sorted(sources[source], key=lambda sample: sample.name)
        if len(members) > 1 and not _source_leaks(dataset, source, members, own_splits):
            message = f"By their names, {len(members)} images are of the source {printable(source)!r}."
            dataset.add("same_source", "note", members[0].name, message, partner=members[1].name)


def _source_leaks(dataset: Dataset, source: str, members: list[Sample], own_splits: bool) -> bool:
    inside = {split: [sample for sample in members if split in sample.given] for split in SPLITS}
    earlier, *later = [split for split in SPLITS if inside[split]] or [_NOWHERE]
    for split in later:
        counts = f"{split} ({len(inside[split])}) and {earlier} ({len(inside[earlier])})"
        message = f"By its name, the source {printable(source)!r} has images in {counts}."
        severity: Severity = "warning" if own_splits else "note"
        dataset.add("source_leak", severity, inside[split][0].name, message, partner=inside[earlier][0].name)
    return bool(later)


def leak_sentences(copies: Sequence[Copy], samples: Sequence[Sample]) -> list[str]:
    """What leaks between the user's own splits, for example ``32 of 32 val images are identical to train images``.

    Args:
        copies: From `find_copies`.
        samples: All usable images.
    """
    sizes = Counter(split for sample in samples for split in sample.given)
    counts = Counter((copy.leak, copy.kind == "identical") for copy in copies if copy.leak)
    told = []
    for kind, like, one in ((True, "identical to", "identical to a"), (False, "near copies of", "a near copy of a")):
        for later, earlier in (("val", "train"), ("test", "train"), ("test", "val")):
            if count := counts[((later, earlier), kind)]:
                are = f"images are {like} {earlier} images" if count > 1 else f"images is {one} {earlier} image"
                told.append(f"{count} of {sizes[later]} {later} {are}")
    return told


def _boxes(sample: Sample) -> list[tuple[float, ...]]:
    rows = zip(sample.cls.tolist(), sample.xywhn.round(4).tolist(), strict=True)
    return sorted((class_id, *box) for class_id, box in rows)
