"""Similarity-preserving: images that look alike to the teacher shall look alike to the student."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kdyolo.distill.info import MethodInfo

if TYPE_CHECKING:
    from torch import Tensor

    from kdyolo.distill.outputs import HeadOutput

INFO = MethodInfo(
    name="sp",
    family="relation",
    paper="Tung and Mori, 'Similarity-Preserving Knowledge Distillation', ICCV 2019",
    url="https://arxiv.org/abs/1907.09682",
    formula="products of the pooled maps of all pairs of images, rows made vectors of length 1; mean squared "
    "difference of teacher and student, sum over levels",
    equation="sum_l (1/B^2) || G_s - G_t ||_F^2, G = the rows of P P^T at length 1, P = mean_HW f",
    differs="maps are averaged over their cells first: the same place in two images means nothing in detection",
    cost="next to nothing: B x B numbers a level, no parameters",
    use="experimental for detectors; needs large batches, and says nothing about a batch of one",
    weight=5.0,
)


def loss(student: HeadOutput, teacher: HeadOutput) -> Tensor:
    """The term of a batch."""
    from torch.nn import functional

    from kdyolo.distill import maths

    pairs = maths.level_pairs(student, teacher)
    return maths.total([functional.mse_loss(_similarity(z), _similarity(y)) for z, y in pairs])


def _similarity(feature: Tensor) -> Tensor:
    from torch.nn import functional

    pooled = feature.mean((2, 3))
    return functional.normalize(pooled @ pooled.T, dim=1)
