import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from kdyolo import boxes

corners = arrays(np.float64, st.tuples(st.integers(0, 6), st.just(4)), elements=st.floats(-500, 500))


@given(corners)
def test_centre_and_corners_are_inverse(xyxy):
    assert np.allclose(boxes.xywh_to_xyxy(boxes.xyxy_to_xywh(xyxy)), xyxy)


@given(corners, st.integers(1, 4000), st.integers(1, 4000))
def test_normalise_and_denormalise_are_inverse(xyxy, width, height):
    assert np.allclose(boxes.denormalise(boxes.normalise(xyxy, width, height), width, height), xyxy)


@given(corners, corners)
def test_iou_is_symmetric_and_between_0_and_1(a, b):
    iou = boxes.iou_matrix(a, b)
    assert iou.shape == (len(a), len(b))
    assert ((iou >= 0) & (iou <= 1 + 1e-9)).all()
    assert np.allclose(iou, boxes.iou_matrix(b, a).T)


def test_known_values():
    assert boxes.xyxy_to_xywh(np.array([[10, 20, 30, 60]])).tolist() == [[20, 40, 20, 40]]
    assert boxes.area_xyxy(np.array([[0, 0, 2, 3], [5, 5, 1, 9]])).tolist() == [6, 0]
    iou = boxes.iou_matrix(np.array([[0, 0, 2, 2]]), np.array([[1, 0, 3, 2], [0, 0, 2, 2], [5, 5, 6, 6], [1, 1, 1, 1]]))
    assert iou[0] == pytest.approx([1 / 3, 1, 0, 0])


def test_empty_boxes_are_no_special_case():
    none = np.zeros((0, 4))
    assert boxes.iou_matrix(none, np.zeros((3, 4))).shape == (0, 3)
    assert boxes.iou_matrix(np.zeros((1, 4)), np.zeros((1, 4))).tolist() == [[0]]
    assert boxes.xywh_to_xyxy(none).shape == (0, 4)
