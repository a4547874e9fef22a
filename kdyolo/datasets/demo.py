"""Draws the demo data set: leaf photographs with four look-alike diseases.

Finding a lesion is meant to be easy and naming it hard, so that a large detector has something to teach a small one:
the diseases share colours and sizes and differ in detail only (rings, rim, halo, dots, texture, edge). The upper-case
constants set how hard it is. Needs numpy, OpenCV and PyYAML only.
"""

from __future__ import annotations

import math
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import yaml

from kdyolo.datasets import demo_scene as scene
from kdyolo.datasets.demo_scene import Array, Leaf, Rng, rgb

VERSION = 1  # one more whenever the same numbers give other files
CLASSES: tuple[str, ...] = ("early_blight", "late_blight", "leaf_mold", "septoria")
CLASS_SHARES = (0.29, 0.26, 0.23, 0.22)

BACKGROUND_SHARE = 0.07  # of the images have no lesion
MAX_LESIONS = 8  # per image
LESION_DIAMETER = (0.075, 0.26)  # of the image side, log-uniform
MIN_VISIBLE = 0.4  # a lesion that would show less than this of itself is left out
LOOK_OVERLAP = 0.35  # each lesion borrows up to this share of its look from another disease; at 0.5 the classes meet
LOOK_JITTER = 0.25  # relative spread of each detail within a disease
COLOUR_JITTER = 0.05  # absolute spread of lesion brightness, and a third of it for each channel
LIGHT = 1.0  # scale of the variation of light, see `demo_scene.photograph`
BLUR = 1.0
GRAIN = 0.03

JPEG_QUALITY = 92
MIN_IMGSZ = 64
PLACING_TRIES = 6

Mask = npt.NDArray[np.bool_]


class Look(NamedTuple):
    """How a lesion looks: two colours (RGB in [0, 1]) and the strength of each detail (0 = absent)."""

    centre: tuple[float, ...]
    halo: tuple[float, ...]
    halo_width: float  # of the radius
    halo_strength: float
    rings: float
    rim: float  # < 0 dark, > 0 pale
    dots: float
    mottle: float
    roughness: float  # of the outline, in radii
    softness: float  # of the outline, in radii


LOOKS: dict[str, Look] = {
    "early_blight": Look((0.42, 0.29, 0.17), (0.72, 0.69, 0.22), 0.22, 0.75, 0.27, -0.25, 0.0, 0.04, 0.05, 0.08),
    "late_blight": Look((0.38, 0.30, 0.20), (0.60, 0.65, 0.42), 0.26, 0.60, 0.02, 0.42, 0.0, 0.08, 0.12, 0.16),
    "leaf_mold": Look((0.46, 0.38, 0.19), (0.70, 0.71, 0.25), 0.30, 0.65, 0.02, -0.03, 0.0, 0.17, 0.08, 0.36),
    "septoria": Look((0.50, 0.41, 0.29), (0.67, 0.66, 0.26), 0.13, 0.50, 0.04, -0.50, 1.0, 0.04, 0.04, 0.07),
}


class Label(NamedTuple):
    """A class index and a box in pixels, right and bottom exclusive."""

    cls: int
    xyxy: tuple[int, int, int, int]


def generate(out: Path, *, images: int = 400, imgsz: int = 320, seed: int = 0, workers: int | None = None) -> Path:
    """Write the demo set as a YOLO folder: `images/*.jpg`, `labels/*.txt`, and `data.yaml` with nothing but the names.

    The result depends on `images`, `imgsz` and `seed` only, and image i is the same in a set of any length. A label
    line is `class cx cy w h`, normalised to [0, 1]; an image without lesions has an empty label file. `out` fills at
    the very end, so an interrupted call leaves it empty.

    Args:
        out: New or empty folder.
        images: Number of images, >= 1.
        imgsz: Side of the square images in pixels, >= 64.
        seed: >= 0.
        workers: Number of threads, >= 1; that of the CPU cores if None.

    Returns:
        `out`.

    Raises:
        FileExistsError: `out` holds something already.
        ValueError: A number is out of its range.
    """
    if images < 1 or imgsz < MIN_IMGSZ or seed < 0 or (workers is not None and workers < 1):
        raise ValueError(f"need images >= 1, imgsz >= {MIN_IMGSZ}, seed >= 0 and workers >= 1")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise FileExistsError(f"{out} is not an empty folder: choose another folder, or move this one away")
    out.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".partial-", dir=out) as partial:
        _write_dataset(Path(partial), images, imgsz, seed, workers or os.cpu_count() or 1)
        for part in ("images", "labels", "data.yaml"):
            (Path(partial) / part).rename(out / part)
    return out


