"""Walk a user's folder safely: no link leads out, no special file is opened, the order is always the same."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from kdyolo.datasets.sample import Finding, printable
from kdyolo.errors import DatasetError

_COMMON = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")
_RARE = (".jpe", ".jfif", ".mpo", ".dib", ".gif", ".jp2", ".avif", ".heic", ".heif", ".pgm", ".ppm")
IMAGE_SUFFIXES = frozenset((*_COMMON, *_RARE))


@dataclass
class Tree:
    """The files of a folder.

    Attributes:
        root: What names are relative to, resolved.
        images: Names of files with an image extension, sorted.
        others: Names of all other files, sorted.
        broken: Name -> code of images that must not or cannot be opened (links out of the folder or to nothing).
        findings: What was left out and why.
    """

    root: Path
    images: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    broken: dict[str, str] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)


def is_inside(path: Path, root: Path) -> bool:
    """Whether `path`, all links followed, lies in `root` (already resolved). A link to nothing or a loop does not."""
    try:
        return Path(os.path.realpath(path, strict=True)).is_relative_to(root)
    except OSError:
        return False


def is_safe_file(path: Path, root: Path, allow_outside: bool = False) -> bool:
    """Whether `path` is a regular file that may be opened: in `root` after following links, no pipe or device."""
    try:
        regular = stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return False
    return regular and (allow_outside or is_inside(path, root))


def scan(folder: Path, root: Path | None = None, allow_outside: bool = False) -> Tree:
    """List a folder at any depth; hidden files, hidden folders and ``__MACOSX`` are skipped.

    Args:
        folder: Where to look.
        root: What names are relative to and what links may not leave; the folder itself when not given.
        allow_outside: Follow links that leave the root.

    Raises:
        DatasetError: The folder does not exist or cannot be read.
    """
    base = Path(os.path.realpath(root or folder))
    tree = Tree(base)
    top = Path(os.path.realpath(folder))
    try:
        os.scandir(top).close()
    except OSError as error:
        raise DatasetError(f"Cannot read the folder {folder}: {error.strerror}.", "Check the path.") from error
    for entry in _walk(top, tree, allow_outside, {top}):
        name = os.path.relpath(entry.path, base).replace(os.sep, "/")
        _file(entry, name, tree, allow_outside)
    tree.images.sort()
    tree.others.sort()
    return tree


def _walk(folder: Path, tree: Tree, allow_outside: bool, seen: set[Path]) -> Iterator[os.DirEntry[str]]:
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        _note(tree, folder, "unreadable_folder", f"cannot be read ({error.strerror}); what it holds is left out.")
        return
    for entry in entries:
        if entry.name.startswith(".") or entry.name == "__MACOSX":
            continue
        if not os.path.isdir(entry.path):  # noqa: PTH112 - DirEntry.is_dir raises on a loop of links
            yield entry
            continue
        path = Path(entry.path)
        if path.suffix.lower() in IMAGE_SUFFIXES:
            _note(tree, path, "not_a_file", "is a folder with the name of an image.")
        if entry.is_symlink():
            path = Path(os.path.realpath(path))
            if path.is_relative_to(tree.root) or path in seen:
                continue  # reached by its own name, or already
            if not allow_outside:
                _note(tree, Path(entry.path), "outside_root", "leads out of the data set's folder and is left out.")
                continue
        seen.add(path)
        yield from _walk(Path(entry.path), tree, allow_outside, seen)


def _file(entry: os.DirEntry[str], name: str, tree: Tree, allow_outside: bool) -> None:
    is_image = Path(entry.name).suffix.lower() in IMAGE_SUFFIXES
    if entry.is_symlink() and is_image:
        if not os.path.exists(entry.path):  # noqa: PTH110 - a name may hold undecodable bytes
            tree.broken[name] = "broken_link"
            return
        if not allow_outside and not is_inside(Path(entry.path), tree.root):
            tree.broken[name] = "outside_root"
            return
    if os.path.isfile(entry.path):  # noqa: PTH113
        (tree.images if is_image else tree.others).append(name)
    elif is_image:
        _note(tree, Path(entry.path), "not_a_file", "is a pipe, socket or device, not a file; it is skipped.")


def _note(tree: Tree, path: Path, code: str, message: str) -> None:
    name = os.path.relpath(path, tree.root).replace(os.sep, "/")
    tree.findings.append(Finding(code, "warning", printable(name), f"This {message}"))
