"""What several teachers say of a batch as the answer of one, where they may know different classes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from kdyolo.distill.outputs import HeadOutput
from kdyolo.errors import ConfigError

_EPS = 1e-6


def average(outputs: Sequence[HeadOutput], weights: Tensor) -> HeadOutput:
    """The mean of T teachers' probabilities, location by location.

    Probabilities are averaged, the arithmetic of the two means in Hinton et al., "Distilling the Knowledge in a Neural
    Network", 2015, section 1, because it lets one sure teacher be heard among unsure ones. A class's
    p = sum_t w_t p_t / sum_t w_t, over the teachers that know the class there. A side's distribution over bins is the
    mixture sum_t v_t d_t / sum_t v_t, with v_t = max_c w_tc p_tc at that location: who sees an object there says where
    its sides are.

    Args:
        outputs: Of the same images, on the same grid, classes in the same order.
        weights: (T, nc) weight of each teacher in each class, at least 0. Where it is 0, the teacher is not heard.

    Returns:
        Class logits of probabilities held in [1e-6, 1 - 1e-6]; box logits that are log probabilities; ``known`` where
        any teacher is heard; no features, for maps of different models have no mean. At least fp32, without a graph.

    Raises:
        ConfigError: The outputs differ in images, classes, locations, bins or grid.
        ValueError: There are none, or the weights do not fit them.
    """
    if not outputs or weights.shape != (len(outputs), outputs[0].nc):
        raise ValueError(f"{len(outputs)} outputs do not fit weights {tuple(weights.shape)}")
    for number, output in enumerate(outputs[1:], 2):
        _require_same_grid(outputs[0], output, number)
    first = outputs[0]
    dtype = torch.promote_types(first.scores.dtype, torch.float32)
    with torch.no_grad():
        total = weights.new_zeros(1, first.nc, 1, device=first.scores.device, dtype=dtype)
        p, sight = torch.zeros_like(first.scores, dtype=dtype), []
        for output, weight in zip(outputs, weights.to(total), strict=True):
            heard = _heard(output, weight)
            said = output.scores.to(dtype).sigmoid() * heard
            total, p = total + heard, p + said
            sight.append(said.amax(1))
        scores = (p / total.where(total > 0, 1)).clamp(_EPS, 1 - _EPS).logit()
        boxes = _mixture(outputs, torch.stack(sight))
        return HeadOutput(scores, boxes, (), first.anchors, first.strides, known=total > 0)


def _heard(output: HeadOutput, weight: Tensor) -> Tensor:
    """Weight (nc,) where the teacher knows the class, else 0; broadcasts to (B, nc, A)."""
    column = weight[None, :, None]
    return column if output.known is None else column * output.known


def _mixture(outputs: Sequence[HeadOutput], sight: Tensor) -> Tensor:
    """Log probabilities (B, 4 * reg_max, A) of the bins, each teacher weighted by its `sight`, (T, B, A)."""
    total = sight.sum(0)
    # Where nobody sees anything, all say the same little.
    share = torch.where(total > 0, sight / total.where(total > 0, 1), 1 / len(outputs)).log()
    mixed = torch.full_like(outputs[0].bins(), -torch.inf, dtype=share.dtype)
    for output, part in zip(outputs, share, strict=True):
        mixed = torch.logaddexp(mixed, output.bins().to(share.dtype).log_softmax(2) + part[:, None, None])
    return mixed.flatten(1, 2)


def _require_same_grid(first: HeadOutput, other: HeadOutput, number: int) -> None:
    ours, theirs = ([*x.scores.shape, x.reg_max] for x in (first, other))
    for what, mine, its in zip(("images", "classes", "locations", "bins of a box side"), ours, theirs, strict=True):
        if mine != its:
            raise ConfigError(
                f"Teacher 1 has {mine} {what} and teacher {number} {its}, so they cannot be averaged.",
                "All need the same classes, image size and kind of head.",
            )
    grids = ((first.anchors, other.anchors), (first.strides, other.strides))
    if not all(mine is its or torch.equal(mine, its) for mine, its in grids):  # mostly the very same, of the cache
        raise ConfigError(
            f"Teachers 1 and {number} have different grids, so they cannot be averaged.",
            "All need the same image shape and the same strides.",
        )
