"""What a student's training is told about its teacher."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from kdyolo.config import Distilling

if TYPE_CHECKING:
    from kdyolo.distill.carry import Hearsay


@dataclass(frozen=True)
class Distillation:
    """A distillation.

    Attributes:
        settings: Scheme, method, weight and its course.
        kind: Who is asked at every step: a frozen teacher if there is one; the average of the student's own weights; a
            peer that learns beside it; or nobody, and the student's deeper levels teach its shallower ones.
        teachers: Checkpoint and class map (its class id -> the student's; empty where they are the same) of each frozen
            teacher.
        weights: (T, nc) how much each of several teachers counts in each class.
        hearsay: Training image's file name -> what its labels do not say: with the cached scheme what the teacher said
            of it, and with any which classes nobody looked for.
        generations: Facts of the students before this one, each the teacher of the next.
    """

    settings: Distilling
    kind: Literal["frozen", "ema", "mutual", "deep"] = "frozen"
    teachers: tuple[tuple[Path, Mapping[int, int]], ...] = ()
    weights: NDArray[np.float64] | None = None
    hearsay: Mapping[str, Hearsay] = field(default_factory=dict)
    generations: Sequence[Mapping[str, Any]] = ()
