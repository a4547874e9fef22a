"""Find out how a data set is written, and read it."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

from kdyolo.config import AuditSettings, DataSettings
from kdyolo.datasets.formats.coco import is_coco, read_coco
from kdyolo.datasets.formats.csv_boxes import is_csv, read_csv
from kdyolo.datasets.formats.cvat import is_cvat, read_cvat
from kdyolo.datasets.formats.data_yaml import DataYaml, read_data_yaml
from kdyolo.datasets.formats.json_file import head_of
from kdyolo.datasets.formats.label_studio import is_label_studio, read_label_studio
from kdyolo.datasets.formats.voc import XML_FOLDERS, read_voc
from kdyolo.datasets.formats.yolo import LABEL_FOLDERS, read_yolo
from kdyolo.datasets.layout import find_label
from kdyolo.datasets.sample import Dataset, printable
from kdyolo.datasets.tree import Tree, is_safe_file, scan
from kdyolo.errors import ConfigError, DatasetError, KdyoloError
from kdyolo.yamlio import load_mapping

Reader = Callable[[Sequence[Path], Tree, tuple[str, ...] | None, DataSettings, AuditSettings], Dataset]

_YAML = (".yaml", ".yml")
_ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar")

READERS: dict[str, Reader] = {
    "coco": read_coco,
    "csv": read_csv,
    "label-studio": read_label_studio,
    "cvat": read_cvat,
}
"""Formats in which one label file speaks of many images."""

_TITLES = {
    "yolo": "YOLO",
    "voc": "Pascal VOC",
    "coco": "COCO",
    "csv": "csv",
    "label-studio": "Label Studio",
    "cvat": "CVAT",
}


def read(source: Path, data: DataSettings, audit: AuditSettings) -> Dataset:
    """Read a labelled data set.

    Args:
        source: Its folder, or its data.yaml.
        data: Format, and whether paths may leave the folder.
        audit: What a bad label line takes with it.

    Raises:
        ConfigError: No such folder, an archive, or a format that cannot be told; or a wrong data.yaml.
        DatasetError: No images, or no label files.
        UntrustedFileError: Its data.yaml would run something or leads out of the folder.
    """
    root, described = locate(source, data)
    tree = scan(root, allow_outside=data.allow_outside)
    outside = described is not None and any(not p.is_relative_to(root) for ps in described.splits.values() for p in ps)
    if not tree.images and not tree.broken and not outside:
        raise DatasetError(f"There is no image in {source}.", "Give the folder that holds the images and the labels.")
    kind: str = data.format
    files: dict[str, list[Path]] = {}
    if kind == "auto" and described is not None and described.splits:
        kind = "yolo"
    if kind not in ("yolo", "voc"):
        files = label_files(tree, data.allow_outside)
        kind = _detect(tree, files, source, data.allow_outside) if kind == "auto" else kind
    names = described.names if described else None
    if kind in READERS:
        if kind not in files:
            raise DatasetError(f"{source} holds no {_TITLES[kind]} file.", "Leave the format out: kdyolo looks itself.")
        return READERS[kind](files[kind], tree, names, data, audit)
    if kind == "voc":
        return read_voc(tree, names, data, audit)
    return read_yolo(tree, described, data, audit)


def locate(source: Path, data: DataSettings) -> tuple[Path, DataYaml | None]:
    """Folder of a data set (resolved) and its data.yaml, where it has one.

    Raises:
        ConfigError: No such folder, an archive, several candidates for the data.yaml, or a wrong one.
        UntrustedFileError: As `read_data_yaml`.
    """
    if source.is_dir():
        file = _yaml_in(source)
    elif not source.exists():
        raise ConfigError(f"There is no {source}.", "Give the folder of the data set, or its data.yaml.")
    elif source.suffix.lower() in _ARCHIVES:
        raise ConfigError(f"{source} is an archive.", "Unpack it and give the folder.")
    elif source.suffix.lower() not in _YAML:
        raise ConfigError(f"{source} is neither a folder nor a .yaml file.", "Give the folder of the data set.")
    else:
        file = source
    if file is None:
        return Path(os.path.realpath(source)), None
    described = read_data_yaml(file, data.allow_outside)
    return described.root, described


def _yaml_in(folder: Path) -> Path | None:
    """The file that describes the data set: data.yaml by name, else the only yaml with `names` in it."""
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in _YAML and path.is_file())
    named = [path for path in files if path.stem.lower() in ("data", "dataset")]
    found = named or [path for path in files if _has_names(path)]
    if len(found) > 1:
        listed = " and ".join(path.name for path in found[:3])
        raise ConfigError(f"{folder} holds {listed}.", "Give the file you mean instead of the folder.")
    return found[0] if found else None


def _has_names(path: Path) -> bool:
    try:
        return "names" in load_mapping(path)
    except KdyoloError:
        return False


def label_files(tree: Tree, allow_outside: bool = False) -> dict[str, list[Path]]:
    """Format -> the files of a folder that label many images in it, told by how they begin; in order of name.

    A json or xml named like an image is the label of that image alone, so it is not opened.
    """
    stems = {PurePosixPath(name).stem for name in (*tree.images, *tree.broken)}
    found: dict[str, list[Path]] = {}
    for name in tree.others:
        suffix, path = PurePosixPath(name).suffix.lower(), tree.root / name
        of_many = suffix == ".csv" or (suffix in (".json", ".xml") and PurePosixPath(name).stem not in stems)
        if of_many and is_safe_file(path, tree.root, allow_outside) and (kind := kind_of(path)):
            found.setdefault(kind, []).append(path)
    return found


def kind_of(path: Path) -> str:
    """The format of a file that labels many images, by its extension and how it begins; empty for none of them."""
    suffix, head = path.suffix.lower(), head_of(path)
    if suffix == ".json":
        return "coco" if is_coco(head) else "label-studio" if is_label_studio(head) else ""
    if suffix == ".xml":
        return "cvat" if is_cvat(head) else ""
    return "csv" if suffix == ".csv" and is_csv(head) else ""


def _detect(tree: Tree, files: dict[str, list[Path]], source: Path, allow_outside: bool) -> str:
    images = [tree.root / name for name in tree.images]
    suffixes = {Path(name).suffix.lower() for name in tree.others}

    def labelled(folders: tuple[str, ...], suffix: str) -> bool:
        return suffix in suffixes and any(find_label(i, tree.root, folders, suffix, allow_outside) for i in images)

    found = {kind: paths[0].relative_to(tree.root).as_posix() for kind, paths in files.items()}
    if labelled(LABEL_FOLDERS, ".txt"):
        found["yolo"] = ".txt"
    if labelled(XML_FOLDERS, ".xml"):
        found["voc"] = ".xml"
        found.pop("csv", None)  # made from the xml files, as scripts for TensorFlow do
    if len(found) > 1:
        listed = " and ".join(f"{_TITLES[kind]} ({printable(found[kind])})" for kind in sorted(found, reverse=True))
        choices = " or ".join(f"-S data.format={kind}" for kind in sorted(found, reverse=True))
        raise ConfigError(
            f"{source} has both {listed} labels.", f"Choose with {choices}; where a command has --format, with that."
        )
    if not found:
        raise DatasetError(
            f"{source} has {len(images)} images but no label file for any of them.",
            "Labels are expected beside the images, or in labels/ (YOLO) or Annotations/ (VOC) beside images/; "
            "or in a COCO or Label Studio json, a CVAT xml, or a csv with filename, class, xmin, ymin, xmax, ymax.",
        )
    return next(iter(found))
