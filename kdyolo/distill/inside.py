"""Deep to shallow inside one network: the map of a deeper level shows a shallower one where to look."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from kdyolo.distill.outputs import HeadOutput

NAME = "deep-to-shallow"


class DeepToShallow(nn.Module):
    """Self attention distillation: sum_l mean_b ||Q_l/|Q_l| - up(Q_l+1)/|up(Q_l+1)|||^2, Q = mean_c f^2 over the cells.

    After Hou et al., "Learning Lightweight Lane Detection CNNs by Self Attention Distillation", ICCV 2019, eq. 2: the
    attention of each level follows that of the next deeper one, brought to its size, which gets no gradient. The
    distance is that of attention transfer (see `methods.at`) in place of the paper's, which is between maps after a
    softmax over thousands of cells and so nearly nothing. The levels are the head's inputs P3, P4, P5; P5 is computed
    last.
    """

    def forward(self, student: HeadOutput, teacher: HeadOutput) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss () of a batch and its parts by name, as of `method.Objective`; the teacher is the student itself."""
        terms = []
        for shallow, deep in zip(student.features[:-1], teacher.features[1:], strict=True):
            size = shallow.shape[-2:]
            terms.append((_attention(shallow, size) - _attention(deep.detach(), size)).square().sum(1).mean())
        total = torch.stack(terms).sum()
        return total, {NAME: total.detach()}


def _attention(feature: Tensor, size: torch.Size) -> Tensor:
    """Where a map (B, C, h, w) is active, brought to `size`: (B, H * W) of length 1."""
    energy = feature.float().square().mean(1, keepdim=True)
    if energy.shape[-2:] != size:
        energy = functional.interpolate(energy, size, mode="bilinear", align_corners=False)
    return functional.normalize(energy.flatten(1))
