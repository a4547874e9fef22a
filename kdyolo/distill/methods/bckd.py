"""Binary classification distillation: every class of every location is a yes or no of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kdyolo.distill.info import MethodInfo

if TYPE_CHECKING:
    from torch import Tensor

    from kdyolo.distill.outputs import HeadOutput

INFO = MethodInfo(
    name="bckd",
    family="response",
    paper="Yang et al., 'Bridging Cross-task Protocol Inconsistency for Distillation in Dense Object Detection', "
    "ICCV 2023",
    url="https://arxiv.org/abs/2308.14286",
    formula="binary cross-entropy of the student's class scores against the teacher's probabilities, each weighted by "
    "how far the two are apart",
    equation="(1/N) sum_ca |p - sigmoid(s)| BCE(s, p), the first factor without gradient",
    differs="divided by the teacher's summed best probabilities N, not by the assigned positives",
    cost="next to nothing: the class logits only",
    use="the first choice for classes; made for sigmoid heads, and right for one class as well",
    weight=0.5,
    replayable=True,
)


def loss(student: HeadOutput, teacher: HeadOutput) -> Tensor:
    """The term of a batch. Background counts too: what only the student sees is talked out of it."""
    from torch.nn import functional

    from kdyolo.distill import maths

    p = maths.probabilities(teacher)
    _, count = maths.foreground(p)
    entropy = functional.binary_cross_entropy_with_logits(student.scores, p, reduction="none")
    return maths.weighted_mean(entropy, maths.disagreement(student, teacher), count)
