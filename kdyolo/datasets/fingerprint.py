"""Whether a data set is still the one that was looked at, told from names, sizes and times, without reading it."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from kdyolo.config import DataSettings
from kdyolo.datasets.formats.detect import locate


def fingerprint(source: Path, data: DataSettings) -> tuple[str, int]:
    """sha256 (hex) over names, sizes and times of a data set's files, and the newest of these times (ns).

    Hidden files are left out, and those that other tools leave beside images; the settings that decide how the data set
    is read are no part of it.

    Args:
        source: Its folder, or its data.yaml.
        data: Whether paths may leave the folder.

    Raises:
        ConfigError, UntrustedFileError: As `locate`.
    """
    root, described = locate(source, data)
    digest, newest = hashlib.sha256(described.file.read_bytes() if described else b""), 0
    listed = [place for places in described.splits.values() for place in places] if described else []
    outside = {place for place in listed if not place.is_relative_to(root)}
    labels = {parallel for place in outside for parallel in _label_folders(place)}
    for top in [root, *sorted(outside | labels)]:
        for line, time in _files(top):
            digest.update(line)
            newest = max(newest, time)
    return digest.hexdigest(), newest


def _label_folders(images: Path) -> Iterator[Path]:
    """Where the labels of a folder of images may lie: in its place in a tree parallel to ``images``."""
    for place, part in enumerate(images.parts):
        if part.lower() == "images":
            yield Path(*images.parts[:place], "labels", *images.parts[place + 1 :])


def _files(top: Path) -> Iterator[tuple[bytes, int]]:
    folders = [os.fspath(top)]
    while folders:
        folder = folders.pop()
        with contextlib.suppress(OSError), os.scandir(folder) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                if _is_ignored(entry.name):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                    continue
                with contextlib.suppress(FileNotFoundError):
                    info = entry.stat(follow_symlinks=False)
                    line = f"{os.path.relpath(entry.path, top)}\0{info.st_size}\0{info.st_mtime_ns}\n"
                    yield os.fsencode(line), info.st_mtime_ns


def _is_ignored(name: str) -> bool:
    """Whether the reader passes over it: hidden files and folders, and what other tools leave beside the images."""
    return name.startswith(".") or name == "__MACOSX" or name.endswith((".cache", ".npy"))
