"""Find out how a data set is written, and read it."""

from __future__ import annotations

import os
from pathlib import Path

from kdyolo.config import AuditSettings, DataSettings
from kdyolo.datasets.formats.data_yaml import DataYaml, read_data_yaml
from kdyolo.datasets.formats.voc import XML_FOLDERS, read_voc
from kdyolo.datasets.formats.yolo import LABEL_FOLDERS, read_yolo
from kdyolo.datasets.layout import find_label
from kdyolo.datasets.sample import Dataset
from kdyolo.datasets.tree import Tree, scan
from kdyolo.errors import ConfigError, DatasetError, KdyoloError
from kdyolo.yamlio import load_mapping

_YAML = (".yaml", ".yml")
_ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar")


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
    if kind == "auto":
        listed = described is not None and described.splits
        kind = "yolo" if listed else _detect(tree, source, data.allow_outside)
    if kind == "voc":
        return read_voc(tree, described.names if described else None, data, audit)
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


def _detect(tree: Tree, source: Path, allow_outside: bool) -> str:
    images = [tree.root / name for name in tree.images]
    suffixes = {Path(name).suffix.lower() for name in tree.others}

    def labelled(folders: tuple[str, ...], suffix: str) -> bool:
        return suffix in suffixes and any(find_label(i, tree.root, folders, suffix, allow_outside) for i in images)

    xml, txt = labelled(XML_FOLDERS, ".xml"), labelled(LABEL_FOLDERS, ".txt")
    if xml and txt:
        raise ConfigError(
            f"{source} has both YOLO (.txt) and Pascal VOC (.xml) labels.",
            "Choose with -S data.format=yolo or -S data.format=voc.",
        )
    if not xml and not txt:
        coco = " COCO json is not read: convert it to YOLO first." if ".json" in suffixes else ""
        raise DatasetError(
            f"{source} has {len(images)} images but no label file for any of them.",
            "Labels are expected beside the images, or in labels/ (YOLO) or Annotations/ (VOC) beside images/." + coco,
        )
    return "voc" if xml else "yolo"
