"""bf16 where it is safe: convolutions run in it, boxes are decoded and losses computed in fp32.

bfloat16 keeps 8 bits: a box edge at 600 px decoded in it would be off by up to 2 px. Imported after `harden`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from ultralytics.nn.modules.head import Detect
from ultralytics.utils.loss import v8DetectionLoss


@contextlib.contextmanager
def decoding_in_fp32(enabled: bool) -> Iterator[None]:
    """While what is inside runs in CPU bf16 autocast, heads decode their boxes in fp32."""
    if not enabled:
        yield
        return
    decode = Detect._inference

    def decode_fp32(head: Any, raw: dict[str, Any]) -> torch.Tensor:
        with torch.autocast("cpu", enabled=False):
            decoded: torch.Tensor = decode(head, in_fp32(raw))
        return decoded

    Detect._inference = decode_fp32
    try:
        yield
    finally:
        Detect._inference = decode


def in_fp32(raw: dict[str, Any]) -> dict[str, Any]:
    """The head's raw output with ``boxes`` (B, 64, A) and ``scores`` (B, nc, A) in fp32.

    Of ``feats`` only shape, device and type are read further on, so they are replaced by views of one zero.
    """
    feats = [torch.zeros(1, device=f.device).expand(f.shape) for f in raw["feats"]]
    return {**raw, "boxes": raw["boxes"].float(), "scores": raw["scores"].float(), "feats": feats}


class Fp32DetectionLoss(v8DetectionLoss):  # type: ignore[misc]
    """The stock loss, computed in fp32 whatever the network ran in."""

    def loss(self, preds: dict[str, Any], batch: dict[str, Any]) -> Any:
        """Box, class and DFL loss (3,) times batch size, and the detached items."""
        with torch.autocast(preds["boxes"].device.type, enabled=False):
            return super().loss(in_fp32(preds), batch)
