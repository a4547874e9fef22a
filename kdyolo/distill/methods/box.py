"""Overlap of the decoded boxes, where student and teacher disagree about the class."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kdyolo.distill.info import MethodInfo

if TYPE_CHECKING:
    from torch import Tensor

    from kdyolo.distill.outputs import HeadOutput

INFO = MethodInfo(
    name="box",
    family="response",
    paper="Yang et al., 'Bridging Cross-task Protocol Inconsistency for Distillation in Dense Object Detection', "
    "ICCV 2023; CIoU: Zheng et al., 'Distance-IoU Loss', AAAI 2020",
    url="https://arxiv.org/abs/2308.14286",
    formula="1 - CIoU of the student's box and the teacher's, weighted by how far their class scores are apart",
    equation="(1/N) sum_a max_c |p - sigmoid(s)| (1 - CIoU(box_s, box_t)), the weight without gradient",
    differs="CIoU in place of IoU; divided by N as bckd is",
    cost="small: all boxes of both models are decoded",
    use="in addition to response, where boxes are the student's weakness",
    weight=7.5,
    replayable=True,
)
_EPS = 1e-7


def loss(student: HeadOutput, teacher: HeadOutput) -> Tensor:
    """The term of a batch."""
    from kdyolo.distill import maths

    _, count = maths.foreground(maths.probabilities(teacher))
    weights = maths.disagreement(student, teacher).amax(1)
    return maths.weighted_mean(1 - ciou(student.xyxy(), teacher.xyxy()), weights, count)


def ciou(a_xyxy: Tensor, b_xyxy: Tensor) -> Tensor:
    """Complete IoU of pairs of boxes (..., 4), at most 1; its trade-off factor has no gradient.

    Source: Zheng et al., "Distance-IoU Loss", AAAI 2020: IoU - (centre distance / diagonal)^2 - alpha v.
    """
    import torch

    low, high = torch.maximum(a_xyxy, b_xyxy)[..., :2], torch.minimum(a_xyxy, b_xyxy)[..., 2:]
    outer = torch.maximum(a_xyxy, b_xyxy)[..., 2:] - torch.minimum(a_xyxy, b_xyxy)[..., :2]
    a_wh, b_wh = (x[..., 2:] - x[..., :2] for x in (a_xyxy, b_xyxy))
    shared = (high - low).clamp(min=0).prod(-1)
    iou = shared / (a_wh.prod(-1) + b_wh.prod(-1) - shared + _EPS)
    centres = (a_xyxy[..., :2] + a_xyxy[..., 2:] - b_xyxy[..., :2] - b_xyxy[..., 2:]) / 2
    distance = centres.square().sum(-1) / (outer.square().sum(-1) + _EPS)
    angles = [torch.atan(wh[..., 0] / (wh[..., 1] + _EPS)) for wh in (a_wh, b_wh)]
    shape = (4 / torch.pi**2) * (angles[0] - angles[1]).square()
    with torch.no_grad():
        factor = shape / (1 - iou + shape + _EPS)
    return iou - distance - factor * shape
