"""The stage of the demo pictures: backgrounds, leaves, clutter and the camera; `demo` adds the lesions.

Colours are RGB in [0, 1]. Everything is drawn on square float32 canvases of side S and scales with S.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.floating]
ByteMask = npt.NDArray[np.uint8]
Rng = np.random.Generator


@dataclass
class Leaf:
    """One leaf, not yet composited: `colour` (S, S, 3) and `alpha` (S, S), 1 where the leaf covers what lies below."""

    colour: Array
    alpha: Array


# --- brushes ---------------------------------------------------------------------------------------------------------


def rgb(*channels: float) -> Array:
    """A colour as an array that does not promote float32 pictures to float64."""
    return np.array(channels, np.float32)


def shaded(colour: Array, shade: Array) -> Array:
    """Picture (H, W, 3) of one colour (3,) under the brightness `shade` (H, W)."""
    return np.asarray(cv2.merge([shade * channel for channel in colour]))


def noise(rng: Rng, shape: tuple[int, int], cells: float, octaves: int = 1) -> Array:
    """Smooth random field of about zero mean and unit spread, with `cells` bumps along its longer side.

    Each further octave has twice the cells and about half the amplitude.
    """
    rows, cols = (int(side * cells / max(shape)) + 2 for side in shape)
    field: Array = rng.standard_normal((rows, cols), np.float32)
    for octave in range(1, octaves):
        # Growing the sum step by step takes one resize to full size in place of one for each octave.
        rows, cols = 2 * rows, 2 * cols
        field = np.asarray(cv2.resize(field, (cols, rows), interpolation=cv2.INTER_CUBIC), np.float32)
        field += 0.55**octave * rng.standard_normal((rows, cols), np.float32)
    return 1.3 * np.asarray(cv2.resize(field, shape[::-1], interpolation=cv2.INTER_CUBIC), np.float32)


def blurred(image: Array, sigma: float) -> Array:
    """The image (H, W) or (H, W, 3) after a Gaussian blur of `sigma` pixels."""
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), np.float32)


def tint(image: Array, alpha: Array, colour: Array) -> None:
    """Mix `colour`, (3,) or (H, W, 3), into the image (H, W, 3) in place, `alpha` (H, W) of it in each pixel."""
    # One channel at a time: NumPy is several times slower when it broadcasts over a last axis of length 3.
    for channel in range(3):
        image[..., channel] += alpha * (colour[..., channel] - image[..., channel])


def blend(image: Array, mask: ByteMask, colour: Array, opacity: float = 1.0) -> None:
    """Paint `colour` (3,) in place through a mask; masks are 8-bit because OpenCV anti-aliases nothing else."""
    x, y, w, h = cv2.boundingRect(mask)
    window = (slice(y, y + h), slice(x, x + w))
    tint(image[window], mask[window] * np.float32(opacity / 255), colour)


def polyline(mask: ByteMask, points: npt.NDArray[np.float64], width: int = 1, value: int = 255) -> None:
    """Draw the open line through `points` (N, 2) with sub-pixel precision."""
    cv2.polylines(mask, [np.rint(points * 16).astype(np.int32)], False, value, width, cv2.LINE_AA, shift=4)


def blob(rng: Rng, size: int, radius: float, wobble: float = 0.25) -> ByteMask:
    """Mask (S, S) of one wobbly disc at a random place."""
    angle = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    outline = np.full(24, radius)
    for k in (1, 2, 3):
        outline += radius * rng.normal(0, wobble / k) * np.cos(k * angle + rng.uniform(0, 2 * np.pi))
    points = rng.uniform(0, size, 2) + outline[:, None] * np.stack([np.cos(angle), np.sin(angle)], 1)
    mask = np.zeros((size, size), np.uint8)
    cv2.fillPoly(mask, [np.rint(points * 16).astype(np.int32)], 255, cv2.LINE_AA, shift=4)
    return mask


def strokes(rng: Rng, size: int, count: int, length: float, width: int) -> ByteMask:
    """Mask (S, S) of randomly laid, slightly bent lines."""
    mask = np.zeros((size, size), np.uint8)
    for _ in range(count):
        heading = rng.uniform(0, 2 * np.pi) + np.cumsum(rng.normal(0, 0.15, 6))
        steps = np.stack([np.cos(heading), np.sin(heading)], 1) * (length * rng.uniform(0.5, 1.0) / 6)
        polyline(mask, rng.uniform(0, size, 2) + np.cumsum(steps, 0), width)
    return mask


# --- things ----------------------------------------------------------------------------------------------------------

# Name: share of the pictures, base colour, relief.
BACKGROUNDS = {
    "soil": (0.30, rgb(0.32, 0.24, 0.17), 0.22),
    "foliage": (0.40, rgb(0.14, 0.24, 0.09), 0.15),
    "straw": (0.15, rgb(0.28, 0.22, 0.14), 0.15),
    "bench": (0.15, rgb(0.55, 0.55, 0.53), 0.03),
}


def background(rng: Rng, size: int) -> Array:
    """What lies behind the leaves, out of focus: (S, S, 3)."""
    kind = str(rng.choice(list(BACKGROUNDS), p=[share for share, _, _ in BACKGROUNDS.values()]))
    _, base, relief = BACKGROUNDS[kind]
    canvas = shaded(base * rng.uniform(0.7, 1.3), 1 + relief * noise(rng, (size, size), 6, 5))
    if kind == "foliage":
        for _ in range(14):
            shade = rgb(0.25, 0.42, 0.14) * rng.uniform(0.3, 1.2)
            blend(canvas, blob(rng, size, size * rng.uniform(0.06, 0.2), 0.5), shade, 0.8)
    elif kind == "straw":
        for _ in range(4):
            shade = rgb(0.66, 0.55, 0.33) * rng.uniform(0.5, 1.2)
            blend(canvas, strokes(rng, size, 18, size * 0.5, max(1, size // 110)), shade, 0.8)
    elif kind == "soil":
        for _ in range(12):
            grey = rng.uniform(0.15, 0.5)
            blend(canvas, blob(rng, size, size * rng.uniform(0.008, 0.03)), rgb(grey, grey, grey), 0.7)
    blur = size * (rng.uniform(0.008, 0.022) if kind == "foliage" else rng.uniform(0.001, 0.008))
    return blurred(canvas, blur).clip(0.02, 1)


def leaf(rng: Rng, size: int) -> Leaf:
    """A lobed leaf with veins at a random place, angle and scale."""
    length = size * rng.uniform(0.65, 1.25)
    along, across = _leaf_axes(rng, size, length)
    reach = np.abs(across)
    pairs = int(rng.integers(6, 10))
    # Side veins run obliquely outward and end in the tips of the lobes, so both follow the same phase.
    phase = pairs * (along - 0.75 * reach) + 0.3 * (across > 0).astype(np.float32)
    inner = along.clip(0, 1)
    lobes = 1 - rng.uniform(0.08, 0.28) * (1 - np.abs(np.sin(np.pi * phase)))
    half = rng.uniform(0.55, 0.8) * inner**0.6 * (1 - inner) ** 0.85 * lobes
    stalk = (along > -0.4) & (along < 0.03)
    half[stalk] = np.maximum(half[stalk], 0.012)
    edge = ((half - reach) * length + 0.5).clip(0, 1)

    off_midrib = reach * length / (size * 0.007 * (1.25 - inner))
    off_vein = np.abs(phase - np.floor(phase) - 0.5) * (length / (pairs * size * 0.0045))
    veins = np.maximum(np.exp(-(off_midrib**2)), 0.7 * np.exp(-(off_vein**2)))
    veins = np.maximum(veins, 0.2 * np.exp(-((4 * noise(rng, reach.shape, 26)) ** 2)))
    fold = math.copysign(0.1, rng.normal()) * np.sign(across) * np.minimum(1, reach * 12)
    relief = fold + 0.09 * np.cos(2 * np.pi * phase) + 0.07 * noise(rng, reach.shape, 5, 3)
    return Leaf(_leaf_colour(rng, relief, veins), blurred(edge, 0.7))


def _leaf_axes(rng: Rng, size: int, length: float) -> tuple[Array, Array]:
    """Coordinates (S, S) along the midrib (0 base, 1 tip) and across it, in leaf lengths, with a slight bend."""
    x0, y0 = size * rng.uniform(0.12, 0.88), size * rng.uniform(0.12, 0.88)
    angle = rng.uniform(0, 2 * math.pi)
    ys, xs = np.indices((size, size), np.float32)
    along = ((xs - x0) * math.cos(angle) + (ys - y0) * math.sin(angle)) / length + 0.5
    across = ((ys - y0) * math.cos(angle) - (xs - x0) * math.sin(angle)) / length
    across += rng.normal(0, 0.25) * (along - 0.5) ** 2 + 0.006 * noise(rng, (size, size), 8)
    return along, across


def _leaf_colour(rng: Rng, relief: Array, veins: Array) -> Array:
    size = relief.shape[0]
    green = rgb(rng.uniform(0.22, 0.40), rng.uniform(0.42, 0.56), rng.uniform(0.10, 0.20))
    colour = shaded(green * rng.uniform(0.65, 1.1), 1 + relief)
    tint(colour, rng.uniform(0.25, 0.45) * veins, rgb(0.66, 0.76, 0.42))
    tint(colour, rng.uniform(0, 0.09) * noise(rng, (size, size), 3, 3).clip(0, 2), rgb(0.85, 0.92, 0.95))
    return colour


def blemish(rng: Rng, leaf: Leaf) -> None:
    """Harmless marks that a detector must learn to ignore: yellowing, holes, soil specks, scratches."""
    size = leaf.alpha.shape[0]
    if rng.random() < 0.4:
        yellow = rng.uniform(0.2, 0.7) * (noise(rng, leaf.alpha.shape, 3) - 0.6).clip(0, 1)
        tint(leaf.colour, yellow, rgb(0.66, 0.64, 0.22))
    for _ in range(rng.poisson(0.5)):
        hole = blob(rng, size, size * rng.uniform(0.012, 0.03))
        rim = np.asarray(cv2.dilate(hole, np.ones((3, 3), np.uint8)), np.uint8)
        blend(leaf.colour, rim, rgb(0.45, 0.40, 0.20), 0.8)
        leaf.alpha *= 1 - hole.astype(np.float32) / 255
    for _ in range(rng.poisson(5)):
        blend(leaf.colour, blob(rng, size, size * rng.uniform(0.003, 0.007)), rgb(0.25, 0.18, 0.10), 0.8)
    if rng.random() < 0.3:
        blend(leaf.colour, strokes(rng, size, 3, size * 0.12, 1), rgb(0.70, 0.72, 0.55), 0.6)


def lay(canvas: Array, leaf: Leaf) -> None:
    """Put a leaf and its shadow on top of the canvas, in place."""
    size = canvas.shape[0]
    shift = np.array([[1, 0, 0.012 * size], [0, 1, 0.02 * size]], np.float32)
    shadow = cv2.warpAffine(blurred(leaf.alpha, 0.015 * size), shift, (size, size))
    tint(canvas, 0.55 * shadow, rgb(0, 0, 0))
    tint(canvas, leaf.alpha, leaf.colour)


def clutter(rng: Rng, canvas: Array) -> None:
    """Twigs, water drops and insects on top of everything, in place."""
    size = canvas.shape[0]
    if rng.random() < 0.3:
        blend(canvas, strokes(rng, size, 2, size * 0.6, max(1, size // 130)), rgb(0.36, 0.27, 0.18), 0.9)
    for _ in range(rng.integers(3, 14) if rng.random() < 0.3 else 0):
        _water_drop(rng, canvas)
    for _ in range(rng.integers(1, 5) if rng.random() < 0.2 else 0):
        _insect(rng, canvas)


def _water_drop(rng: Rng, canvas: Array) -> None:
    size = canvas.shape[0]
    drop = blob(rng, size, size * rng.uniform(0.008, 0.018), 0.1)
    inside = rgb(*cv2.mean(canvas, drop)[:3])
    blend(canvas, np.roll(drop, (2, 1), (0, 1)), rgb(0, 0, 0), 0.3)
    blend(canvas, drop, 1.15 * inside, 0.7)
    glint = cv2.erode(drop, np.ones((3, 3), np.uint8), iterations=2)
    blend(canvas, np.roll(glint, (-1, -1), (0, 1)), rgb(1, 1, 1), 0.6)


def _insect(rng: Rng, canvas: Array) -> None:
    size = canvas.shape[0]
    centre, angle = size * rng.uniform(0.05, 0.95, 2), rng.uniform(0, 360)
    along = np.array([np.cos(np.radians(angle)), np.sin(np.radians(angle))]) * size * rng.uniform(0.008, 0.014)
    across = np.array([-along[1], along[0]])
    mask = np.zeros((size, size), np.uint8)
    for step in (-0.6, 0.0, 0.6):
        polyline(mask, np.stack([centre + step * along - 1.3 * across, centre + step * along + 1.3 * across]), 1, 160)
    for step, girth in ((-0.8, 0.7), (0.2, 0.45), (0.9, 0.35)):
        x, y = (centre + step * along).tolist()
        diameter = 2 * float(np.hypot(*along))
        cv2.ellipse(mask, ((x, y), (0.9 * diameter, girth * diameter), angle), 255, -1, cv2.LINE_AA)
    blend(canvas, mask, rgb(0.10, 0.08, 0.06) * rng.uniform(0.5, 2.0), 0.95)


# --- camera ----------------------------------------------------------------------------------------------------------


def photograph(rng: Rng, canvas: Array, *, light: float, blur: float, grain: float) -> Array:
    """Photograph the scene: sun and shade, colour cast, focus, sensor noise.

    Args:
        rng: Random stream of the picture.
        canvas: Scene, (S, S, 3).
        light: Scale of the variation of light, 0 (none) to about 2.
        blur: Strongest lens blur, as the sigma in pixels of a picture with S = 320.
        grain: Strongest sensor noise, sigma.

    Returns:
        Picture (S, S, 3) in [0, 1].
    """
    size = canvas.shape[0]
    ys, xs = np.indices((size, size), np.float32) * (2 / size) - 1
    angle = rng.uniform(0, 2 * math.pi)
    exposure = 1 + light * rng.uniform(0, 0.3) * (xs * math.cos(angle) + ys * math.sin(angle))
    exposure *= 1 - light * rng.uniform(0, 0.15) * (xs**2 + ys**2)
    if rng.random() < 0.3:
        shade = blurred((noise(rng, (size, size), 3, 2) > 0.3).astype(np.float32), 0.015 * size)
        exposure *= 1 - light * rng.uniform(0.15, 0.4) * shade
    gains = rgb(*np.exp(0.35 + light * (rng.normal(0, 0.18) + rng.normal(0, 0.05, 3))))
    # A shoulder in place of clipping keeps sunlit leaves from burning out to flat patches.
    picture = 1 - np.exp(-1.3 * shaded(gains, exposure) * canvas)
    picture = blurred(picture, 0.35 + blur * rng.random() ** 2 * size / 320)
    picture += rng.standard_normal(picture.shape, np.float32) * np.float32(rng.uniform(0.15, 1) * grain)
    return picture.clip(0, 1)