def _write_dataset(folder: Path, images: int, imgsz: int, seed: int, workers: int) -> None:
    for part in ("images", "labels"):
        (folder / part).mkdir()

    def write(index: int) -> None:
        # A random stream for each image: the order in which threads take them cannot matter.
        rng = np.random.default_rng(np.random.SeedSequence([seed, index]))
        _write_example(folder, f"leaf_{index:05d}", *_draw_example(rng, imgsz))

    # Threads rather than processes: NumPy and OpenCV release the GIL, and forking a program that holds torch may hang.
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(write, range(images)))
    names = dict(enumerate(CLASSES))
    (folder / "data.yaml").write_text(yaml.safe_dump({"names": names}, sort_keys=False), encoding="utf-8")


def _write_example(folder: Path, stem: str, picture: Array, labels: list[Label]) -> None:
    size = picture.shape[0]
    bgr = np.rint(picture[..., ::-1] * 255).astype(np.uint8)
    jpeg = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1]
    (folder / "images" / f"{stem}.jpg").write_bytes(jpeg.tobytes())
    lines = []
    for cls, (x1, y1, x2, y2) in labels:
        xywhn = ((x1 + x2) / 2 / size, (y1 + y2) / 2 / size, (x2 - x1) / size, (y2 - y1) / size)
        lines.append(" ".join([str(cls), *(f"{value:.6f}" for value in xywhn)]) + "\n")
    (folder / "labels" / f"{stem}.txt").write_text("".join(lines), encoding="utf-8", newline="\n")


def _draw_example(rng: Rng, size: int) -> tuple[Array, list[Label]]:
    canvas = scene.background(rng, size)
    leaves = [scene.leaf(rng, size) for _ in range(rng.integers(3, 7))]
    for leaf in leaves:
        scene.blemish(rng, leaf)
    labels = [] if rng.random() < BACKGROUND_SHARE else _infect(rng, leaves)
    for leaf in leaves:
        scene.lay(canvas, leaf)
    scene.clutter(rng, canvas)
    return scene.photograph(rng, canvas, light=LIGHT, blur=BLUR, grain=GRAIN), labels


# --- lesions ---------------------------------------------------------------------------------------------------------


def _infect(rng: Rng, leaves: list[Leaf]) -> list[Label]:
    """Paint lesions onto the leaves, which are ordered from bottom to top, and return their labels."""
    size = leaves[0].alpha.shape[0]
    top = np.full((size, size), -1)  # the leaf that is seen at each pixel
    for index, leaf in enumerate(leaves):
        top[leaf.alpha > 0.5] = index
    taken = np.zeros((size, size), np.bool_)
    # A photograph shows one plant, which rarely has more than two diseases.
    diseases = rng.choice(len(CLASSES), 2, p=CLASS_SHARES)
    labels = []
    for _ in range(rng.integers(1, MAX_LESIONS + 1)):
        cls = int(rng.choice(diseases))
        tries = (_try_lesion(rng, leaves, top, taken, cls) for _ in range(PLACING_TRIES))
        label = next((label for label in tries if label), None)
        if label:
            labels.append(label)
    return labels


def _try_lesion(rng: Rng, leaves: list[Leaf], top: npt.NDArray[np.int_], taken: Mask, cls: int) -> Label | None:
    """Paint one lesion at a random place, or paint nothing and return None where too little of it would show."""
    size = taken.shape[0]
    seen = np.flatnonzero(top >= 0)
    if seen.size == 0:
        return None
    y, x = divmod(int(rng.choice(seen)), size)
    low, high = np.log(LESION_DIAMETER)
    colour, alpha = _lesion(rng, _look(rng, cls), size * math.exp(rng.uniform(low, high)) / 2)
    reach = alpha.shape[0] // 2
    # The patch may stick out of the picture: `area` is what they share in the picture, `cut` the same in the patch.
    area = (slice(max(0, y - reach), y + reach + 1), slice(max(0, x - reach), x + reach + 1))
    cut = (slice(max(0, reach - y), size - y + reach), slice(max(0, reach - x), size - x + reach))
    drawn = alpha >= 0.5
    same_leaf = top[area] == top[y, x]
    visible = drawn[cut] & same_leaf
    touches = (alpha[cut] > 0.1) & same_leaf & taken[area]
    if visible.sum() < MIN_VISIBLE * drawn.sum() or touches.any():
        return None
    taken[area] |= visible
    surface = leaves[top[y, x]].colour[area]
    shade = surface.mean(axis=2, keepdims=True)
    scene.tint(surface, alpha[cut], colour[cut] * (shade / shade.mean()).clip(0.75, 1.25))
    left, upper, width, height = cv2.boundingRect(visible.astype(np.uint8))
    left, upper = left + area[1].start, upper + area[0].start
    return Label(cls, (left, upper, left + width, upper + height))


