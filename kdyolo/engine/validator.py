"""Ultralytics' validator in the precision of the training. Imported only after `environment.harden`."""

from __future__ import annotations

from typing import Any

import torch
from ultralytics.models.yolo.detect import DetectionValidator

from kdyolo.engine.precision import decoding_in_fp32
from kdyolo.engine.suppression import suppress


class Validator(DetectionValidator):  # type: ignore[misc]
    """A `DetectionValidator` whose network runs in bf16 on a CPU; boxes are decoded and matched in fp32."""

    cpu_bf16 = False
    before_batch = staticmethod(lambda: None)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Validate."""
        with decoding_in_fp32(self.cpu_bf16):
            return super().__call__(*args, **kwargs)

    def postprocess(self, preds: Any) -> list[dict[str, torch.Tensor]]:
        """As ultralytics does, by `suppress`."""
        output = preds[0] if isinstance(preds, (list, tuple)) else preds
        limits = {"multi_label": True, "max_det": self.args.max_det, "nc": self.nc}
        found = suppress(output, self.args.conf, self.args.iou, **limits)
        return [{"bboxes": x[:, :4], "conf": x[:, 4], "cls": x[:, 5], "extra": x[:, 6:]} for x in found]

    def preprocess(self, batch: dict[str, Any]) -> dict[str, Any]:
        """As ultralytics does, with images in the memory format the model has."""
        self.before_batch()
        if self.cpu_bf16:
            self.args.quantize = None  # it also stands for images in fp16, which a CPU does not want
        batch = super().preprocess(batch)
        batch["img"] = batch["img"].contiguous(memory_format=torch.channels_last)
        if self.cpu_bf16:
            self.args.quantize = 16  # the library's loop runs the network in autocast now, which on a CPU means bf16
        return batch
