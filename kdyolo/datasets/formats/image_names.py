"""Find the image a label file means by a name written in it. Only listed files are found: no path is followed."""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from kdyolo.datasets.formats.data_yaml import resolve_inside
from kdyolo.datasets.layout import split_of
from kdyolo.datasets.tree import Tree, is_safe_file
from kdyolo.errors import UntrustedFileError

_DRIVE = re.compile(r"[A-Za-z]:/")
_IMAGE_FOLDERS = ("", "images/")


@dataclass
class Matches:
    """What the names in one label file mean.

    Attributes:
        found: Name as written -> name of the image relative to the root.
        ambiguous: Name as written -> the images it fits equally well.
    """

    found: dict[str, str] = field(default_factory=dict)
    ambiguous: dict[str, list[str]] = field(default_factory=dict)


class ImageNames:
    """The images of a data set, to be found by what label files call them.

    Args:
        tree: The data set's folder, scanned.
        allow_outside: Accept names that lead out of the folder.
    """

    def __init__(self, tree: Tree, allow_outside: bool = False) -> None:
        self.root = tree.root
        self.allow_outside = allow_outside
        self.known = {*tree.images, *tree.broken}
        self._by_base: dict[str, list[str]] = defaultdict(list)
        self._by_key: dict[str, list[str]] = defaultdict(list)
        for name in sorted(self.known):
            self._by_base[_base(name)].append(name)
            self._by_key[_key(name)].append(name)

    def match(self, written: Iterable[tuple[str, ...]], file: Path) -> Matches:
        """Find the images of one label file.

        In this order: a path from the file's folder or the root, the end of a path, and, where a base name is unique
        in the label file and among the images nobody has claimed yet, that name alone. So a file that lies elsewhere,
        or was written before folders were renamed, still finds its images, and no image is guessed.

        Args:
            written: For each image what the file calls it, then other spellings of it.
            file: The label file; it prefers images in its own folder, and in folders its name speaks of.

        Raises:
            UntrustedFileError: A name leads out of the root.
            ConfigError: A name cannot be a path.
        """
        shown = file.relative_to(self.root).as_posix() if file.is_relative_to(self.root) else file.name
        result = Matches()
        distinct = {names[0]: names for names in written}
        left = [
            names for names in distinct.values() if not any(self._by_path(names[0], n, shown, result) for n in names)
        ]
        self._by_base_alone(left, result)
        return result

    def _by_path(self, first: str, name: str, file: str, result: Matches) -> bool:
        name, folder = clean(name), file[: file.rfind("/") + 1]
        if (resolved := self._resolved(name, folder, file)) is not None:
            result.found[first] = resolved
            return True
        for start in (folder, "") if folder else ("",):
            for images in _IMAGE_FOLDERS:
                if (candidate := f"{start}{images}{name}") in self.known:
                    result.found[first] = candidate
                    return True
        ends = [known for known in self._by_base.get(_base(name), ()) if _ends_with(known, name)]
        ends = [known for known in ends if PurePosixPath(known).name == PurePosixPath(name).name] or ends
        chosen = _nearest(ends, folder, file)
        if len(chosen) == 1:
            result.found[first] = chosen[0]
        elif chosen:
            result.ambiguous[first] = chosen
        return bool(chosen)

    def _resolved(self, name: str, folder: str, file: str) -> str | None:
        """The image of a name that is absolute or climbs; None for a plain one, and for nothing that is there."""
        drive = _DRIVE.match(name)
        if not drive and not name.startswith(("/", "~", "file:")) and ".." not in name.split("/"):
            return None
        what = f"An image in {file}"
        if drive and not self.allow_outside:
            raise UntrustedFileError(
                f"{what} is {name!r}, which leaves the data set's folder {self.root}.",
                "Correct it, or accept it with --allow-outside.",
            )
        if drive:
            return None
        path = resolve_inside(name, self.root / folder, self.root, what, self.allow_outside)
        relative = os.path.relpath(path, self.root).replace(os.sep, "/")
        outside = not path.is_relative_to(self.root) and is_safe_file(path, self.root, self.allow_outside)
        return relative if relative in self.known or outside else None

    def _by_base_alone(self, left: Sequence[tuple[str, ...]], result: Matches) -> None:
        claimed = set(result.found.values())
        keys = {names[0]: list(dict.fromkeys(_key(name) for name in names)) for names in left}
        count = Counter(key for several in keys.values() for key in several)
        for first, several in keys.items():
            for key in several:
                free = [name for name in self._by_key.get(key, ()) if name not in claimed]
                if len(free) > 1:
                    free = [name for name in free if _ends_with(first, name)]
                if len(free) == 1 and count[key] == 1:
                    result.found[first] = free[0]
                    break


def clean(name: str) -> str:
    """A path as written on any system, with forward slashes and without a leading ``./``."""
    name = name.strip().replace("\\", "/")
    while name.startswith("./"):
        name = name[2:]
    return name


def _base(name: str) -> str:
    return clean(name).rpartition("/")[2].casefold()


def _key(name: str) -> str:
    """A base name as web programs rewrite it on upload: blanks become underscores, most signs go."""
    return re.sub(r"[^-\w.]", "", _base(name).replace(" ", "_"))


def _ends_with(name: str, end: str) -> bool:
    """Whether a path ends with another one, whole folders and whatever the case."""
    return f"/{clean(name)}".casefold().endswith(f"/{clean(end)}".casefold())


def _nearest(names: list[str], folder: str, file: str) -> list[str]:
    """Those of several images that lie in the label file's folder, or in a folder that its name speaks of."""
    if len(names) > 1 and folder:
        names = [name for name in names if name.startswith(folder)] or names
    if len(names) > 1:
        words = set(re.split(r"[^a-z0-9]+", PurePosixPath(file).stem.casefold()))
        split = split_of_file(file)
        named = [n for n in names if words & set(PurePosixPath(n.casefold()).parts) or (split and split_of(n) == split)]
        names = named or names
    return names


def split_of_file(name: str) -> tuple[str, ...]:
    """The split a label file's name speaks of (``instances_train2017.json``, ``test_labels.csv``), or its folders'."""
    words = re.split(r"[^a-z]+", PurePosixPath(name).stem.casefold())
    return next((split for word in words if (split := split_of(f"{word}/_"))), None) or split_of(name)
