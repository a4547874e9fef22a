"""A user's data.yaml, read as plain data: known keys only, nothing is downloaded, no path leaves the folder."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kdyolo.datasets.sample import SPLITS, Finding
from kdyolo.errors import ConfigError, UntrustedFileError
from kdyolo.yamlio import dump_yaml, load_mapping

MAX_CLASSES = 10_000
UNASSIGNED = "unassigned"
SPLIT_KEYS = {"train": ("train",), "val": ("val", "valid", "validation"), "test": ("test",), "": (UNASSIGNED,)}
"""Split -> the keys that may name its images; kdyolo's own ``unassigned`` names images of no split."""


@dataclass
class DataYaml:
    """What a data.yaml says.

    Attributes:
        file: The file.
        root: Folder its paths are relative to, resolved.
        names: Class names by id; None where it gives none.
        splits: Split -> folders and list files (absolute, existing); the split "" holds images of no split.
        findings: What was read with some goodwill.
    """

    file: Path
    root: Path
    names: tuple[str, ...] | None
    splits: dict[str, list[Path]] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)


def read_data_yaml(file: Path, allow_outside: bool = False) -> DataYaml:
    """Read a data.yaml.

    Args:
        file: The file; its folder is the root unless its ``path`` says otherwise.
        allow_outside: Accept paths that leave the file's folder.

    Raises:
        ConfigError: Not YAML, or wrong or missing class names, counts or folders.
        UntrustedFileError: It has a ``download`` entry, or a path in it leaves its folder.
    """
    data = load_mapping(file)
    if data.get("download"):
        raise UntrustedFileError(
            f"{file} has a `download:` entry, which other tools run as a program. kdyolo never does.",
            "Remove that line if the images are already there; otherwise fetch them yourself first.",
        )
    if "kpt_shape" in data:
        raise ConfigError(f"{file} describes key points (kpt_shape).", "kdyolo reads boxes: give a detection data set.")
    folder = Path(os.path.realpath(file.parent))
    result = DataYaml(file, folder, _names(data, file))
    try:
        result.root = _root(data.get("path"), result, allow_outside)
        for split, keys in SPLIT_KEYS.items():
            value = next((data[key] for key in keys if data.get(key)), None)
            if value is not None:
                result.splits[split] = _places(value, split, result, allow_outside)
    except OSError as error:
        raise ConfigError(f"{file}: a path in it cannot be used: {error.strerror}.", "Correct that path.") from error
    result.splits = {split: places for split, places in result.splits.items() if places}
    return result


def write_data_yaml(names: tuple[str, ...]) -> str:
    """Text of a run's own data.yaml; it has no ``path``, so that paths are relative to its own folder."""
    images: dict[str, Any] = {split: f"images/{split}" for split in SPLITS}
    return dump_yaml(images | {"nc": len(names), "names": dict(enumerate(names))})


def _names(data: dict[str, Any], file: Path) -> tuple[str, ...] | None:
    names, nc = data.get("names"), data.get("nc")
    if nc is not None and (not isinstance(nc, int) or isinstance(nc, bool) or nc < 1):
        raise ConfigError(f"{file}: nc is {nc!r}.", "Give the number of classes, at least 1.")
    if names is None:
        if nc is not None and nc > MAX_CLASSES:
            raise _too_many(file, nc)
        return tuple(f"class{i}" for i in range(nc)) if nc else None
    if isinstance(names, dict):
        names = _list_of(names, file)
    if not isinstance(names, list) or not names:
        raise ConfigError(f"{file}: names is {names!r:.60}.", "Write it as a list: names: [cat, dog]")
    if len(names) > MAX_CLASSES:
        raise _too_many(file, len(names))
    if nc is not None and nc != len(names):
        raise ConfigError(f"{file}: nc is {nc} but names has {len(names)} entries.", "Correct the one that is wrong.")
    return check_names([_name(name, i, file) for i, name in enumerate(names)], file)


def _too_many(file: Path, count: int) -> ConfigError:
    return ConfigError(f"{file} has {count} classes; kdyolo takes at most {MAX_CLASSES}.", "Check names and nc.")


def check_names(names: list[str], file: Path) -> tuple[str, ...]:
    """Class names without surrounding blanks.

    Raises:
        ConfigError: One is empty or given twice.
    """
    stripped = [name.strip() for name in names]
    for i, name in enumerate(stripped):
        if not name:
            raise ConfigError(f"{file}: the name of class {i} is empty.", "Give every class a name.")
        if (first := stripped.index(name)) != i:
            raise ConfigError(f"{file}: classes {first} and {i} are both named {name!r}.", "Give each its own name.")
    return tuple(stripped)


