"""Where data sets keep things: split folders, and the label that belongs to an image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from kdyolo.datasets.sample import Dataset, Sample
from kdyolo.datasets.tree import Tree, is_safe_file
from kdyolo.errors import DatasetError

_SPLIT_FOLDERS = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test",
    "testing": "test",
}  # fmt: skip
_IMAGE_FOLDERS = frozenset(("images", "image", "imgs", "img", "jpegimages"))
MAX_TEXT_BYTES = 8_000_000


def split_of(name: str) -> tuple[str, ...]:
    """The split a relative file name says it belongs to, by its folders' names; empty for none."""
    parts = (part.casefold() for part in PurePosixPath(name).parts[:-1])
    found = next((_SPLIT_FOLDERS[part] for part in parts if part in _SPLIT_FOLDERS), None)
    return (found,) if found else ()


def split_name(text: str) -> str | None:
    """train, val or test for what people call them (``valid``, ``Training``); None for anything else."""
    return _SPLIT_FOLDERS.get(text.casefold())


def content_folders(name: str) -> tuple[str, ...]:
    """Folders of a relative file name that say something about the image: not those of splits and of images."""
    skipped = _SPLIT_FOLDERS.keys() | _IMAGE_FOLDERS
    return tuple(part for part in PurePosixPath(name).parts[:-1] if part.casefold() not in skipped)


def find_label(
    image: Path, root: Path, folders: Sequence[str], suffix: str, allow_outside: bool = False
) -> Path | None:
    """The label file of an image, or None.

    Looked for in a folder of one of the given names in place of the image folder (``images/a/1.jpg`` ->
    ``labels/a/1.txt``), then beside the image, then in a tree parallel to the whole data set.

    Args:
        image: The image, under `root` unless `allow_outside`.
        root: The data set's folder, resolved.
        folders: Names of label folders.
        suffix: Of label files, lower case; upper case is found as well.
        allow_outside: Accept label files that are links out of the root.
    """
    anchor = root if image.is_relative_to(root) else Path(image.anchor)
    parts = image.relative_to(anchor).parts
    candidates = []
    swap = next((i for i in range(len(parts) - 2, -1, -1) if parts[i].casefold() in _IMAGE_FOLDERS), None)
    if swap is not None:
        candidates += [anchor.joinpath(*parts[:swap], folder, *parts[swap + 1 :]) for folder in folders]
    candidates.append(image)
    candidates += [anchor.joinpath(folder, *parts) for folder in folders]
    for candidate in candidates:
        for ending in (suffix, suffix.upper()):
            if is_safe_file(path := candidate.with_suffix(ending), root, allow_outside):
                return path
    return None


def collect(tree: Tree) -> list[Sample]:
    """Samples of a tree's images, with the splits their folders' names give.

    Links that lead nowhere or out of the folder are samples too, so that they count among the bad ones.
    """
    samples = []
    for name in sorted({*tree.images, *tree.broken}):
        sample = Sample(tree.root / name, name, split_of(name))
        sample.reject(tree.broken.get(name, ""))
        samples.append(sample)
    return samples


_BROKEN = {
    "outside_root": "The link leads out of the data set's folder; copy the image, or accept it with --allow-outside.",
    "broken_link": "The link leads nowhere or to itself.",
    "missing_image": "A list names this image, but it does not exist.",
}


def report_broken(dataset: Dataset) -> None:
    """Say why samples that were rejected while listing are out."""
    for sample in dataset.samples:
        if sample.quarantine in _BROKEN:
            dataset.add(sample.quarantine, "error", sample.name, _BROKEN[sample.quarantine])


def read_small(path: Path) -> bytes:
    """Bytes of a text file; no more than 8 MB and one byte, so that its size can be refused without reading it all.

    Raises:
        DatasetError: It cannot be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(MAX_TEXT_BYTES + 1)
    except OSError as error:
        raise DatasetError(f"Cannot read {path}: {error.strerror}.", "Check its permissions.") from error
