"""Which images of a data set belong together: what the settings ask for, and what leaves enough to divide."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from kdyolo.config import SplitSettings
from kdyolo.datasets.auditing.copies import near_links_of
from kdyolo.datasets.sample import Dataset, printable
from kdyolo.datasets.splits.group_rules import rule_labels
from kdyolo.datasets.splits.grouping import Group, Link, group_images, label_links
from kdyolo.datasets.splits.sources import by_names, name_group, source_of


def find_links(dataset: Dataset, split: SplitSettings) -> list[Link]:
    """Links between the usable images of a data set, besides identical ones, which `group_images` always joins.

    Near and mirrored copies; then the user's groups, or else frames of one video and copies of one source by their
    names, where that leaves enough groups to divide.

    Args:
        dataset: Checked; gets findings on links that are not used and on groups that are too large.
        split: What to look for.

    Raises:
        ConfigError: ``split.group_by`` is wrong.
    """
    samples = dataset.usable
    links = near_links_of(dataset) if split.near_duplicates else []
    if split.group_by is not None:
        links += label_links(samples, rule_labels(split.group_by, dataset), "rule")
    elif split.name_patterns:
        links += _by_name(dataset, split.ratios, links)
    if not split.keeps:
        _warn_of_large(dataset, split.ratios, group_images(samples, links))
    return links


def _by_name(dataset: Dataset, ratios: Sequence[float], links: Sequence[Link]) -> list[Link]:
    """Links by video and source; by source only where the videos are too few; none where both are."""
    samples = dataset.usable
    tried = None
    for origin in (name_group, source_of):
        labels = by_names([sample.name for sample in samples], origin)
        found = label_links(samples, labels, "name")
        if not found or labels == tried:
            return []
        if _divisible(group_images(samples, [*links, *found]), ratios):
            return found
        tried = labels
        message = (
            f"By their names, {len(labels)} images are frames or copies of only {len(set(labels.values()))} videos or "
            f"sources (for example {printable(min(labels))!r}), too few or too large to divide: splits may share one."
        )
        dataset.add("source_divided", "warning", "", message)
    return []


def _divisible(groups: Sequence[Group], ratios: Sequence[float]) -> bool:
    """Whether there is a group for each split, and none larger than the largest split should be."""
    return len(groups) >= len(ratios) and _largest(groups) <= max(ratios)


def _largest(groups: Iterable[Group]) -> float:
    """Share of the images that are in the largest group; 0 without groups."""
    sizes = [len(group.samples) for group in groups]
    return max(sizes, default=0) / max(1, sum(sizes))


def _warn_of_large(dataset: Dataset, ratios: Sequence[float], groups: Sequence[Group]) -> None:
    largest = _largest(groups)
    if largest > max(ratios):
        group = max(groups, key=lambda group: len(group.samples))
        kinds = sorted({link.kind for link in group.links})
        message = (
            f"{100 * largest:.0f} % of the images are one group, which cannot be divided ({', '.join(kinds)}; "
            f"for example {printable(group.samples[0].name)!r}): the splits cannot have their sizes."
        )
        dataset.add("large_group", "warning", "", message)
