"""A signature is small, says the same of the same picture, and its hashes mirror as the picture does."""

import numpy as np
from builders import pixels
from PIL import Image, ImageOps

from kdyolo.datasets.signatures import (
    FLIPS,
    HEIGHT,
    LENGTH,
    WIDTH,
    codes,
    details,
    grey_levels,
    is_flat,
    signature,
    thumbnails,
)

SIZE = (200, 150)


def picture(seed=0):
    return Image.fromarray(pixels(seed, SIZE))


def test_it_is_short_and_the_same_for_the_same():
    assert len(signature(picture())) == LENGTH == HEIGHT * WIDTH + 2
    assert signature(picture()) == signature(picture()) != signature(picture(1))


def test_contrast_is_stretched_and_can_be_undone():
    darker = picture().point(lambda value: value // 2 + 20)
    both = [signature(picture()), signature(darker)]
    bright, dim = thumbnails(both).astype(float)
    assert np.abs(bright - dim).mean() < 4
    levels = grey_levels(both)
    assert np.abs(levels[1] - (levels[0] / 2 + 20)).mean() < 2


def test_a_frame_can_be_left_out():
    framed = ImageOps.expand(picture(), 30, "white")
    inner = signature(framed, (30, 30, 30 + SIZE[0], 30 + SIZE[1]))
    plain = thumbnails([signature(picture())]).astype(float)
    assert np.abs(thumbnails([inner]).astype(float) - plain).mean() < 3
    assert np.abs(thumbnails([signature(framed)]).astype(float) - plain).mean() > 10


def test_the_hash_of_a_mirrored_picture_is_known_from_the_picture():
    grey = thumbnails([signature(picture(seed)) for seed in range(20)])
    as_it_is, *mirrored = codes(grey)
    for (down, across), expected in zip(FLIPS, mirrored, strict=True):
        turned = grey[:, :: -1 if down else 1, :: -1 if across else 1]
        assert np.array_equal(codes(np.ascontiguousarray(turned))[0], expected)
    assert len(set(as_it_is.tolist())) == 20


def test_what_shows_nothing_is_known():
    shades = [Image.new("L", SIZE, level) for level in (0, 90, 255)]
    assert is_flat(thumbnails([signature(shade) for shade in shades])).all()
    assert not is_flat(thumbnails([signature(picture())])).any()


def test_details_correlate_with_themselves_only():
    found = details(thumbnails([signature(picture(seed)) for seed in range(8)])).reshape(8, -1)
    correlation = found @ found.T
    assert np.allclose(np.diag(correlation), 1, atol=1e-5)
    assert np.abs(correlation - np.eye(8)).max() < 0.9
