"""Pearson correlation of the maps: which pattern, never mind how strong."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kdyolo.distill.info import MethodInfo

if TYPE_CHECKING:
    from torch import Tensor

    from kdyolo.distill.outputs import HeadOutput

INFO = MethodInfo(
    name="pkd",
    family="feature",
    paper="Cao et al., 'PKD: General Distillation Framework for Object Detectors via Pearson Correlation "
    "Coefficient', NeurIPS 2022",
    url="https://arxiv.org/abs/2207.02039",
    formula="half the mean squared difference of the maps, both normalised per channel: 1 minus their correlation; "
    "sum over levels",
    equation="sum_l 1/2 MSE(norm(z), norm(y)) = sum_l mean_c (1 - r_c)",
    cost="an adapter, and one pass over all teacher channels",
    use="where the teacher is of another kind or scale than the student; the simplest of the feature methods",
    weight=2.0,
    adapter=1,
)


def loss(student: HeadOutput, teacher: HeadOutput) -> Tensor:
    """The term of a batch; the student's maps have the teacher's channels already."""
    from torch.nn import functional

    from kdyolo.distill import maths

    pairs = maths.level_pairs(student, teacher)
    return maths.total([functional.mse_loss(maths.normalise(z), maths.normalise(y)) / 2 for z, y in pairs])
