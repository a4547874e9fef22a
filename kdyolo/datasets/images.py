"""One image file: is it usable, and how does a clean, harmless copy of it look?"""

from __future__ import annotations

import hashlib
import io
import re
import stat
import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, UnidentifiedImageError

from kdyolo.config import AuditSettings
from kdyolo.datasets.jpeg import END_MARK, mended
from kdyolo.datasets.sample import ImageCheck, Severity, Treatment
from kdyolo.datasets.signatures import signature
from kdyolo.datasets.tree import scan

# Sizes are checked here, against settings; Pillow's own warning would only reach the terminal.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
warnings.filterwarnings("ignore", module=r"PIL\.")

MAX_IMAGE_BYTES = 1_000_000_000
# Only these decoders are tried: others start programs (EPS) or read things that are no photographs.
_FORMATS = {
    "JPEG": ".jpg", "MPO": ".jpg", "PNG": ".png", "BMP": ".bmp", "DIB": ".bmp", "WEBP": ".webp", "TIFF": ".tif",
    "GIF": ".gif", "JPEG2000": ".jp2", "AVIF": ".avif", "PPM": ".ppm",
}  # fmt: skip
_LINKABLE = {"JPEG", "MPO", "PNG", "BMP", "WEBP"}
_OTHER_NAMES = {
    ".jpg": (".jpeg", ".jpe", ".jfif", ".mpo"),
    ".tif": (".tiff",),
    ".bmp": (".dib",),
    ".ppm": (".pgm",),
}
_MAGIC = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF8", b"BM", b"II*\0", b"MM\0*", b"RIFF")
_HEIF = re.compile(rb"....ftyp(heic|heix|hevc|heim|heis|mif1|msf1|avif|avis)", re.DOTALL)
_COLOUR_TOLERANCE = 2.0
_DRAFT = (72, 64)  # px, four a cell of the signature
_TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class Bad(Exception):
    """Why an image cannot be used: a stable code and a sentence."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


def find_images(folder: Path) -> list[Path]:
    """Image files of a folder at any depth, sorted by name; no links out of it, no pipes or devices.

    Raises:
        DatasetError: The folder does not exist or cannot be read.
    """
    tree = scan(folder)
    return [tree.root / name for name in tree.images]


def oriented_size(path: Path) -> tuple[int, int] | None:
    """Width and height (px) after EXIF orientation, from the header alone; None where it cannot be read."""
    try:
        with Image.open(path, formats=_decoders()) as image:
            width, height = image.size
            return (height, width) if _orientation(image) >= 5 else (width, height)
    except Exception:  # a decoder may raise anything on bad data; `check_image` says what is wrong
        return None


def check_image(path: Path, audit: AuditSettings) -> ImageCheck:
    """Judge one image file without changing it.

    Args:
        path: A file; pipes, devices and folders are refused unopened.
        audit: Limits on size and shape.
    """
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    source_sha256 = ""
    try:
        data = _read(path)
        source_sha256 = hashlib.sha256(data).hexdigest()
        return _check_data(data, source_sha256, path, audit)
    except Bad as bad:
        return ImageCheck(reason=bad.reason, message=bad.message, source_sha256=source_sha256)


def view_bytes(data: bytes, treatment: Treatment) -> bytes:
    """Bytes of an image in the clean view.

    Args:
        data: The user's file, which `check_image` found usable.
        treatment: What it said: ``link`` (unchanged), ``repair`` or ``convert``.
    """
    if treatment == "link":
        return data
    with _open(data) as image:
        clean = _whole(image, data)
    if treatment == "repair":
        return clean
    with _open(clean) as image:
        _load(image, clean)
        return _png(_oriented_rgb(image))


def _read(path: Path) -> bytes:
    try:
        info = path.stat()
        if not stat.S_ISREG(info.st_mode):
            raise Bad("not_a_file", "This is not a regular file.")
        if info.st_size == 0:
            raise Bad("empty_file", "The file is empty.")
        if info.st_size > MAX_IMAGE_BYTES:
            raise Bad("too_large", f"The file has {info.st_size / 1e6:.0f} MB.")
        return path.read_bytes()
    except OSError as error:
        raise Bad("unreadable", f"The file cannot be read: {error.strerror}.") from error


def _check_data(data: bytes, source_sha256: str, path: Path, audit: AuditSettings) -> ImageCheck:
    notes: list[tuple[Severity, str, str]] = []
    with _open(data) as image:
        kind, mode = image.format or "", image.mode
        _check_header(image, audit, notes)
        clean = _whole(image, data)
    if clean is not data:
        notes.append(("note", "repaired", "Its end was mended in the clean view; the file itself is untouched."))
    with _open(clean) as image:
        (width, height), box = _decode(image, clean)
        notes += _unusual(image, clean)
        upright = image if _is_plain(image, clean) else _oriented_rgb(image)
        convert = kind not in _LINKABLE or not (upright is image or _reads_alike(upright, clean))
        shown = _png(_oriented_rgb(image)) if convert else clean
        looks = signature(upright, box)
    if convert:
        notes.append(("note", "converted", f"The clean view holds an 8-bit RGB PNG of this {kind} ({mode}) image."))
    suffix = _FORMATS[kind]
    if path.suffix.lower() not in _OTHER_NAMES.get(suffix, ()) and path.suffix.lower() != suffix:
        notes.append(("warning", "extension_mismatch", f"The file is named {path.suffix} but holds {kind} data."))
    return ImageCheck(
        notes=tuple(notes),
        treatment="convert" if convert else "link" if clean is data else "repair",
        suffix=".png" if convert else suffix,
        width=width,
        height=height,
        size=len(shown),
        sha256=source_sha256 if shown is data else hashlib.sha256(shown).hexdigest(),
        source_sha256=source_sha256,
        signature=looks,
    )


def _decoders() -> list[str]:
    Image.init()  # given a list of formats, Pillow does not load their decoders by itself
    return [kind for kind in _FORMATS if kind in Image.OPEN]


def _open(data: bytes) -> Image.Image:
    try:
        return Image.open(io.BytesIO(data), formats=_decoders())
    except (UnidentifiedImageError, ImportError) as error:  # the latter where ultralytics has patched Pillow
        if match := _HEIF.match(data):
            kind = match[1].decode()
            raise Bad("unsupported", f"{kind.upper()} images cannot be read here; export it as JPEG or PNG.") from error
        if data.startswith(_MAGIC):
            raise Bad("truncated", "The file ends within its header.") from error
        raise Bad("not_an_image", "The file holds no image of a known kind.") from error
    except Image.DecompressionBombError as error:
        raise Bad("too_large", f"The image is too large: {error}.") from error
    except Exception as error:  # decoders raise SyntaxError, struct.error and more on bad headers
        raise Bad("truncated", f"The header cannot be read: {error}.") from error


def _check_header(image: Image.Image, audit: AuditSettings, notes: list[tuple[Severity, str, str]]) -> None:
    width, height = image.size
    if width * height > audit.max_pixels:
        raise Bad("too_large", f"The image has {width} x {height} pixels, more than audit.max_pixels.")
    if min(width, height) < audit.min_side:
        raise Bad("too_small", f"The image has {width} x {height} pixels; audit.min_side is {audit.min_side}.")
    if max(width, height) > audit.max_aspect * min(width, height):
        raise Bad("aspect", f"The image is a strip of {width} x {height} pixels; audit.max_aspect forbids it.")
    if image.format != "MPO" and getattr(image, "n_frames", 1) > 1:
        if image.format != "TIFF":
            raise Bad("unsupported", "The image is animated; export the frames you want as single images.")
        notes.append(("note", "first_page", "The file has several pages; only the first is used."))


def _decode(image: Image.Image, data: bytes) -> tuple[tuple[int, int], tuple[float, float, float, float] | None]:
    """Read all of an opened image.

    An ordinary JPEG is only shown to the signature, so it is decoded small and grey: the decoder still has to read the
    whole file, and finds the same faults, but leaves out most of the arithmetic.

    Returns:
        Width and height (px) of the picture when upright, and where it lies in the decoded pixels if not everywhere.
    """
    size = image.size
    if image.format in ("JPEG", "MPO") and _is_plain(image, data):
        small = image.draft("L", _DRAFT)
        _load(image, data)
        return size, small[1] if small else None
    _load(image, data)
    return (image.size if _orientation(image) < 5 else image.size[::-1]), None


def _load(image: Image.Image, data: bytes) -> None:
    try:
        image.load()
    except Exception as error:  # any decoder error means the same here
        ends = {"JPEG": END_MARK, "PNG": b"IEND\xaeB`\x82"}.get(image.format or "", b"")
        cut = "truncated" in str(error) or not data.endswith(ends)
        raise Bad("truncated" if cut else "corrupt", f"The image cannot be decoded: {error}.") from error
    if image.mode == "F":
        raise Bad("unsupported", "The image holds floating-point values; export it as 8 bits a channel.")


def _unusual(image: Image.Image, data: bytes) -> list[tuple[Severity, str, str]]:
    notes: list[tuple[Severity, str, str]] = []
    if _is_16_bit(image, data):
        notes.append(("note", "sixteen_bit", "Each 16-bit value is read as its upper 8 bits."))
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        notes.append(("note", "alpha_dropped", "Transparency is ignored."))
    return notes


def _is_16_bit(image: Image.Image, data: bytes) -> bool:
    # Pillow shows 16-bit colour PNGs as 8-bit; byte 24 of a PNG is its bit depth.
    return image.mode.startswith("I") or (image.format == "PNG" and data[24:25] == b"\x10")


def _is_plain(image: Image.Image, data: bytes) -> bool:
    """Whether every reader agrees on this image: 8-bit RGB or grey, upright, opaque."""
    upright = _orientation(image) == 1
    opaque = "transparency" not in image.info
    return image.mode in ("RGB", "L") and upright and opaque and not _is_16_bit(image, data)


def _reads_alike(rgb: Image.Image, data: bytes) -> bool:
    """Whether OpenCV, which training reads with, sees what Pillow made of it, orientation and colours included."""
    import cv2

    decoded = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), cv2.IMREAD_COLOR)
    expected: NDArray[np.uint8] = np.asarray(rgb)
    if decoded is None or decoded.shape != expected.shape:
        return False
    return float(np.abs(decoded[..., ::-1].astype(np.int16) - expected).mean()) <= _COLOUR_TOLERANCE


def _orientation(image: Image.Image) -> int:
    """EXIF orientation 1-8 still to be applied; 1 where there is none."""
    if image.format == "TIFF":
        return 1  # Pillow turns TIFFs itself
    try:
        value = image.getexif().get(0x0112, 1)
    except Exception:  # broken EXIF says nothing about the picture
        return 1
    return value if value in _TRANSPOSE else 1


def _oriented_rgb(image: Image.Image) -> Image.Image:
    """The loaded image as upright 8-bit RGB."""
    try:
        if image.mode.startswith("I"):
            grey = np.clip(np.asarray(image).astype(np.int64) >> 8, 0, 255).astype(np.uint8)
            rgb = Image.fromarray(grey).convert("RGB")
        else:
            rgb = image.convert("RGB")
    except ValueError as error:
        raise Bad("unsupported", f"The colours ({image.mode}) cannot be read as RGB.") from error
    method = _TRANSPOSE.get(_orientation(image))
    return rgb if method is None else rgb.transpose(method)


def _png(rgb: Image.Image) -> bytes:
    buffer = io.BytesIO()
    rgb.save(buffer, "PNG")
    return buffer.getvalue()


def _whole(image: Image.Image, data: bytes) -> bytes:
    """The image's bytes, a JPEG's end mended."""
    if image.format != "JPEG":
        return data
    clean = mended(data)
    if clean is None:
        raise Bad("truncated", "The image data end too early.")
    return clean
