"""The clean view: checked images and labels in the run's own folder, and a typed reader of it for later stages."""

from __future__ import annotations

import csv
import hashlib
import os
import re
import shutil
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from kdyolo import storage
from kdyolo.config import stable_hash
from kdyolo.datasets.auditing.audit import csv_text
from kdyolo.datasets.formats.data_yaml import read_data_yaml, write_data_yaml
from kdyolo.datasets.formats.labels import label_text
from kdyolo.datasets.images import view_bytes
from kdyolo.datasets.sample import SPLITS, Sample, printable
from kdyolo.errors import ConfigError, DatasetError

POOL = "pool"
PARTS = (*SPLITS, POOL)
_COLUMNS = ("view", "split", "source", "sha256", "source_sha256", "bytes", "width", "height", "boxes", "group")
_LONGEST_STEM = 120
_HASH_DIGITS = (8, 16, 64)
_SIGNATURES = "signatures.csv"
_TABLES = ("splits.csv", _SIGNATURES, "folds.csv", "confidences.csv", "audit.json", "audit.csv")
_OWN = ("images", "labels", "data.yaml", *_TABLES)


@dataclass(frozen=True)
class ViewImage:
    """One image of the clean view.

    Attributes:
        image, label: Its files.
        split: train, val, test or pool.
        sha256: Of the image file when the split was made.
        width, height: Pixels after EXIF orientation.
        boxes: Number of its boxes.
        source: Its name in the user's folder, printable.
        group: Images of one group are never in two splits.
        signatures: Image file -> what it looks like.
    """

    image: Path
    label: Path
    split: str
    sha256: str
    width: int
    height: int
    boxes: int
    source: str
    group: str
    signatures: Mapping[Path, bytes] = field(default_factory=dict, repr=False, compare=False)

    @property
    def signature(self) -> bytes:
        """What it looks like, see `signatures.signature`; read from the view when first asked for.

        Raises:
            DatasetError: The view's list of signatures is missing or damaged.
        """
        return self.signatures.get(self.image, b"")


