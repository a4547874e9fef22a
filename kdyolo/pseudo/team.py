"""The teacher of a run as one detector, whether it is one model or several that vote."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kdyolo.boxes import Detections
from kdyolo.config import RuntimeSettings
from kdyolo.engine.detector import Detector, Image, stack
from kdyolo.pseudo.fusion import Bools, Floats, fuse
from kdyolo.storage import read_class_map, sha256_file, write_json

WEIGHTS = "weights.json"


class Team(Detector):
    """Several detectors whose boxes are fused (see `fusion`), behind the interface of one.

    Args:
        members: Detectors of the same image size, classes and runtime.
        weights: (T, nc) weight of each in each class, see `fusion.class_weights`.
        knows: (T, nc) whether each knows a class.
    """

    def __init__(self, members: Sequence[Detector], weights: Floats, knows: Bools) -> None:
        first = members[0]
        self.members, self.weights, self.knows = tuple(members), weights, knows
        self.class_names, self.imgsz = first.class_names, first.imgsz
        self.params = sum(member.params for member in members)
        flops = [member.gflops for member in members]
        self.gflops = None if None in flops else round(sum(f for f in flops if f), 2)
        self.precision, self.device, self.threads = first.precision, first.device, first.threads

    def preprocess(self, images: Sequence[Image]) -> Any:
        """As `Detector.preprocess`; all members see the same batch."""
        return self.members[0].preprocess(images)

    def forward(self, batch: Any, augment: bool = False) -> tuple[Any, Any]:
        """Decoded outputs (B, T, 4 + nc, A) in fp32, and each member's raw one."""
        outputs = [member.forward(batch, augment) for member in self.members]
        return stack([decoded for decoded, _ in outputs]), [raw for _, raw in outputs]

    def postprocess(
        self,
        output: Any,
        batch: Any,
        images: Sequence[Image],
        conf: float,
        iou: float,
        multi_label: bool = False,
        raw: Any = None,
    ) -> list[Detections]:
        """Each member's boxes after its own suppression, fused; a class that nobody knows has probability NaN."""
        said = [
            member.postprocess(output[:, t], batch, images, conf, iou, multi_label, None if raw is None else raw[t])
            for t, member in enumerate(self.members)
        ]
        return [_above(fuse(found, self.weights, self.knows), conf) for found in zip(*said, strict=True)]


def _above(found: Detections, conf: float) -> Detections:
    kept = found.score > conf
    soft = (None if array is None else array[kept] for array in (found.probs, found.spread))
    return Detections(found.xyxy[kept], found.score[kept], found.cls[kept], *soft)


def members(folder: Path) -> Iterator[tuple[Path, dict[int, int]]]:
    """Checkpoint and class map (its class id -> the data set's) of each model in a teacher's folder, in order."""
    for checkpoint in [folder / "best.pt", *sorted(folder.glob("best-*.pt"))]:
        number = checkpoint.stem.removeprefix("best")
        yield checkpoint, read_class_map(folder / f"classes{number}.json")


def knows(maps: Sequence[Mapping[int, int]], nc: int) -> Bools:
    """(T, nc) booleans: whether a model with that class map knows each of the data set's classes."""
    return np.array([[number in set(one.values()) for number in range(nc)] for one in maps], dtype=bool)


def known(folder: Path, nc: int) -> Bools:
    """(nc,) booleans: whether any model in a teacher's folder knows each of the data set's classes."""
    found: Bools = np.any(knows([class_map for _, class_map in members(folder)], nc), axis=0)
    return found


def fingerprint(folder: Path) -> str:
    """sha256 of a teacher's folder: that of the checkpoint, or of those of all."""
    digests = [sha256_file(checkpoint) for checkpoint, _ in members(folder)]
    return digests[0] if len(digests) == 1 else hashlib.sha256("\n".join(digests).encode()).hexdigest()


def write_weights(folder: Path, weights: Floats) -> Path:
    """Keep what `fusion.class_weights` gave beside the labels that were written with it."""
    write_json(folder / WEIGHTS, weights.tolist())
    return folder / WEIGHTS


def read_weights(folder: Path) -> Floats:
    """(T, nc) weights of `write_weights`."""
    return np.array(json.loads((folder / WEIGHTS).read_text(encoding="utf-8")), dtype=float)


def load(
    teacher: Path, imgsz: int, runtime: RuntimeSettings, class_names: Sequence[str], weights: Floats | None
) -> Detector:
    """The detector of a teacher's folder.

    Args:
        teacher: The folder.
        imgsz: As for `Detector`.
        runtime: As for `Detector`.
        class_names: The data set's.
        weights: Of several models; not used for one.
    """
    models = list(members(teacher))
    detectors = [Detector(path, imgsz, runtime, class_names, class_map) for path, class_map in models]
    if len(detectors) == 1:
        return detectors[0]
    assert weights is not None
    return Team(detectors, weights, knows([class_map for _, class_map in models], len(class_names)))
