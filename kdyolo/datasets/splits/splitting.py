"""Divide images into train, val and test: nothing leaks, classes are spread evenly, a seed decides the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from kdyolo.config import SplitSettings
from kdyolo.datasets.auditing.balance import report_rare_classes
from kdyolo.datasets.auditing.box_table import BoxTable
from kdyolo.datasets.sample import SPLITS, Dataset, Sample
from kdyolo.datasets.splits.budgets import take
from kdyolo.datasets.splits.grouping import Group, group_images
from kdyolo.datasets.splits.kept import keep_splits
from kdyolo.datasets.splits.linking import find_links
from kdyolo.datasets.splits.repair import Move
from kdyolo.datasets.splits.stratify import stratify
from kdyolo.datasets.view import POOL


@dataclass(frozen=True)
class Division:
    """Images divided into splits.

    Attributes:
        parts: Split -> its groups.
        shares: Share of everything that each split should hold: the ratios, or where splits are kept, the share of
            images each of them has.
        moves: Images that were moved to mend the user's splits.
    """

    parts: Mapping[str, Sequence[Group]]
    shares: tuple[float, ...]
    moves: Sequence[Move] = ()

    @property
    def rows(self) -> list[tuple[str, str, Sample]]:
        """(split, group key, sample) in order of split and name."""
        return [
            (name, key, sample)
            for name, groups in self.parts.items()
            for sample, key in sorted(((s, g.key) for g in groups for s in g.samples), key=lambda pair: pair[0].name)
        ]

    def with_labels_on(self, fraction: float, names: Sequence[str], seed: int) -> Division:
        """The same, but only this share of the training images, in (0, 1], keeps its labels: the rest is ``pool``.

        Raises:
            ConfigError: As `budgets.take`.
        """
        if fraction == 1:
            return self
        labelled, rest = take(self.parts["train"], fraction, names, seed)
        return replace(self, parts={**self.parts, "train": labelled, POOL: rest})


def split_dataset(dataset: Dataset, split: SplitSettings) -> Division:
    """Give every usable image a split.

    Args:
        dataset: Checked; gets findings on what was moved or left out, on groups, and on classes that are rare in a
            split.
        split: Ratios, what keeps images together, whether the user's own splits are kept or mended, and the seed that
            decides among equal divisions.

    Raises:
        ConfigError: The splits should be kept, but there are none; or ``split.group_by`` is wrong.
        DatasetError: Fewer than three groups, or the user's own splits leak and are not to be mended.
    """
    links = find_links(dataset, split)
    if split.keeps:
        parts, moves = keep_splits(dataset, split, links)
        sizes = [sum(len(group.samples) for group in parts[name]) for name in SPLITS]
        division = Division(parts, tuple(size / sum(sizes) for size in sizes), moves)
    else:
        groups = group_images(dataset.usable, links)
        chosen = stratify(groups, split.ratios, split.seed, len(dataset.names))
        made = {name: [g for g, c in zip(groups, chosen, strict=True) if c == i] for i, name in enumerate(SPLITS)}
        division = Division(made, split.ratios)
    placed = [replace(sample, given=(name,)) for name, _, sample in division.rows]
    report_rare_classes(dataset, BoxTable.of(placed), split.ratios)
    return division
