"""The classical soft targets, over the classes of each location."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kdyolo.distill.info import MethodInfo

if TYPE_CHECKING:
    from torch import Tensor

    from kdyolo.distill.outputs import HeadOutput

INFO = MethodInfo(
    name="hinton",
    family="response",
    paper="Hinton, Vinyals and Dean, 'Distilling the Knowledge in a Neural Network', 2015",
    url="https://arxiv.org/abs/1503.02531",
    formula="divergence between the teacher's and the student's softened distribution over classes, weighted by the "
    "teacher's best class probability",
    equation="(1/N) sum_a q_a T^2 KL(softmax(t/T) || softmax(s/T)), T = 2",
    differs="weighted by location, for most locations of a detector show nothing",
    cost="next to nothing: the class logits only",
    use="for comparison only: the head's scores are sigmoids, and softmax forgets how high they are; refused for one "
    "class, where it is always zero",
    replayable=True,
    min_classes=2,
)
TEMPERATURE = 2.0
_OUT = -1e4


def loss(student: HeadOutput, teacher: HeadOutput) -> Tensor:
    """The term of a batch, over the classes the teacher knows."""
    from kdyolo.distill import maths

    logits = [student.scores, teacher.scores]
    if teacher.known is not None:
        logits = [x.masked_fill(~teacher.known, _OUT) for x in logits]
    ours, theirs = ((x / TEMPERATURE).log_softmax(1) for x in logits)
    q, count = maths.foreground(maths.probabilities(teacher))
    return maths.weighted_mean(TEMPERATURE**2 * maths.divergence(ours, theirs, dim=1), q, count)
