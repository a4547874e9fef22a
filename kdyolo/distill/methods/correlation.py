"""Channel correlation: which channels rise and fall together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kdyolo.distill.info import MethodInfo

if TYPE_CHECKING:
    from torch import Tensor

    from kdyolo.distill.outputs import HeadOutput

INFO = MethodInfo(
    name="correlation",
    family="relation",
    paper="Liu et al., 'Exploring Inter-Channel Correlation for Diversity-preserved Knowledge Distillation', ICCV 2021",
    url="https://arxiv.org/abs/2202.03680",
    formula="correlation of each pair of channels over all cells of the batch; mean squared difference of teacher and "
    "student, sum over levels",
    equation="sum_l MSE(R_s, R_t), R = X X^T / (B H W), X = norm(f) as C x BHW",
    differs="channels are normalised first, so that R holds correlations, not products; one matrix a batch, where the "
    "paper has one an image",
    cost="the most of all: an adapter, and a product of all pairs of teacher channels",
    use="experimental for detectors",
    weight=3.0,
    adapter=1,
)


def loss(student: HeadOutput, teacher: HeadOutput) -> Tensor:
    """The term of a batch; the student's maps have the teacher's channels already."""
    from torch.nn import functional

    from kdyolo.distill import maths

    return maths.total([functional.mse_loss(_matrix(z), _matrix(y)) for z, y in maths.level_pairs(student, teacher)])


def _matrix(feature: Tensor) -> Tensor:
    from kdyolo.distill import maths

    x = maths.normalise(feature).transpose(0, 1).flatten(1)
    return x @ x.T / x.shape[1]
