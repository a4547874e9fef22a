"""Groups of images that must stay together: copies, near copies, frames of one video, copies of one source."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from kdyolo.datasets.duplicates import components, find_pairs
from kdyolo.datasets.sample import Sample

Kind = Literal["identical", "near", "flipped", "name", "rule"]

ALIKE: dict[Kind | None, str] = {
    "identical": "identical to",
    "near": "nearly the same as",
    "flipped": "a mirror image of",
    "rule": "in one group with",
    "name": "by its name of one origin with",
    None: "linked by others to",
}
"""What links two images, in words; what weighs most first. None: only others link them."""


@dataclass(frozen=True)
class Link:
    """Why two images belong together.

    Attributes:
        first, second: The images.
        kind: ``identical`` bytes, ``near`` copy, ``flipped`` copy, the same origin by ``name``, or by the user's
            ``rule``.
    """

    first: Sample
    second: Sample
    kind: Kind


@dataclass(frozen=True)
class Group:
    """Images that must stay together.

    Attributes:
        key: The smallest sha256 among them: the same for the same contents, whatever the file names and their order.
        samples: The images, in order of name.
        links: What holds them together; not every two of them are linked, but each with the others by some way.
    """

    key: str
    samples: tuple[Sample, ...]
    links: tuple[Link, ...] = ()

    @cached_property
    def neighbours(self) -> dict[str, list[tuple[Kind, str]]]:
        """Image name -> (kind of link, name of the other image)."""
        found: dict[str, list[tuple[Kind, str]]] = defaultdict(list)
        for link in self.links:
            found[link.first.name].append((link.kind, link.second.name))
            found[link.second.name].append((link.kind, link.first.name))
        return found

    @cached_property
    def label(self) -> Kind | None:
        """``rule`` or ``name`` where that alone, besides identical bytes, makes the group: it then links every two."""
        kinds = {link.kind for link in self.links} - {"identical"}
        return kinds.pop() if len(kinds) == 1 and kinds <= {"rule", "name"} else None


class Part:
    """The images of a group that are in one split.

    Args:
        samples: At least one, in order of name.
    """

    def __init__(self, samples: Sequence[Sample]) -> None:
        self.by_name = {sample.name: sample for sample in samples}
        self.by_content = {sample.check.sha256: sample for sample in reversed(samples)}

    def closest(self, sample: Sample, group: Group) -> tuple[Sample, Kind | None]:
        """The image an image of the same group has most in common with, and what; None where only others link them."""
        if (same := self.by_content.get(sample.check.sha256)) is not None:
            return same, "identical"
        order = list(ALIKE)
        linked = [(order.index(kind), name) for kind, name in group.neighbours[sample.name] if name in self.by_name]
        rank, name = min(linked, default=(order.index(group.label), min(self.by_name)))
        return self.by_name[name], order[rank]


@dataclass(frozen=True)
class Leak:
    """An image of one split that belongs together with an image of an earlier one.

    Attributes:
        sample, split: The image, and where it is.
        twin, twin_split: The other image, and where that is: train before val before test.
        kind: What links them; None where only others link them.
    """

    sample: Sample
    split: str
    twin: Sample
    twin_split: str
    kind: Kind | None


def near_links(samples: Sequence[Sample]) -> list[Link]:
    """Links between near and mirrored copies, see `duplicates.find_pairs`; identical images are looked at once."""
    contents: dict[str, Sample] = {}
    for sample in samples:
        contents.setdefault(sample.check.sha256, sample)
    different = list(contents.values())
    pairs = find_pairs([sample.check.signature for sample in different])
    return [Link(different[pair.first], different[pair.second], pair.kind) for pair in pairs]


def label_links(samples: Iterable[Sample], labels: Mapping[str, str], kind: Kind) -> list[Link]:
    """Links between images of one label.

    Args:
        samples: In any order.
        labels: Image name -> label; images without one are linked to none.
        kind: What the labels say.
    """
    first: dict[str, Sample] = {}
    links = []
    for sample in samples:
        label = labels.get(sample.name)
        if label is not None and first.setdefault(label, sample) is not sample:
            links.append(Link(first[label], sample, kind))
    return links


def group_images(samples: Sequence[Sample], links: Iterable[Link] = ()) -> list[Group]:
    """Divide images into groups: identical images, and those that links join, directly or by way of others.

    Args:
        samples: Checked images; the result does not depend on their order.
        links: Between images of `samples`.

    Returns:
        Groups in order of their keys.
    """
    contents = {sample.name: sample.check.sha256 for sample in samples}
    every = [*label_links(samples, contents, "identical"), *links]
    number = {sample.name: i for i, sample in enumerate(samples)}
    roots = components(len(samples), ((number[link.first.name], number[link.second.name]) for link in every))
    members: dict[int, list[Sample]] = defaultdict(list)
    held: dict[int, list[Link]] = defaultdict(list)
    for sample, root in zip(samples, roots, strict=True):
        members[root].append(sample)
    for link in every:
        held[roots[number[link.first.name]]].append(link)
    groups = [_group(members[root], held[root]) for root in members]
    return sorted(groups, key=lambda group: group.key)


def group_identical(samples: Sequence[Sample]) -> list[Group]:
    """Groups of byte-identical images only."""
    return group_images(samples)


def leaks(given: Mapping[str, Sequence[Sample]], groups: Iterable[Group]) -> list[Leak]:
    """Images of a split that belong together with images of an earlier split.

    Args:
        given: Split -> its images; an image may be in several. Splits count in this order.
        groups: Of those images, and perhaps others.

    Returns:
        One leak for each image and earlier split it leaks from, in order of splits and names. The twin is the closest
        there is: identical before near before mirrored, linked directly before linked by others.
    """
    where: dict[str, list[str]] = defaultdict(list)
    for split, samples in given.items():
        for sample in samples:
            where[sample.name].append(split)
    order = list(given)
    found = [leak for group in groups if _spans(group, where) for leak in _within(group, where, order)]
    return sorted(found, key=lambda leak: (order.index(leak.split), order.index(leak.twin_split), leak.sample.name))


def _group(samples: Iterable[Sample], links: Iterable[Link]) -> Group:
    ordered = tuple(sorted(samples, key=lambda sample: sample.name))
    return Group(min(sample.check.sha256 for sample in ordered), ordered, tuple(links))


def _spans(group: Group, where: Mapping[str, Sequence[str]]) -> bool:
    return len({split for sample in group.samples for split in where.get(sample.name, ())}) > 1


def _within(group: Group, where: Mapping[str, Sequence[str]], order: Sequence[str]) -> Iterable[Leak]:
    """Leaks inside one group."""
    placed: dict[str, list[Sample]] = {split: [] for split in order}
    for sample in group.samples:
        for split in where.get(sample.name, ()):
            placed[split].append(sample)
    parts = {split: Part(samples) for split, samples in placed.items() if samples}
    for split in parts:
        for earlier in order[: order.index(split)]:
            if earlier in parts:
                for sample in placed[split]:
                    twin, kind = parts[earlier].closest(sample, group)
                    yield Leak(sample, split, twin, earlier, kind)
