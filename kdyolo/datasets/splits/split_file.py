"""A table that says which image is in which split: `splits.csv` of a run, or one written or edited by hand."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from kdyolo.datasets.layout import split_name
from kdyolo.datasets.sample import Dataset, printable
from kdyolo.datasets.splits.image_table import read_rows
from kdyolo.errors import ConfigError, DatasetError

_POOL = "pool"  # of the training images of a run with a label budget, these gave up their labels


def apply_split_file(path: Path, dataset: Dataset) -> dict[str, str]:
    """Put images into the splits a table says; images it does not name, or names no split for, are in none.

    Args:
        path: Table with the columns ``source`` (or ``file``), ``split``, and perhaps ``sha256``.
        dataset: As read; the splits it came with are forgotten.

    Returns:
        Image name -> sha256, where the table has it, for `require_unchanged`.

    Raises:
        ConfigError: The table cannot be read, or names unknown images, one image twice or an unknown split.
    """
    rows = read_rows(path, dataset.samples, ["split"])
    for sample in dataset.samples:
        sample.given = ()
    for row in rows:
        told = row.cells.get("split", "")
        split = "train" if told.casefold() == _POOL else split_name(told)
        if told and split is None:
            raise ConfigError(
                f"{path}, line {row.line}: there is no split {printable(told)!r}.",
                "Splits are train, val and test; leave the cell empty to leave an image out.",
            )
        row.sample.given = (split,) if split else ()
    return {row.sample.name: row.cells["sha256"].lower() for row in rows if row.cells.get("sha256")}


def require_unchanged(path: Path, dataset: Dataset, expected: Mapping[str, str]) -> None:
    """Compare checked images with the hashes of the table; either that of the file or that of its clean copy.

    Raises:
        DatasetError: An image has other contents than the table says; it is named.
    """
    changed = [
        printable(sample.name)
        for sample in dataset.usable
        if (sha256 := expected.get(sample.name)) and sha256 not in (sample.check.sha256, sample.check.source_sha256)
    ]
    if changed:
        raise DatasetError(
            f"{len(changed)} images are not those of {path}, by their sha256: {', '.join(changed[:3])}"
            f"{', ...' if len(changed) > 3 else ''}.",
            "Restore the images, or remove the column sha256 if the new ones are meant.",
        )
