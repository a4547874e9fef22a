"""Outputs of detection heads without a network: small, of any shape, the same on every machine."""

from __future__ import annotations

from dataclasses import replace

import torch

from kdyolo.distill.outputs import HeadOutput

STRIDES = (8.0, 16.0, 32.0)
SHAPES = ((5, 7), (3, 4), (2, 2))  # not square
CHANNELS = (4, 6, 8)


def make_head(
    seed=0, batch=2, nc=3, channels=CHANNELS, shapes=SHAPES, reg_max=8, scale=2.0, dtype=torch.float32, grad=False
):
    """A `HeadOutput` of normal numbers of standard deviation `scale`; leaves of the graph if `grad`."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return (scale * torch.randn(*shape, generator=generator, dtype=torch.float64)).to(dtype).requires_grad_(grad)

    locations = sum(h * w for h, w in shapes)
    raw = {
        "scores": draw(batch, nc, locations),
        "boxes": draw(batch, 4 * reg_max, locations),
        "feats": [draw(batch, c, h, w) for c, (h, w) in zip(channels, shapes, strict=True)],
    }
    return HeadOutput.from_raw(raw, STRIDES[: len(shapes)])


def smooth_head(phase=0.0, batch=2, nc=2, channels=(3, 2), shapes=((4, 5), (2, 3)), reg_max=4):
    """A `HeadOutput` of chirps: no random numbers, so golden values hold for every version of torch."""
    locations = sum(h * w for h, w in shapes)

    def waves(*shape):
        count = torch.Size(shape).numel()
        steps = torch.arange(count, dtype=torch.float64)
        return (2 * torch.sin(0.1 * steps**2 + phase * steps)).reshape(shape).float()

    feats = [waves(batch, c, h, w) for c, (h, w) in zip(channels, shapes, strict=True)]
    raw = {"scores": waves(batch, nc, locations), "boxes": waves(batch, 4 * reg_max, locations), "feats": feats}
    return HeadOutput.from_raw(raw, STRIDES[: len(shapes)])


def converted(head, dtype, grad=False):
    """`head` in another precision, as new leaves."""

    def leaf(x):
        return x.detach().to(dtype).requires_grad_(grad)

    return replace(head, scores=leaf(head.scores), boxes=leaf(head.boxes), features=tuple(map(leaf, head.features)))


def in_float64(head):
    """`head` as new leaves in float64, its grid as well."""
    head = converted(head, torch.float64, grad=True)
    return replace(head, anchors=head.anchors.double(), strides=head.strides.double())


def rectified(head):
    """`head` with maps that have no negative values."""
    return replace(head, features=tuple(x.detach().relu() for x in head.features))


def make_identity(objective):
    """Adapters that change nothing, for methods built with equal channels."""
    for module in objective.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.dirac_(module.weight)
            torch.nn.init.zeros_(module.bias)
    return objective
