"""Attention transfer: where a map is active, all channels taken together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kdyolo.distill.info import MethodInfo

if TYPE_CHECKING:
    from torch import Tensor

    from kdyolo.distill.outputs import HeadOutput

INFO = MethodInfo(
    name="at",
    family="feature",
    paper="Zagoruyko and Komodakis, 'Paying More Attention to Attention: Improving the Performance of Convolutional "
    "Neural Networks via Attention Transfer', ICLR 2017",
    url="https://arxiv.org/abs/1612.03928",
    formula="mean of squares over channels, made a vector of length 1 over the cells; squared distance of teacher and "
    "student, mean over images, sum over levels",
    equation="sum_l mean_b || Q_s/|Q_s| - Q_t/|Q_t| ||^2, Q = mean_c f^2",
    differs="squared distance, so that it does not depend on the size of the map",
    cost="small: one pass over both maps, no parameters",
    use="where an adapter is not wanted; it says where to look, not what to see",
)


def loss(student: HeadOutput, teacher: HeadOutput) -> Tensor:
    """The term of a batch."""
    from kdyolo.distill import maths

    pairs = maths.level_pairs(student, teacher)
    return maths.total([(_attention(z) - _attention(y)).square().sum(1).mean() for z, y in pairs])


def _attention(feature: Tensor) -> Tensor:
    from torch.nn import functional

    return functional.normalize(feature.square().mean(1).flatten(1), dim=1)
