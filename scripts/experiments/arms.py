"""What is compared: each arm is a student, told apart by settings alone."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Arm:
    """One kind of student.

    Attributes:
        settings: What it has beside the recipe that all share.
        control: It is trained by `train_student(baseline=True)`: no teacher, ground truth alone.
        longer: Epochs as a multiple of the recipe's.
        teacher: Whose student it is: ``trained``, ``random`` (weights as they are drawn), or ``assistant`` (a yolov5s
            that learned from the trained one).
    """

    settings: dict[str, Any] = field(default_factory=dict)
    control: bool = False
    longer: int = 1
    teacher: str = "trained"


def online(method: str, weight: float | str = "auto", **more: Any) -> Arm:
    """A student that sees its teacher at every step."""
    return Arm({"distill.scheme": "online-teacher", "distill.method": method, "distill.weight": weight}, **more)


def cached(method: str, weight: float | str = 1.0) -> Arm:
    """A student of stored predictions."""
    return Arm({"distill.scheme": "cached", "distill.method": method, "distill.weight": weight})


def itself(kind: str) -> Arm:
    """A student that is its own teacher."""
    return Arm({"distill.scheme": "self", "distill.self_teacher": kind, "distill.weight": "auto"})


CONTROL = "control"
ARMS: dict[str, Arm] = {
    CONTROL: Arm(control=True),
    "control, 4x as long": Arm(control=True, longer=4),
    "hard pseudo-labels": Arm({"distill.scheme": "labels", "student.labels": "pseudo"}),
    "truth + hard pseudo-labels": Arm({"distill.scheme": "labels", "student.labels": "gt+pseudo"}),
    "truth, pool hard": Arm({"distill.scheme": "labels", "student.labels": "gt+pool"}),
    "cached response": cached("response"),
    "cached response auto": cached("response", "auto"),
    "cached bckd": cached("bckd", "auto"),
    "cached ld": cached("ld", "auto"),
    "cached hinton": cached("hinton", "auto"),
    "cached box": cached("box", "auto"),
    "online response": online("response", 1.0),
    "online response auto": online("response"),
    "online response x4": online("response", 4.0),
    "online response+box": online("response+box"),
    "online response+cwd": online("response+cwd"),
    **{f"online {name}": online(name) for name in ("bckd", "ld", "box", "hinton")},
    **{f"online {name}": online(name) for name in ("cwd", "pkd", "fitnet", "at")},
    **{f"online {name}": online(name) for name in ("rkd", "sp", "correlation")},
    "online native": online("native", 6.0),
    "online response, random teacher": online("response", 1.0, teacher="random"),
    "online response, assistant": online("response", 1.0, teacher="assistant"),
    "born again": itself("born-again"),
    "own average": itself("ema"),
    "deep to shallow": itself("deep"),
    "mutual": Arm({"distill.scheme": "mutual", "distill.method": "bckd", "distill.weight": "auto"}),
}

POOLED = (
    *(CONTROL, "control, 4x as long", "truth, pool hard", "cached response", "cached response auto", "online response"),
    *("online response auto", "online response x4", "online cwd", "online native", "online response, random teacher"),
)
"""Arms that are worth a look where most images have no label."""
