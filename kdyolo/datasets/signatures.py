"""Perceptual signature of an image: what stays the same when a picture is resized, recompressed, brightened or blurred.

A signature is a small grey thumbnail. Two things are made of it when images are compared: a `codes` hash of 64 bits by
which look-alikes are found quickly, and its `details`, by which they are told from pictures that only have the same
layout of light and dark.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

WIDTH, HEIGHT = 18, 16
LENGTH = WIDTH * HEIGHT + 2
CODE_BITS = 64
FLIPS = ((0, 1), (1, 0), (1, 1))  # whether up-down, whether left-right
_FINE = 4  # pixels a cell, each way
_FLAT = 0.5  # grey levels
_FREQUENCIES = 12  # along each axis, from which the bits of a hash are taken
_BLOCK = 4096  # thumbnails at a time

Thumbnails = NDArray[np.uint8]
Codes = NDArray[np.uint64]
Details = NDArray[np.float32]


def signature(image: Image.Image, box: tuple[float, float, float, float] | None = None) -> bytes:
    """Signature of an upright 8-bit image: a grey thumbnail of 18 x 16 cells, row by row, its contrast stretched.

    The darkest cell is 0, the brightest 255; all are 0 where the picture shows nothing (a black frame, an empty sheet).
    Two more bytes are the grey levels these two had before.

    Args:
        image: In any mode that Pillow can turn into grey.
        box: Left, upper, right and lower edge (px) where the picture does not fill the image.
    """
    grey = image if image.mode == "L" else image.convert("L")
    # Not Pillow's box filter, which takes pixels whole or not at all; and not at once, for whole levels are too coarse.
    fine = grey.resize((_FINE * WIDTH, _FINE * HEIGHT), Image.Resampling.HAMMING, box)
    cells = np.asarray(fine, dtype=np.float32).reshape(HEIGHT, _FINE, WIDTH, _FINE).mean(axis=(1, 3))
    low, high = float(cells.min()), float(cells.max())
    stretch = 0.0 if cells.std() < _FLAT else 255 / (high - low)
    return bytes([*np.rint((cells - low) * stretch).astype(np.uint8).flat, round(low), round(high)])


def thumbnails(signatures: Sequence[bytes]) -> Thumbnails:
    """The stretched thumbnails of signatures, none of which is empty: (N, 16, 18)."""
    return _rows(signatures)[:, :-2].reshape(-1, HEIGHT, WIDTH)


def grey_levels(signatures: Sequence[bytes]) -> NDArray[np.float64]:
    """The thumbnails as they were before their contrast was stretched: (N, 16, 18), 0-255."""
    low, high = _rows(signatures)[:, -2:].astype(np.float64).T[:, :, None, None]
    return np.asarray(low + thumbnails(signatures) * ((high - low) / 255))


def _rows(signatures: Sequence[bytes]) -> NDArray[np.uint8]:
    return np.frombuffer(b"".join(signatures), dtype=np.uint8).reshape(-1, LENGTH)


def is_flat(grey: Thumbnails) -> NDArray[np.bool_]:
    """Which of the thumbnails (N, 16, 18) show nothing: (N,)."""
    return np.asarray(grey.max(axis=(1, 2)) == 0)


def codes(grey: Thumbnails) -> Codes:
    """Perceptual hashes of thumbnails (N, 16, 18), 64 bits each: (4, N), as they are and for each of `FLIPS`.

    The signs of the 64 lowest frequencies of the discrete cosine transform, the mean left out (pHash: C. Zauner,
    "Implementation and benchmarking of perceptual image hash functions", 2010, 3.2.1, with 0 for the median).
    Neighbouring frequencies go to different 16-bit parts of a hash.
    """
    order = sorted(np.ndindex(_FREQUENCIES, _FREQUENCIES), key=lambda k: (k[0] + k[1], abs(k[0] - k[1]), k))
    chosen: NDArray[np.int64] = np.array(order[1 : CODE_BITS + 1]).reshape(-1, 4, 2).swapaxes(0, 1).reshape(-1, 2)
    down, across = _cosines(HEIGHT)[chosen[:, 0]], _cosines(WIDTH)[chosen[:, 1]]
    waves = (down[:, :, None] * across[:, None, :]).reshape(CODE_BITS, -1).T
    # A wave of odd frequency changes its sign when it is mirrored.
    signs = [np.prod(1 - 2 * (chosen % 2) * flip, axis=1) for flip in ((0, 0), *FLIPS)]
    result = np.empty((len(signs), len(grey)), dtype=np.uint64)
    for start in range(0, len(grey), _BLOCK):
        cells = grey[start : start + _BLOCK].reshape(-1, len(waves)).astype(np.float64)
        # Whole numbers below 2^53 throughout, so the signs are the same on every machine.
        found = (len(waves) * cells - cells.sum(axis=1, keepdims=True)) @ waves
        for code, sign in zip(result, signs, strict=True):
            code[start : start + _BLOCK] = np.packbits(found * sign > 0, axis=1).view(np.uint64)[:, 0]
    return result


def _cosines(cells: int) -> NDArray[np.float64]:
    """The first cosines of the DCT over some cells, rounded to whole numbers: (12, cells)."""
    frequency, cell = np.arange(_FREQUENCIES)[:, None], np.arange(cells)[None, :]
    return np.asarray(np.rint(1024 * np.cos(np.pi * frequency * (cell + 0.5) / cells)))


def details(grey: Thumbnails) -> Details:
    """What distinguishes each cell from its surroundings, for thumbnails (N, 16, 18): (N, 16, 18), vectors of length 1.

    The product of two is the correlation of the pictures' details; slow changes of light across them do not count.
    """
    result = np.empty(grey.shape, dtype=np.float32)
    for start in range(0, len(grey), _BLOCK):
        some = grey[start : start + _BLOCK].astype(np.float32)
        padded = np.pad(some, ((0, 0), (1, 1), (1, 1)), mode="edge")
        around = sum(padded[:, y : y + HEIGHT, x : x + WIDTH] for y in range(3) for x in range(3))
        fine = some - around / np.float32(9)
        fine -= fine.mean(axis=(1, 2), keepdims=True)
        length = np.sqrt(np.square(fine).sum(axis=(1, 2), keepdims=True))
        result[start : start + _BLOCK] = fine / np.maximum(length, np.float32(1e-6))
    return result
