"""What must hold of a comparison, in one line: ``student.mAP50-95 >= 0.95 * teacher.mAP50-95``."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

ARMS = ("teacher", "student", "control", "longer")
METRICS: dict[str, tuple[str, ...]] = {
    "mAP50-95": ("mAP50_95",),
    "mAP50": ("mAP50",),
    "mAP75": ("mAP75",),
    "precision": ("precision",),
    "recall": ("recall",),
    "p50_ms": ("latency_ms", "p50"),
    "p95_ms": ("latency_ms", "p95"),
    "mean_ms": ("latency_ms", "mean"),
    "fps": ("fps",),
    "size_mb": ("size_mb",),
    "params": ("params",),
    "gflops": ("gflops",),
    "train_seconds": ("train_seconds",),
}
"""What a gate may name -> where it stands in an arm of the comparison. Accuracy in [0, 1]."""
_COMPARE: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}
_NUMBER = r"[0-9]*\.?[0-9]+(?:[eE][+-]?[0-9]+)?"
_SIDE = rf"(?:(?P<{{0}}factor>{_NUMBER})\s*\*\s*)?(?P<{{0}}arm>[A-Za-z]+)\.(?P<{{0}}metric>[A-Za-z0-9_-]+?)"
_LINE = re.compile(
    rf"\s*{_SIDE.format('left_')}\s*(?P<compare>>=|<=|>|<)\s*"
    rf"(?:(?P<number>{_NUMBER})|{_SIDE.format('right_')}(?:\s+(?P<sign>[+-])\s*(?P<shift>{_NUMBER}))?)\s*"
)


@dataclass(frozen=True)
class Figure:
    """A factor times one figure of one arm."""

    arm: str
    metric: str
    factor: float = 1.0

    def of(self, arms: Mapping[str, Any]) -> float | None:
        """Its value in ``arms`` of results.json; None for n/a."""
        value: Any = arms.get(self.arm)
        for key in METRICS[self.metric]:
            value = value.get(key) if isinstance(value, Mapping) else None
        return None if value is None else self.factor * float(value)


@dataclass(frozen=True)
class Gate:
    """``left compare right + shift``; the right side is a figure or, where it is None, only the number.

    Attributes:
        text: As it was written.
    """

    text: str
    left: Figure
    compare: str
    right: Figure | None
    shift: float

    @property
    def arms(self) -> set[str]:
        """The arms it names."""
        return {figure.arm for figure in (self.left, self.right) if figure is not None}

    @classmethod
    def parse(cls, text: str) -> Gate:
        """Read ``[F *] ARM.METRIC >= NUMBER``, or ``... >= [F *] ARM.METRIC [+ NUMBER]``; also <=, > and <.

        Raises:
            ValueError: It is something else, or names an unknown arm or metric; the message lists the known ones.
        """
        match = _LINE.fullmatch(text)
        if match is None:
            raise ValueError(f"'{text}' is not of the form ARM.METRIC >= NUMBER, or ARM.METRIC >= 0.95 * ARM.METRIC")
        parts = match.groupdict()
        left = _figure(parts, "left_")
        if parts["number"] is not None:
            return cls(text, left, parts["compare"], None, float(parts["number"]))
        shift = float(parts["shift"] or 0) * (-1 if parts["sign"] == "-" else 1)
        return cls(text, left, parts["compare"], _figure(parts, "right_"), shift)

    def failure(self, arms: Mapping[str, Any]) -> str | None:
        """Why it does not hold of ``arms`` of results.json, in words; None where it holds."""
        found = self.left.of(arms)
        wanted = self.shift if self.right is None else self.right.of(arms)
        if found is None or wanted is None:
            return f"{self.text}: not measured, so it does not hold"
        wanted += self.shift if self.right else 0.0
        if _COMPARE[self.compare](found, wanted):
            return None
        return f"{self.text}: {found:.4g} is not {self.compare} {wanted:.4g}"


def _figure(parts: Mapping[str, str | None], side: str) -> Figure:
    arm, metric = parts[f"{side}arm"] or "", parts[f"{side}metric"] or ""
    if arm not in ARMS:
        raise ValueError(f"there is no arm '{arm}'; arms: {', '.join(ARMS)}")
    if metric not in METRICS:
        raise ValueError(f"there is no figure '{metric}'; figures: {', '.join(METRICS)}")
    return Figure(arm, metric, float(parts[f"{side}factor"] or 1))
