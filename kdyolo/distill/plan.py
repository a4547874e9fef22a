"""What a student's training is told about its teacher."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from kdyolo.config import DistillSettings

if TYPE_CHECKING:
    from kdyolo.distill.carry import Hearsay


@dataclass(frozen=True)
class Distillation:
    """A distillation.

    Attributes:
        settings: Scheme, method, weight and its course.
        teacher: Checkpoint, for the scheme that asks it at every step.
        class_map: Teacher class id -> the student's.
        hearsay: For the cached scheme: training image's file name -> what the teacher said of it.
    """

    settings: DistillSettings
    teacher: Path | None = None
    class_map: Mapping[int, int] = field(default_factory=dict)
    hearsay: Mapping[str, Hearsay] = field(default_factory=dict)
