"""A network whose deeper maps show the shallower ones where to look."""

import numpy as np
import pytest
import torch
from heads import make_head

from kdyolo.distill.inside import NAME, DeepToShallow


def upsampling(n, m):
    """Weights (n, m) of bilinear interpolation of m cells to n, cell centres kept in place."""
    place = np.clip((np.arange(n) + 0.5) * m / n - 0.5, 0, m - 1)
    left = np.minimum(np.floor(place).astype(int), max(m - 2, 0))
    weights = np.zeros((n, m))
    weights[np.arange(n), left] = 1 - (place - left)
    weights[np.arange(n), np.minimum(left + 1, m - 1)] += place - left
    return weights


def attention(feature, size):
    energy = (feature.detach().double().numpy() ** 2).mean(1)
    rows, columns = upsampling(size[0], energy.shape[1]), upsampling(size[1], energy.shape[2])
    flat = np.einsum("ij,bjk,lk->bil", rows, energy, columns).reshape(len(energy), -1)
    return flat / np.linalg.norm(flat, axis=1, keepdims=True)


def reference(head):
    total = 0.0
    for shallow, deep in zip(head.features[:-1], head.features[1:], strict=True):
        size = shallow.shape[-2:]
        total += ((attention(shallow, size) - attention(deep, size)) ** 2).sum(1).mean()
    return total


@pytest.mark.parametrize("seed", [0, 5])
def test_agrees_with_a_reference_in_float64(seed):
    head = make_head(seed)
    total, parts = DeepToShallow()(head, head)
    assert (total.shape, total.dtype) == ((), torch.float32)
    assert total.item() == pytest.approx(reference(head), rel=2e-5)
    assert parts == {NAME: total}


def test_the_shallow_learn_and_the_deepest_does_not():
    head = make_head(0, grad=True)
    DeepToShallow()(head, head)[0].backward()
    gradients = [x.grad for x in head.features]
    assert all(gradient.abs().sum() > 0 for gradient in gradients[:-1])
    assert gradients[-1] is None or not gradients[-1].any()


def test_maps_active_at_the_same_places_have_nothing_to_learn():
    head = make_head(0)
    for feature in head.features:
        feature.fill_(0.7)
    assert DeepToShallow()(head, head)[0].item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("value", [0.0, 1e4])
def test_dead_and_loud_maps_stay_finite(value):
    head = make_head(0, grad=True)
    with torch.no_grad():
        for feature in head.features:
            feature.mul_(value)
    total, _ = DeepToShallow()(head, head)
    total.backward()
    assert total.isfinite()
    assert all(x.grad is None or x.grad.isfinite().all() for x in head.features)
