"""How a distillation method describes itself; no torch here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Family = Literal["response", "feature", "relation"]


@dataclass(frozen=True)
class MethodInfo:
    """What is worth knowing about a method before choosing it.

    Attributes:
        name: What `--method` calls it.
        family: What it looks at: outputs (response), neck maps (feature), or how instances, images or channels relate
            (relation).
        paper: Authors, title, venue and year.
        url: The paper.
        formula: The loss in words.
        equation: The loss as it is computed, in the notation of docs/methods.md.
        differs: Where it departs from the paper; empty where it does not.
        cost: What a training step pays for it, the teacher's own forward pass not counted.
        use: When to choose it.
        weight: Its factor when none is given, to start from.
        replayable: It can also learn from stored predictions; otherwise the teacher must see the same augmented batch.
        adapter: How many trainable 1x1 convolutions a level take the student's maps to the teacher's channels, with
            ReLU between them.
        min_classes: With fewer classes it says nothing, and is refused.
        min_bins: The same for the bins of a box side.
        parts: For a combination: its methods and their weights.
    """

    name: str
    family: Family
    paper: str
    url: str
    formula: str
    equation: str
    cost: str
    use: str
    differs: str = ""
    weight: float = 1.0
    replayable: bool = False
    adapter: int = 0
    min_classes: int = 1
    min_bins: int = 1
    parts: Mapping[str, float] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return {**vars(self), "parts": dict(self.parts)}
