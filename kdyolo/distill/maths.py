"""What several methods share: the teacher's foreground, and neck maps brought to one scale."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from kdyolo.distill.outputs import HeadOutput

_EPS = 1e-6


def probabilities(teacher: HeadOutput) -> Tensor:
    """Class probabilities p (B, nc, A) in [0, 1]; 0 where the teacher has no opinion."""
    p = teacher.scores.sigmoid()
    return p if teacher.known is None else p * teacher.known


def disagreement(student: HeadOutput, teacher: HeadOutput) -> Tensor:
    """|p - sigmoid(s)| (B, nc, A) in [0, 1], without a graph; 0 where the teacher has no opinion."""
    gap = (teacher.scores.sigmoid() - student.scores.detach().sigmoid()).abs()
    return gap if teacher.known is None else gap * teacher.known


def foreground(p: Tensor) -> tuple[Tensor, Tensor]:
    """The best class probability q (B, A), and N = max(1, sum q) (), which a batch's terms are divided by.

    Args:
        p: `probabilities`.
    """
    q = p.amax(1)
    return q, q.sum().clamp(min=1)


def weighted_mean(terms: Tensor, weights: Tensor, count: Tensor) -> Tensor:
    """Sum of terms times weights, both (B, A), over `count`."""
    return (terms * weights).sum() / count


def divergence(log_student: Tensor, log_teacher: Tensor, dim: int) -> Tensor:
    """KL(teacher || student) over `dim` of log-probabilities of one shape; that dimension is gone in the result."""
    return functional.kl_div(log_student, log_teacher, reduction="none", log_target=True).sum(dim)


def normalise(feature: Tensor) -> Tensor:
    """A map (B, C, H, W) with mean 0 and standard deviation 1 in each channel, over images and cells alike."""
    return torch.batch_norm(feature, None, None, None, None, True, 0.0, _EPS, False)


def level_pairs(student: HeadOutput, teacher: HeadOutput) -> zip[tuple[Tensor, Tensor]]:
    """Student's and teacher's map of each level."""
    return zip(student.features, teacher.features, strict=True)


def total(losses: list[Tensor]) -> Tensor:
    """Sum over levels, a scalar."""
    return torch.stack(losses).sum()
