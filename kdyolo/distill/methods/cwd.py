"""Channel-wise distillation: where each channel looks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kdyolo.distill.info import MethodInfo

if TYPE_CHECKING:
    from torch import Tensor

    from kdyolo.distill.outputs import HeadOutput

INFO = MethodInfo(
    name="cwd",
    family="feature",
    paper="Shu et al., 'Channel-wise Knowledge Distillation for Dense Prediction', ICCV 2021",
    url="https://arxiv.org/abs/2011.13256",
    formula="each channel's map made a distribution over its cells; divergence between the teacher's and the "
    "student's, mean over images and channels, sum over levels",
    equation="sum_l tau^2 / (B C_l) sum_bc KL(softmax_HW(y/tau) || softmax_HW(z/tau)), tau = 1",
    differs="both maps are normalised per channel first, and tau = 1 where the paper takes 4",
    cost="an adapter, and a softmax over all teacher channels",
    use="the first choice among feature methods: it heeds the peaks of a map and not its scale",
    adapter=1,
)
TAU = 1.0


def loss(student: HeadOutput, teacher: HeadOutput) -> Tensor:
    """The term of a batch; the student's maps have the teacher's channels already."""
    from kdyolo.distill import maths

    losses = []
    for z, y in maths.level_pairs(student, teacher):
        ours, theirs = ((maths.normalise(x).flatten(2) / TAU).log_softmax(2) for x in (z, y))
        losses.append(TAU**2 * maths.divergence(ours, theirs, dim=2).mean())
    return maths.total(losses)
