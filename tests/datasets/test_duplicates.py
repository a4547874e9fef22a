"""Copies of a picture are found whatever was done to them, and different pictures are not taken for copies."""

import io
import time

import numpy as np
import pytest
from builders import pixels
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from kdyolo.datasets.duplicates import components, find_pairs
from kdyolo.datasets.signatures import LENGTH, signature

SIZE = (320, 240)
COUNT = 40


def recompressed(image, quality):
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer)


COPIES = {
    "half": lambda image: image.resize((160, 120), Image.Resampling.BILINEAR),
    "quarter": lambda image: image.resize((80, 60), Image.Resampling.BILINEAR),
    "q50": lambda image: recompressed(image, 50),
    "q30": lambda image: recompressed(image, 30),
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.2),
    "darker": lambda image: ImageEnhance.Brightness(image).enhance(0.8),
    "blurred": lambda image: image.filter(ImageFilter.GaussianBlur(1)),
}
MIRRORED = {
    "left-right": ImageOps.mirror,
    "up-down": ImageOps.flip,
    "both": lambda image: ImageOps.mirror(ImageOps.flip(image)),
}


@pytest.fixture(scope="module")
def pictures():
    return [Image.fromarray(pixels(seed, SIZE)) for seed in range(COUNT)]


@pytest.fixture(scope="module")
def originals(pictures):
    return [signature(picture) for picture in pictures]


def found(originals, copies):
    """Kind of the pair of each picture and its copy; None where it was not found."""
    kinds = {(p.first, p.second): p.kind for p in find_pairs([*originals, *copies])}
    return [kinds.get((i, i + len(originals))) for i in range(len(originals))]


def test_different_pictures_are_no_copies(originals):
    assert find_pairs(originals) == []


@pytest.mark.parametrize("how", COPIES)
def test_a_changed_copy_is_near(pictures, originals, how):
    copies = [signature(COPIES[how](picture)) for picture in pictures]
    assert found(originals, copies).count("near") >= 0.95 * COUNT


@pytest.mark.parametrize("how", MIRRORED)
def test_a_mirrored_copy_is_flipped(pictures, originals, how):
    copies = [signature(MIRRORED[how](picture)) for picture in pictures]
    assert found(originals, copies).count("flipped") >= 0.95 * COUNT


def test_blank_images_and_missing_signatures_are_like_nothing():
    blank = [signature(Image.new("RGB", SIZE, (level, level, level))) for level in (0, 0, 1, 128, 255)]
    assert all(len(one) == LENGTH for one in blank)
    assert find_pairs([*blank, b"", b""]) == []


def test_the_order_of_the_images_decides_nothing(pictures, originals):
    some = [*originals[:10], *(signature(COPIES["half"](p)) for p in pictures[:10])]
    shuffled = np.random.default_rng(0).permutation(len(some)).tolist()
    names = {frozenset((p.first, p.second)) for p in find_pairs(some)}
    again = {frozenset((shuffled[p.first], shuffled[p.second])) for p in find_pairs([some[i] for i in shuffled])}
    assert names == again != set()


def test_pairs_are_ordered_and_say_how_far_apart(pictures, originals):
    pairs = find_pairs([*originals, signature(COPIES["q30"](pictures[3]))])
    assert [(p.first, p.second, p.kind) for p in pairs] == [(3, COUNT, "near")]
    assert 0 <= pairs[0].distance <= 7


def test_thousands_of_the_same_hang_together_in_no_time(originals):
    many = [originals[0]] * 5000 + [originals[1]] * 5000
    started = time.monotonic()
    pairs = find_pairs(many)
    assert time.monotonic() - started < 20  # all pairs would be twenty-five million
    assert len(pairs) < 4 * len(many)
    groups = components(len(many), ((p.first, p.second) for p in pairs))
    assert groups == [0] * 5000 + [5000] * 5000


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        ([], [0, 1, 2, 3]),
        ([(2, 3)], [0, 1, 2, 2]),
        ([(1, 3), (3, 0)], [0, 0, 2, 0]),
        ([(3, 2), (2, 1), (1, 0)], [0] * 4),
    ],
)
def test_components_are_named_by_their_smallest_member(pairs, expected):
    assert components(4, pairs) == expected
