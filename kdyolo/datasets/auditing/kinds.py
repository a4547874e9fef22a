"""What a kind of finding is made of, and where it is listed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from kdyolo.datasets.sample import Severity

Area = Literal["splits", "copies", "labels", "classes", "images", "description"]

AREAS: dict[Area, str] = {
    "splits": "Leaks between splits",
    "copies": "Copies",
    "labels": "Labels",
    "classes": "Classes and balance",
    "images": "Image files",
    "description": "Description and layout",
}
"""Area -> its title, in the order in which findings are shown."""


@dataclass(frozen=True)
class Kind:
    """One kind of finding.

    Attributes:
        area: Where it is listed.
        severities: Those it may have. What a setting or the purpose decides is said in `meaning`.
        title: Two to five words.
        meaning: What it is and why it matters.
        todo: What to do about it.
    """

    area: Area
    severities: tuple[Severity, ...]
    title: str
    meaning: str
    todo: str


ERROR: tuple[Severity, ...] = ("error",)
WARNING: tuple[Severity, ...] = ("warning",)
NOTE: tuple[Severity, ...] = ("note",)
# An unusable line takes its image with it, or only itself: audit.bad_label.
LINE: tuple[Severity, ...] = ("error", "warning")
# Copies matter where the splits are judged; `kdyolo split` makes new ones and keeps copies together.
COPY: tuple[Severity, ...] = ("warning", "note")
LEAK: tuple[Severity, ...] = ("error", "note")