def _list_of(names: dict[Any, Any], file: Path) -> list[Any]:
    ids = {int(k) if isinstance(k, str) and re.fullmatch("[0-9]{1,6}", k) else k: v for k, v in names.items()}
    if any(not isinstance(i, int) or isinstance(i, bool) for i in ids):
        raise ConfigError(f"{file}: the keys under names must be class numbers.", "Write them as 0: cat, 1: dog.")
    missing = sorted(set(range(len(ids))) - set(ids))
    if missing:
        raise ConfigError(
            f"{file}: names has {len(ids)} entries but none for class {missing[0]}.", "Number classes from 0, no gaps."
        )
    return [ids[i] for i in range(len(ids))]


def _name(name: Any, class_id: int, file: Path) -> str:
    if isinstance(name, bool):
        raise ConfigError(
            f"{file}: the name of class {class_id} reads as {str(name).lower()}, not as text.",
            'YAML takes no, yes, on, off, true and false for logic values: quote it, for example "no".',
        )
    if isinstance(name, str | int):
        return str(name)
    raise ConfigError(f"{file}: the name of class {class_id} is {name!r}, not text.", 'Quote it, for example "1.0".')


def _root(value: Any, result: DataYaml, allow_outside: bool) -> Path:
    if value in (None, ""):
        return result.root
    if isinstance(value, str) and not (result.root / value).is_dir() and Path(value).name == result.root.name:
        # The ultralytics way: `path` is relative to a global datasets folder, and this file lies in that very place.
        result.findings.append(
            Finding("path_ignored", "note", result.file.name, f"path: {value!r} is taken to be this file's own folder.")
        )
        return result.root
    root = resolve_inside(value, result.root, result.root, f"path in {result.file}", allow_outside)
    if not root.is_dir():
        raise ConfigError(f"{result.file}: path leads to {root}, which is no folder.", "Correct or remove it.")
    return root


def _places(value: Any, split: str, result: DataYaml, allow_outside: bool) -> list[Path]:
    places = []
    for item in value if isinstance(value, list) else [value]:
        place = _place(item, split, result, allow_outside)
        if place.is_dir() or (place.is_file() and place.suffix.lower() == ".txt"):
            places.append(place)
        elif split == "test":
            message = f"The test split {item!r} does not exist and is left out."
            result.findings.append(Finding("missing_folder", "warning", result.file.name, message))
        else:
            raise ConfigError(
                f"{result.file}: {split} leads to {place}, which is neither a folder nor a list of images (.txt).",
                "Correct that line; paths are relative to the file's own folder.",
            )
    return places


def _place(item: Any, split: str, result: DataYaml, allow_outside: bool) -> Path:
    if isinstance(item, str) and item.startswith("../"):
        inner = item.removeprefix("../")
        outer = Path(os.path.realpath(result.root / item))
        escapes = not outer.is_relative_to(result.root) and not (allow_outside and outer.exists())
        if escapes and (result.root / inner).exists():
            # Roboflow exports write ../train/images in a data.yaml that lies beside train/.
            message = f"{split}: {item!r} is read as {inner!r}, beside this file."
            result.findings.append(Finding("path_mended", "note", result.file.name, message))
            item = inner
    return resolve_inside(item, result.root, result.root, f"{split} in {result.file}", allow_outside)


def resolve_inside(text: Any, base: Path, root: Path, what: str, allow_outside: bool) -> Path:
    """A path written in a data set's own files, resolved.

    Args:
        text: The path as written.
        base: What it is relative to.
        root: What it must not leave, links followed; resolved.
        what: Where it was written, for the message.
        allow_outside: Let it leave; ``~``, ``$VAR`` and ``file://`` are then understood.

    Raises:
        ConfigError: It is no text, or a network address.
        UntrustedFileError: It leaves the root.
    """
    if not isinstance(text, str) or not text.strip() or "\0" in text:
        raise ConfigError(f"{what} is {text!r}, not a path.", "Write the path of a folder.")
    text = text.strip()
    if re.match(r"(?!file:)[A-Za-z][A-Za-z0-9+.-]+://", text):
        raise ConfigError(f"{what} is {text!r}: kdyolo does not download data.", "Fetch it and give a local path.")
    if allow_outside:
        text = os.path.expandvars(os.path.expanduser(text.removeprefix("file://")))  # noqa: PTH111
    path = Path(os.path.realpath(base / text))
    if not allow_outside and (re.search(r"^~|^file:|\$", text) or not path.is_relative_to(root)):
        raise UntrustedFileError(
            f"{what} is {text!r}, which leaves the data set's folder {root}.",
            "Correct it, or accept it with --allow-outside.",
        )
    return path
