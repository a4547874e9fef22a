"""What the arms of a comparison are called on a page."""

from __future__ import annotations

from kdyolo.language import ENGLISH, Language, mark

TITLES = {
    "teacher": mark("Teacher"),
    "student": mark("Student"),
    "control": mark("Control"),
    "longer": mark("Longer control"),
}
_NAMES = {"teacher": mark("teacher"), "student": mark("student"), "control": mark("control"), "longer": mark("longer")}


def titles(language: Language = ENGLISH) -> dict[str, str]:
    """Arm -> its name as a heading."""
    return {arm: language.word(title) for arm, title in TITLES.items()}


def name(arm: str, language: Language = ENGLISH) -> str:
    """An arm within a sentence, in a legend or a cell."""
    return language.word(_NAMES.get(arm, arm))
