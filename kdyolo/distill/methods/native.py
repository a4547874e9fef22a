"""The formula of ultralytics' own distillation, in a training of ours."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kdyolo.distill.info import MethodInfo

if TYPE_CHECKING:
    from torch import Tensor

    from kdyolo.distill.outputs import HeadOutput

INFO = MethodInfo(
    name="native",
    family="feature",
    paper="no paper; the formula of the ultralytics package (`distill_model`, version 8.4)",
    url="https://docs.ultralytics.com",
    formula="squared difference of the neck maps, after a two-layer projection of the student's, weighted by the "
    "teacher's best class probability",
    equation="sum_l sum_a q_a mean_c (z - y)^2 / sum_a q_a",
    differs="the weight follows this tool's course over the training, where ultralytics' `dis` is constant",
    cost="a projection with more parameters than YOLOv5n itself (2.58 M from n to x), forward and backward",
    use="to compare with what ultralytics users have; its weight is their default of `dis`",
    weight=6.0,
    adapter=2,
)


def loss(student: HeadOutput, teacher: HeadOutput) -> Tensor:
    """The term of a batch; the student's maps have the teacher's channels already."""
    import torch

    from kdyolo.distill import maths

    best = torch.split(maths.probabilities(teacher).amax(1), teacher.levels(), 1)
    terms = []
    for (z, y), q in zip(maths.level_pairs(student, teacher), best, strict=True):
        gap = (z - y).square().mean(1).flatten(1)
        terms.append((gap * q).sum() / (q.sum() + 1e-9))
    return maths.total(terms)