class _Signatures(Mapping[Path, bytes]):
    """``signatures.csv`` of a view, read when first asked for: most stages never do."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @cached_property
    def _all(self) -> dict[Path, bytes]:
        try:
            with (self.folder / _SIGNATURES).open(encoding="utf-8", newline="") as file:
                return {self.folder / row["view"]: bytes.fromhex(row["signature"]) for row in csv.DictReader(file)}
        except (OSError, KeyError, ValueError, TypeError) as error:
            raise _damaged(self.folder) from error

    def __getitem__(self, image: Path) -> bytes:
        return self._all[image]

    def __iter__(self) -> Iterator[Path]:
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._all)


@dataclass(frozen=True)
class View:
    """The clean view of a run.

    Attributes:
        folder: The run's split folder.
        data_yaml: The file training reads.
        names: Class names by id.
        splits: Split -> its images, in order of file name; and ``pool``, training images that gave up their labels.
    """

    folder: Path
    data_yaml: Path
    names: tuple[str, ...]
    splits: dict[str, list[ViewImage]]


def clear_view(folder: Path) -> None:
    """Remove what an earlier, unfinished attempt left in the split folder; only its own names are touched."""
    for name in _OWN:
        path = folder / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    for left in folder.glob(".*.tmp"):
        left.unlink()


def view_stems(names: Sequence[str]) -> dict[str, str]:
    """File stems in the view for relative image names: the image's own stem where it is plain and unique.

    Plain is: printable, allowed on every system, at most 120 characters. Unique is: in the whole data set, whatever
    the case. Any other gets a slug and the first hex digits of its name's sha256, so the order of files is no matter.
    """
    own = {name: Path(name).stem for name in names}
    count = Counter(_folded(stem) for stem in own.values())
    result = {name: stem for name, stem in own.items() if _is_plain(stem) and count[_folded(stem)] == 1}
    taken = {_folded(stem) for stem in result.values()}
    for name in sorted(set(names) - set(result)):
        digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()
        slug = re.sub(r"[^a-z0-9]+", "-", own[name].lower())[:60].strip("-") or "image"
        result[name] = next(s for n in _HASH_DIGITS if _folded(s := f"{slug}-{digest[:n]}") not in taken)
        taken.add(_folded(result[name]))
    return result


def _folded(stem: str) -> str:
    return unicodedata.normalize("NFC", stem).casefold()


def _is_plain(stem: str) -> bool:
    short = len(stem) <= _LONGEST_STEM and len(stem.encode("utf-8", "surrogateescape")) <= 2 * _LONGEST_STEM
    return short and printable(stem) == stem and stem == stem.strip(" .") and not re.search(r'[<>:"/\\|?*]', stem)


def build_view(folder: Path, names: tuple[str, ...], rows: Sequence[tuple[str, str, Sample]]) -> list[Path]:
    """Fill the split folder: ``images/{split}``, ``labels/{split}``, ``data.yaml``, ``splits.csv``, ``signatures.csv``.

    Unchanged images are hard links where the file system allows it, else copies. Images of the pool get no label file,
    so that no later stage can read what the user's labels say of them.

    Args:
        folder: The run's split folder, cleared.
        names: Class names.
        rows: (split, group key, sample) of every image.

    Returns:
        Every file written except images.

    Raises:
        DatasetError: An image changed since it was checked.
        EnvironmentFault: The disk is full.
    """
    for kind in ("images", "labels"):
        for split in {*SPLITS, *(split for split, _, _ in rows)} - ({POOL} if kind == "labels" else set()):
            (folder / kind / split).mkdir(parents=True, exist_ok=True)
    require_room(folder, [sample for _, _, sample in rows])
    stems = view_stems([sample.name for _, _, sample in rows])
    outputs, table, looks, confidences = [], [], [], []
    for split, group, sample in rows:
        check, stem = sample.check, stems[sample.name]
        image = folder / "images" / split / f"{stem}{check.suffix}"
        place(sample, image)
        view = image.relative_to(folder).as_posix()
        if split != POOL:
            outputs.append(folder / "labels" / split / f"{stem}.txt")
            storage.write_text(outputs[-1], label_text(sample.cls, sample.xywhn))
            confidences += [(view, i, f"{conf:g}") for i, conf in enumerate(sample.conf) if not np.isnan(conf)]
        table.append((view, split, printable(sample.name), check.sha256, check.source_sha256, check.size, check.width,
                      check.height, len(sample.cls), group[:16]))  # fmt: skip
        looks.append((view, check.signature.hex()))
    storage.write_text(folder / "splits.csv", csv_text(_COLUMNS, sorted(table)))
    storage.write_text(folder / _SIGNATURES, csv_text(("view", "signature"), sorted(looks)))
    storage.write_text(folder / "data.yaml", write_data_yaml(names))
    if confidences:  # label files have five columns, so what a sixth one said is kept beside them
        outputs.append(folder / "confidences.csv")
        storage.write_text(outputs[-1], csv_text(("view", "box", "confidence"), sorted(confidences)))
    return [*outputs, folder / "splits.csv", folder / _SIGNATURES, folder / "data.yaml"]


def require_room(folder: Path, samples: Sequence[Sample]) -> None:
    """Refuse to start placing images that cannot fit.

    Args:
        folder: Where they will go; exists.
        samples: The images, checked.

    Raises:
        DatasetError: One vanished.
        EnvironmentFault: There is too little room.
    """
    device = folder.stat().st_dev
    needed = 0
    for sample in samples:
        try:
            linked = sample.check.treatment == "link" and sample.image.stat().st_dev == device
        except OSError as error:
            raise _changed(sample, "vanished") from error
        needed += 0 if linked else sample.check.size
    storage.require_space(folder, needed, "The copy of the images")


def place(sample: Sample, target: Path) -> None:
    """Put a checked image into a view: a hard link where it is clean and the file system allows, else a clean copy.

    Raises:
        DatasetError: It changed since it was checked.
    """
    source = Path(os.path.realpath(sample.image))
    if sample.check.treatment == "link":
        try:
            os.link(source, target)
            return
        except FileNotFoundError as error:
            raise _changed(sample, "vanished") from error
        except OSError:
            pass  # another file system, or one without hard links: copy
    try:
        data = view_bytes(source.read_bytes(), sample.check.treatment)
    except OSError as error:
        raise _changed(sample, "vanished") from error
    if hashlib.sha256(data).hexdigest() != sample.check.sha256:
        raise _changed(sample, "was changed")
    with storage.atomic_path(target) as temporary:
        temporary.write_bytes(data)


def _changed(sample: Sample, what: str) -> DatasetError:
    return DatasetError(f"{printable(sample.name)} {what} after it was checked.", "Run the command again.")


def dataset_sha256(view: View) -> str:
    """sha256 (hex) of a view's images, labels and class names; the same for the same data wherever it lies."""
    images = [
        [image.split, image.image.name, image.sha256, image.label.read_text(encoding="utf-8")]
        for split in SPLITS
        for image in view.splits[split]
    ]
    images += [[POOL, image.image.name, image.sha256] for image in view.splits[POOL]]
    return stable_hash({"names": view.names, "images": images})


def load_view(folder: Path) -> View:
    """Read the clean view a split left.

    Raises:
        DatasetError: It is missing or incomplete.
    """
    try:
        names = read_data_yaml(folder / "data.yaml").names or ()
        signatures = _Signatures(folder)
        with (folder / "splits.csv").open(encoding="utf-8", newline="") as file:
            images = [_view_image(row, folder, signatures) for row in csv.DictReader(file)]
    except (ConfigError, OSError, KeyError, ValueError, TypeError) as error:
        raise _damaged(folder) from error
    splits = {split: [image for image in images if image.split == split] for split in PARTS}
    return View(folder, folder / "data.yaml", names, splits)


def _damaged(folder: Path) -> DatasetError:
    return DatasetError(f"The split in {folder} is missing or damaged.", "Run `kdyolo split` again.")


def _view_image(row: dict[str, str], folder: Path, signatures: Mapping[Path, bytes]) -> ViewImage:
    image = folder / row["view"]
    return ViewImage(
        image=image,
        label=folder / "labels" / row["split"] / f"{image.stem}.txt",
        split=row["split"],
        sha256=row["sha256"],
        width=int(row["width"]),
        height=int(row["height"]),
        boxes=int(row["boxes"]),
        source=row["source"],
        group=row["group"],
        signatures=signatures,
    )


def verify_view(view: View, splits: Iterable[str] = PARTS) -> None:
    """Hash the images of some splits again; they may be hard links to files the user has edited since.

    Raises:
        DatasetError: One vanished or changed; it is named.
    """
    for image in (image for split in splits for image in view.splits[split]):
        try:
            intact = storage.sha256_file(image.image) == image.sha256
        except OSError:
            intact = False
        if not intact:
            what = "was changed" if image.image.exists() else "is missing"
            raise DatasetError(
                f"{image.image} ({image.source} in the data set) {what} since the split was made.",
                "Restore it, or run `kdyolo split` again with --force.",
            )
