"""Relations between instances: the distances and angles among the objects that the student gets wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kdyolo.distill.info import MethodInfo

if TYPE_CHECKING:
    from torch import Tensor

    from kdyolo.distill.outputs import HeadOutput

INFO = MethodInfo(
    name="rkd",
    family="relation",
    paper="Park et al., 'Relational Knowledge Distillation', CVPR 2019; selection as in Dai et al., 'General Instance "
    "Distillation for Object Detection', CVPR 2021",
    url="https://arxiv.org/abs/1904.05068",
    formula="of the teacher's boxes those whose scores the student misses most; smooth L1 between teacher and student "
    "of the distances of their neck vectors, and of the angles that three of them make",
    equation="2.5 mean_ij h(d_ij / mean d) + 5 mean_ijk h(cos angle_ijk), h = smooth L1 of teacher and student",
    differs="instances are compared within a level, where vectors have one length; weights 2.5 and 5 where the paper "
    "takes 25 and 50",
    cost="small: at most 64 instances a batch, no parameters",
    use="experimental for detectors",
)
DISTANCE, ANGLE = 2.5, 5.0
PER_IMAGE, PER_BATCH = 10, 64
_CANDIDATES, _LEAST_SCORE, _IOU = 100, 0.1, 0.5
_EPS = 1e-6


def loss(student: HeadOutput, teacher: HeadOutput) -> Tensor:
    """The term of a batch; 0 where no level holds two of the teacher's objects."""
    import torch
    from torch.nn import functional

    image, location = select(student, teacher)
    empty = student.features[0].flatten()[:0]  # keeps the graph where nothing is found
    terms, first = [(empty, empty)], 0
    for z, y, cells in zip(student.features, teacher.features, teacher.levels(), strict=True):
        here = (location >= first) & (location < first + cells)
        if int(here.sum()) > 1:
            where = image[here], location[here] - first
            pairs = zip(relations(_vectors(z, *where)), relations(_vectors(y, *where)), strict=True)
            distances, angles = (functional.smooth_l1_loss(ours, theirs, reduction="none") for ours, theirs in pairs)
            terms.append((distances, angles))
        first += cells
    distances, angles = (torch.cat(parts) for parts in zip(*terms, strict=True))
    return DISTANCE * distances.sum() / max(len(distances), 1) + ANGLE * angles.sum() / max(len(angles), 1)


def select(student: HeadOutput, teacher: HeadOutput) -> tuple[Tensor, Tensor]:
    """Image and location, both (n,), of at most 10 objects an image and 64 a batch.

    Objects are what non-maximum suppression leaves of the teacher's boxes (at least 0.1 sure, overlap 0.5 within a
    class); those whose class scores the student misses most are taken.
    """
    import torch
    from torchvision.ops import batched_nms

    from kdyolo.distill import maths

    with torch.no_grad():
        scores, classes = maths.probabilities(teacher).max(1)
        gaps = maths.disagreement(student, teacher).amax(1)
        scores, found = scores.topk(min(_CANDIDATES, scores.shape[1]), dim=1)
        image = torch.arange(len(scores), device=scores.device)[:, None].expand_as(found)
        good = scores > _LEAST_SCORE
        groups = image * teacher.nc + classes[image, found]
        kept = batched_nms(teacher.xyxy()[image, found][good], scores[good], groups[good], _IOU)
        index = good.flatten().nonzero()[:, 0][kept]
        worth = torch.full_like(scores, -1.0).flatten()
        worth[index] = gaps[image, found].flatten()[index]
        worth, place = worth.view_as(scores).topk(min(PER_IMAGE, scores.shape[1]), dim=1)
        chosen = worth.flatten().topk(min(PER_BATCH, worth.numel()))
        taken = chosen.indices[chosen.values >= 0]
        rows = taken // worth.shape[1]
        return rows, found[rows, place.flatten()[taken]]


def relations(vectors: Tensor) -> tuple[Tensor, Tensor]:
    """Of vectors (n, C): distances of all pairs over their mean (n(n-1),), and cosines of all angles (n(n-1)(n-2),).

    Distances have a floor of 0.001, for the direction between two equal vectors is anybody's guess.
    """
    import torch

    steps = vectors[:, None] - vectors
    lengths = (steps.square().sum(-1) + _EPS).sqrt()
    apart = ~torch.eye(len(vectors), dtype=torch.bool, device=vectors.device)
    distances = lengths[apart]
    units = (steps / lengths[..., None]).transpose(0, 1)  # [j, i]: from j to i
    angles = units @ units.transpose(1, 2)  # [j, i, k]: at j, between i and k
    return distances / distances.mean(), angles[apart[:, :, None] & apart[:, None, :] & apart]


def _vectors(feature: Tensor, image: Tensor, cell: Tensor) -> Tensor:
    from torch.nn import functional

    return functional.normalize(feature.flatten(2)[image, :, cell], dim=1, eps=_EPS)
