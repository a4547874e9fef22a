"""Groups the user names: by a regular expression over file names, or in a table."""

from __future__ import annotations

import re
from pathlib import Path

from kdyolo.datasets.sample import Dataset, printable
from kdyolo.datasets.splits.image_table import read_rows
from kdyolo.errors import ConfigError


def is_table(rule: str) -> bool:
    """Whether a rule is the name of a table and no regular expression."""
    return rule.lower().endswith(".csv")


def rule_labels(rule: str, dataset: Dataset) -> dict[str, str]:
    """Image name -> the label of its group, for the images the rule says something about.

    Args:
        rule: ``*.csv``, a table with the columns ``file`` (or ``source``) and ``group``; else a regular expression,
            searched in each name relative to the data set: the label is its first group, or all that it matches.
        dataset: Gets a warning for images without a label.

    Raises:
        ConfigError: The rule is wrong, or fits no image.
    """
    if is_table(rule):
        rows = read_rows(Path(rule), dataset.samples, ["group"])
        labels = {row.sample.name: row.cells["group"] for row in rows if row.cells.get("group")}
    else:
        labels = _searched(rule, dataset)
    usable = dataset.usable
    if not any(sample.name in labels for sample in usable):
        example = f"The first is {printable(usable[0].name)!r}." if usable else ""
        raise ConfigError(f"--group-by {printable(rule)!r} fits none of the {len(usable)} images.", example)
    if alone := sum(sample.name not in labels for sample in usable):
        message = f"{alone} of {len(usable)} images fit no group of --group-by: each is a group of its own."
        dataset.add("no_group", "warning", "", message)
    return labels


def _searched(rule: str, dataset: Dataset) -> dict[str, str]:
    pattern = re.compile(rule)
    found = ((sample.name, pattern.search(sample.name)) for sample in dataset.usable)
    labels = {name: match[1 if pattern.groups else 0] for name, match in found if match}
    return {name: label for name, label in labels.items() if label}
