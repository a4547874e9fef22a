"""What the name of an image says about its origin: a frame of a video, or one of several copies of a source."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import PurePosixPath

from kdyolo.datasets.layout import content_folders

_VIDEO_SUFFIX = r"(?:mp4|avi|mov|mkv|webm|m4v|mpe?g|wmv|flv|3gp)"
_GAP = r"[ ._-]"
# Roboflow names the copies it makes of x.jpg x_jpg.rf.<hash>.jpg.
_COPY = re.compile(r"(?P<source>.+?)(?:[_.](?:jpe?g|png|bmp|webp|tiff?))?\.rf\.[0-9a-z]{8,64}", re.IGNORECASE)
_FRAMES = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"(?P<video>.+?)[._]{_VIDEO_SUFFIX}{_GAP}+(?:frame{_GAP}*)?\d+",  # walk.mp4_000017, walk_mp4-17
        rf"(?P<video>|.*?{_GAP})frames?{_GAP}?\d+",  # clip7_frame_0012, frame12
        rf"(?P<video>(?:.*[^a-z])?(?:video|vid|clip|movie|mvi|sequence|seq){_GAP}?\d+[a-z]?)"
        rf"{_GAP}+(?:img|image|f)?\d+",  # video3-000123, MVI_20011_img00001
    )
)
_UNNAMED = "frames"


def name_group(name: str) -> str | None:
    """What an image shares with others by its name: its video, else the source it is a copy of; None for neither.

    Only names that say so are taken: a number alone, as in ``IMG_2378.JPG``, is no frame.

    Args:
        name: File name relative to the data set, with forward slashes. Folders of splits and of images do not count,
            so that copies of one source are found across splits; other folders tell sources of equal names apart.
    """
    return video_of(name) or source_of(name)


def video_of(name: str) -> str | None:
    """The video an image is a frame of, by its name; see `name_group`."""
    stem = PurePosixPath(name).stem
    copy = _COPY.fullmatch(stem)
    stem = copy["source"] if copy else stem
    frame = next((match for pattern in _FRAMES if (match := pattern.fullmatch(stem))), None)
    return _within(name, frame["video"].rstrip(" ._-")) if frame else None


def source_of(name: str) -> str | None:
    """The source an image is a copy of, by its name; see `name_group`."""
    copy = _COPY.fullmatch(PurePosixPath(name).stem)
    return _within(name, copy["source"]) if copy else None


def by_names(names: Iterable[str], origin: Callable[[str], str | None] = name_group) -> dict[str, str]:
    """Name -> its origin, for all names that have one, and for the origins themselves where they are among the names.

    Args:
        names: Relative file names.
        origin: `name_group`, `video_of` or `source_of`.
    """
    names = list(names)
    found = {name: label for name in names if (label := origin(name)) is not None}
    labels = set(found.values())
    for name in names:
        if name not in found and (own := _within(name, PurePosixPath(name).stem)) in labels:
            found[name] = own
    return found


def _within(name: str, stem: str) -> str:
    return "/".join(part for part in (*content_folders(name), stem) if part) or _UNNAMED
