"""Localization distillation: the student learns how sure the teacher is of each side of a box."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kdyolo.distill.info import MethodInfo

if TYPE_CHECKING:
    from torch import Tensor

    from kdyolo.distill.outputs import HeadOutput

INFO = MethodInfo(
    name="ld",
    family="response",
    paper="Zheng et al., 'Localization Distillation for Dense Object Detection', CVPR 2022",
    url="https://arxiv.org/abs/2102.12252",
    formula="divergence between the teacher's and the student's distribution over the bins of each box side, weighted "
    "by the teacher's best class probability",
    equation="(1/N) sum_a q_a 1/4 sum_sides T^2 KL(softmax(b_t/T) || softmax(b_s/T)), T = 1",
    differs="all locations, weighted by the teacher's probability, in place of the main and the valuable region; "
    "T = 1, where the paper takes 10",
    cost="next to nothing: the box logits only",
    use="the first choice for boxes, beside bckd",
    weight=1.5,
    replayable=True,
    min_bins=2,
)
TEMPERATURE = 1.0


def loss(student: HeadOutput, teacher: HeadOutput) -> Tensor:
    """The term of a batch."""
    from kdyolo.distill import maths

    ours, theirs = ((x.bins() / TEMPERATURE).log_softmax(2) for x in (student, teacher))
    sides = TEMPERATURE**2 * maths.divergence(ours, theirs, dim=2)
    q, count = maths.foreground(maths.probabilities(teacher))
    return maths.weighted_mean(sides.mean(1), q, count)
