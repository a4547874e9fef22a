"""What a stage tells the person watching; the command line draws it, the library is silent by default."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """One bar at a time, and messages between bars."""

    def start(self, title: str, total: int) -> None:
        """Open a bar of `total` steps named `title`; closes the one before it."""

    def update(self, completed: int, **figures: float | str) -> None:
        """Move the bar to `completed` steps and show the latest figures, for example ``mAP50=0.41``."""

    def finish(self) -> None:
        """Close the open bar, if any."""

    def note(self, message: str) -> None:
        """Say one plain sentence."""

    def warn(self, message: str) -> None:
        """Say one sentence the user should act on."""


class Silent:
    """A `Progress` that shows nothing."""

    def start(self, title: str, total: int) -> None:
        """Ignore the bar."""

    def update(self, completed: int, **figures: float | str) -> None:
        """Ignore the step."""

    def finish(self) -> None:
        """Ignore the end of the bar."""

    def note(self, message: str) -> None:
        """Ignore the message."""

    def warn(self, message: str) -> None:
        """Ignore the warning."""
