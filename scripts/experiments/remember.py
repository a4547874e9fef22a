"""A teacher whose answers are kept on disk, for many students that see the same batches.

Arms of one seed get the same images in the same order with the same augmentation, also under two conditions that
share their teacher (``all`` and ``bought``), so what the teacher says of a batch need not be computed for each of
them. An answer is found by what it depends on, the teacher's weights and the pixels, and comes back bit for bit; a
student trained so is the same, but its seconds mean nothing.
"""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from kdyolo.distill import trainer as distillation
from kdyolo.distill.outputs import HeadOutput
from kdyolo.distill.teachers import FrozenTeacher
from kdyolo.storage import atomic_path


def remember(folder: Path) -> None:
    """From now on, in this process, frozen teachers in bf16 keep their answers below a folder.

    About 7 MB a batch of 8 images at 256 px.
    """

    class Remembering(FrozenTeacher):
        """See the module."""

        def prepare(self, trainer: Any) -> None:
            """As the base class does, and know itself."""
            super().prepare(trainer)
            digest = hashlib.sha256(repr(self.sources).encode())
            for value in self.model.state_dict().values():
                digest.update(value.detach().double().numpy().tobytes())
            self.folder = folder / digest.hexdigest()[:16]
            self.folder.mkdir(parents=True, exist_ok=True)

        def answer(self, pixels: Tensor) -> HeadOutput:
            """As the base class does, or as it did."""
            if self.dtype != torch.bfloat16:
                return super().answer(pixels)
            seen = pixels.to(self.dtype).view(torch.int16).numpy().tobytes()
            file = self.folder / f"{hashlib.sha256(seen).hexdigest()}.pt"
            if file.is_file():
                return _unpacked(torch.load(file, weights_only=True))
            said = super().answer(pixels)
            _save(said, file)
            return said

    vars(distillation)["FrozenTeacher"] = Remembering


def _save(said: HeadOutput, file: Path) -> None:
    """Figures of a bf16 network are kept as such, and back in fp32 they are what they were."""
    packed = {field.name: getattr(said, field.name) for field in dataclasses.fields(said)}
    packed |= {name: packed[name].to(torch.bfloat16) for name in ("scores", "boxes")}
    packed["features"] = [x.to(torch.bfloat16) for x in said.features]
    with atomic_path(file) as temporary:
        torch.save(packed, temporary)


def _unpacked(packed: dict[str, Any]) -> HeadOutput:
    features = tuple(x.float() for x in packed.pop("features"))
    scores, boxes = packed.pop("scores").float(), packed.pop("boxes").float()
    return HeadOutput(scores=scores, boxes=boxes, features=features, **packed)