def _look(rng: Rng, cls: int) -> Look:
    """The look of one lesion: that of its disease, blended with another one and jittered."""
    other = (cls + int(rng.integers(1, len(CLASSES)))) % len(CLASSES)
    own, borrowed = np.hstack(LOOKS[CLASSES[cls]]), np.hstack(LOOKS[CLASSES[other]])
    look = own + rng.uniform(0, LOOK_OVERLAP) * (borrowed - own)
    look[:6] += rng.normal(0, COLOUR_JITTER) + rng.normal(0, COLOUR_JITTER / 3, 6)
    look[6:] *= np.exp(rng.normal(0, LOOK_JITTER, look.size - 6))
    return Look(tuple(look[:3]), tuple(look[3:6]), *look[6:].tolist())


def _lesion(rng: Rng, look: Look, radius: float) -> tuple[Array, Array]:
    """Colour (P, P, 3) and opacity (P, P) of a lesion of `radius` pixels, in the middle of a patch of odd side P."""
    reach = int(2 * radius) + 1
    ys, xs = np.indices((2 * reach + 1, 2 * reach + 1), np.float32) - reach
    angle, stretch = rng.uniform(0, math.pi), rng.uniform(1.0, 1.2)
    along, across = xs * math.cos(angle) + ys * math.sin(angle), ys * math.cos(angle) - xs * math.sin(angle)
    # Distance from the centre, 1 on the outline. Rings follow the bends of the outline, not its roughness.
    smooth = np.hypot(along / stretch, across * stretch) / radius + 0.07 * scene.noise(rng, xs.shape, 5)
    rho = smooth + look.roughness * scene.noise(rng, xs.shape, 12, 3)
    body = ((1 - rho) / max(look.softness, 1.5 / radius) + 0.5).clip(0, 1)
    halo = look.halo_strength * np.exp(-(((rho - 1).clip(0) / look.halo_width) ** 2))
    rim = np.exp(-(((rho - 0.9) / 0.12) ** 2))

    tone = 1 + look.rings * np.cos(rng.uniform(2.5, 4.5) * 2 * math.pi * smooth)
    sigma = max(0.8, 0.06 * radius)
    mottle = 2 * math.sqrt(math.pi) * sigma * scene.blurred(rng.standard_normal(xs.shape, np.float32), sigma)
    tone += min(look.rim, 0) * rim + look.mottle * mottle
    colour = scene.shaded(rgb(*look.centre), tone)
    pale = (max(look.rim, 0) * rim * (1 + 0.4 * scene.noise(rng, xs.shape, reach / 2))).clip(0, 1)
    scene.tint(colour, pale, rgb(0.78, 0.78, 0.70))
    _dot(rng, colour, radius, rng.poisson(10 * look.dots))
    scene.tint(colour, 1 - body, rgb(*look.halo))
    return colour.clip(0.03, 1), np.maximum(0.96 * body, halo).clip(0, 1)


def _dot(rng: Rng, colour: Array, radius: float, count: int) -> None:
    """Draw `count` tiny dark fruiting bodies into the inner part of a lesion patch, in place."""
    side = colour.shape[0]
    mask = np.zeros((side, side), np.uint8)
    for _ in range(count):
        angle, distance = rng.uniform(0, 2 * math.pi), radius * math.sqrt(rng.uniform(0, 0.5))
        x, y = (16 * (side // 2 + distance * part) for part in (math.cos(angle), math.sin(angle)))
        cv2.circle(mask, (round(x), round(y)), round(16 * max(0.8, 0.05 * radius)), 255, -1, cv2.LINE_AA, shift=4)
    scene.blend(colour, mask, rgb(0.10, 0.08, 0.06), 0.85)
