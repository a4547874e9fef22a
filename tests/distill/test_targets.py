"""Boxes to be shown are of all classes alike, apart from each other, and inside."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from kdyolo.boxes import iou_matrix, xywh_to_xyxy
from kdyolo.distill.targets import MARGIN, sample_targets


@given(st.integers(1, 40), st.integers(1, 9), st.integers(0, 2**32), st.booleans(), st.tuples(*[st.floats(-1, 1)] * 2))
def test_targets_are_balanced_apart_and_inside_whatever_the_jitter(images, nc, seed, flip, shift):
    targets = sample_targets(images, nc, seed)
    counts = np.bincount(targets.cls, minlength=nc)
    assert counts.max() - counts.min() <= 1
    each = np.bincount(targets.image, minlength=images)
    assert (each.min(), len(each)) >= (1, images)
    assert each.max() <= 3
    assert (np.diff(targets.image) >= 0).all()
    dx, dy = np.array(shift) * MARGIN
    xyxy = xywh_to_xyxy(targets.moved(flip, dx, dy))
    assert xyxy.min() >= -1e-9
    assert xyxy.max() <= 1 + 1e-9
    for index in range(images):
        own = xywh_to_xyxy(targets.xywhn[targets.image == index])
        assert (iou_matrix(own, own) - np.eye(len(own))).max() <= 0.1 + 1e-9


def test_a_part_has_the_boxes_of_its_images_and_counts_them_from_zero():
    whole = sample_targets(9, 3, 5)
    parts = [whole.part(range(at, min(at + 4, 9))) for at in (0, 4, 8)]
    assert np.concatenate([part.image + at for part, at in zip(parts, (0, 4, 8), strict=True)]).tolist() == (
        whole.image.tolist()
    )
    assert np.array_equal(np.concatenate([part.xywhn for part in parts]), whole.xywhn)
    assert np.concatenate([part.cls for part in parts]).tolist() == whole.cls.tolist()
    assert all(part.image.min() == 0 for part in parts)
