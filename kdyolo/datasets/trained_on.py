"""What a teacher was trained on, written down beside it: a student must not be tested on it unknowingly."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from kdyolo import storage
from kdyolo.datasets.auditing.audit import csv_text
from kdyolo.datasets.duplicates import components, find_pairs
from kdyolo.datasets.view import ViewImage
from kdyolo.errors import ConfigError

_COLUMNS = ("image", "sha256", "signature")


@dataclass(frozen=True)
class Seen:
    """An image some model was trained on.

    Attributes:
        image: Its name where it was trained.
        sha256: Of the image file.
        signature: What it looks like, see `signatures`; empty for none.
    """

    image: str
    sha256: str
    signature: bytes


def write_trained_on(path: Path, images: Iterable[ViewImage]) -> None:
    """Write the list of training images: name, sha256 and signature (hex)."""
    rows: list[tuple[object, ...]] = [(i.source, i.sha256, i.signature.hex()) for i in images]
    storage.write_text(path, csv_text(_COLUMNS, rows))


def read_trained_on(path: Path) -> list[Seen]:
    """What `write_trained_on` wrote.

    Raises:
        ConfigError: The file is missing or is no such list.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        return [Seen(row["image"], row["sha256"], bytes.fromhex(row["signature"])) for row in rows]
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ConfigError(
            f"{path} is missing or is no list of training images: {error}.",
            "It is the trained_on.csv that kdyolo leaves beside a teacher's best.pt.",
        ) from error


def seen_before(images: Sequence[ViewImage], seen: Sequence[Seen]) -> dict[str, str]:
    """View name -> name of the training image it is, or nearly is (resized, recompressed, brightened or mirrored)."""
    by_content = {one.sha256: one.image for one in reversed(seen)}
    found = {i.image.name: by_content[i.sha256] for i in images if i.sha256 in by_content}
    old = [one for one in seen if one.signature]
    new = [i for i in images if i.signature and i.image.name not in found]
    pairs = find_pairs([*(one.signature for one in old), *(i.signature for i in new)])
    # Not every pair is listed where many images show the same, but what belongs together is.
    groups = components(len(old) + len(new), ((pair.first, pair.second) for pair in pairs))
    first: dict[int, str] = {}
    for one, group in zip(old, groups, strict=False):
        first.setdefault(group, one.image)
    for image, group in zip(new, groups[len(old) :], strict=True):
        if group in first:
            found[image.image.name] = first[group]
    return found
