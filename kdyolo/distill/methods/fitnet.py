"""Hints: the student's maps regressed on the teacher's as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kdyolo.distill.info import MethodInfo

if TYPE_CHECKING:
    from torch import Tensor

    from kdyolo.distill.outputs import HeadOutput

INFO = MethodInfo(
    name="fitnet",
    family="feature",
    paper="Romero et al., 'FitNets: Hints for Thin Deep Nets', ICLR 2015",
    url="https://arxiv.org/abs/1412.6550",
    formula="half the mean squared difference of the adapted student map and the teacher's map, not normalised; sum "
    "over levels",
    equation="sum_l 1/2 MSE(z, y)",
    differs="beside the other losses for the whole training, where the paper has a first stage of its own; mean over "
    "elements in place of their sum",
    cost="an adapter, and one pass over all teacher channels",
    use="for comparison: channels of large scale drown the others, and background the objects",
    weight=4.0,
    adapter=1,
)


def loss(student: HeadOutput, teacher: HeadOutput) -> Tensor:
    """The term of a batch; the student's maps have the teacher's channels already."""
    from torch.nn import functional

    from kdyolo.distill import maths

    return maths.total([functional.mse_loss(z, y) / 2 for z, y in maths.level_pairs(student, teacher)])
