"""Small images and data sets for tests; the same arguments give the same bytes."""

from __future__ import annotations

import hashlib
import io
import random
import struct
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from kdyolo.datasets.sample import Dataset, ImageCheck, Sample
from kdyolo.datasets.signatures import signature


def pixels(seed: int = 0, size: tuple[int, int] = (64, 48)) -> np.ndarray:
    """Soft blobs of colour with some noise, (height, width, 3) uint8; every seed gives a clearly different picture."""
    rng = np.random.default_rng(seed)
    width, height = size
    blobs = Image.fromarray(rng.integers(20, 236, (6, 8, 3), dtype=np.uint8)).resize(size, Image.Resampling.BICUBIC)
    return np.clip(blobs + rng.normal(0, 6, (height, width, 3)), 0, 255).astype(np.uint8)


def image_bytes(seed: int = 0, size: tuple[int, int] = (64, 48), kind: str = "JPEG", **save: Any) -> bytes:
    """An encoded image of `pixels`."""
    buffer = io.BytesIO()
    Image.fromarray(pixels(seed, size)).save(buffer, kind, **save)
    return buffer.getvalue()


def write_image(path: Path, seed: int = 0, size: tuple[int, int] = (64, 48), kind: str = "", **save: Any) -> Path:
    """Write such an image; the kind follows the name where it is not given."""
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = kind or {".png": "PNG", ".bmp": "BMP", ".tif": "TIFF", ".webp": "WEBP"}.get(path.suffix.lower(), "JPEG")
    path.write_bytes(image_bytes(seed, size, kind, **save))
    return path


def png_header(width: int, height: int, depth: int = 1) -> bytes:
    """A PNG that claims a size and holds next to nothing."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, depth, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(9))) + chunk(b"IEND", b"")


def checked(
    name: str,
    content: str | None = None,
    boxes: Sequence[tuple[float, ...]] = ((0, 0.5, 0.5, 0.2, 0.2),),
    given: tuple[str, ...] = (),
    size: tuple[int, int] = (640, 480),
    looks: bytes = b"",
) -> Sample:
    """A checked sample without a file.

    Args:
        name: Its relative name.
        content: What its sha256 is made of; the name by default.
        boxes: (class, centre x, y, width, height) as shares.
        given: The user's splits it is in.
        size: Width and height (px).
        looks: Its signature.
    """
    digest = hashlib.sha256((content or name).encode()).hexdigest()
    check = ImageCheck(sha256=digest, width=size[0], height=size[1], signature=looks)
    rows = np.array(boxes, dtype=np.float64).reshape(-1, 5)
    return Sample(Path(name), name, given, cls=rows[:, 0].astype(np.int64), xywhn=rows[:, 1:], check=check)


def looks(seed: int, noise: int = 0, flipped: bool = False) -> bytes:
    """The signature of `pixels`; `noise` changes the picture a little."""
    picture = pixels(seed, (180, 160)).astype(np.int64)
    picture = picture[:, ::-1] if flipped else picture
    picture += np.random.default_rng(noise).integers(-noise, noise + 1, picture.shape)
    return signature(Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8)))


def dataset_of(samples: Sequence[Sample], names: Sequence[str] = ("cat", "dog")) -> Dataset:
    """A data set of samples that have no files."""
    return Dataset(Path("/data"), "yolo", tuple(names), sorted(samples, key=lambda sample: sample.name))


def make_yolo_dataset(
    folder: Path,
    n: int = 12,
    classes: Sequence[str] = ("cat", "dog"),
    splits: Mapping[str, int] | None = None,
    boxes: int = 2,
    size: tuple[int, int] = (64, 48),
    suffix: str = ".jpg",
    seed: int = 0,
) -> Path:
    """A YOLO data set with a data.yaml: ``images/`` and ``labels/``, or those of each split where `splits` gives sizes.

    Args:
        folder: Made if missing.
        n: Images, where `splits` is None.
        classes: Class names.
        splits: Split -> number of images, named in data.yaml as well.
        boxes: Boxes an image; image i starts with class i modulo the number of classes.
        size: Width and height (px).
        suffix: Extension of the images.
        seed: Another seed, other pictures and boxes.
    """
    rng = random.Random(seed)
    lines = []
    number = 0
    for split, count in (splits or {"": n}).items():
        for _ in range(count):
            name = Path(split) / f"img{number:03d}"
            write_image(folder / "images" / f"{name}{suffix}", seed * 1000 + number, size)
            label = folder / "labels" / f"{name}.txt"
            label.parent.mkdir(parents=True, exist_ok=True)
            rows = [
                f"{(number + b) % len(classes)} {rng.uniform(0.3, 0.7):.4f} {rng.uniform(0.3, 0.7):.4f} "
                f"{rng.uniform(0.1, 0.5):.4f} {rng.uniform(0.1, 0.5):.4f}\n"
                for b in range(boxes)
            ]
            label.write_text("".join(rows))
            number += 1
        if split:
            lines.append(f"{split}: images/{split}\n")
    listed = "".join(f"  {i}: '{name}'\n" for i, name in enumerate(classes))
    (folder / "data.yaml").write_text(f"{''.join(lines)}nc: {len(classes)}\nnames:\n{listed}")
    return folder


def voc_xml(objects: Sequence[tuple[str, int, int, int, int]], size: tuple[int, int] = (64, 48)) -> str:
    """A VOC annotation with (name, xmin, ymin, xmax, ymax) objects."""
    parts = [
        f"<object><name>{name}</name><bndbox><xmin>{a}</xmin><ymin>{b}</ymin><xmax>{c}</xmax><ymax>{d}</ymax>"
        "</bndbox></object>"
        for name, a, b, c, d in objects
    ]
    width, height = size
    return (
        f"<annotation><size><width>{width}</width><height>{height}</height><depth>3</depth></size>"
        f"{''.join(parts)}</annotation>"
    )


def make_voc_dataset(folder: Path, n: int = 9, lists: Mapping[str, Sequence[int]] | None = None) -> Path:
    """A VOC data set of images 0..n-1 with one ``cat`` and every third also a ``dog``; `lists` fills ImageSets."""
    (folder / "Annotations").mkdir(parents=True, exist_ok=True)
    for i in range(n):
        write_image(folder / "JPEGImages" / f"v{i}.jpg", i)
        objects = [("cat", 4, 4, 30, 30), *([("dog", 10, 12, 50, 40)] if i % 3 == 0 else [])]
        (folder / "Annotations" / f"v{i}.xml").write_text(voc_xml(objects))
    for name, members in (lists or {}).items():
        file = folder / "ImageSets" / "Main" / f"{name}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("".join(f"v{i}\n" for i in members))
    return folder


def tree_state(folder: Path) -> dict[str, tuple[bytes, int, int]]:
    """Contents, mode and modification time of every file below, to prove that a folder was left alone."""
    return {
        str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mode, path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
