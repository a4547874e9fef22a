"""What a stage is: where it writes, what it needs, what decides whether it must run again, and its work."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kdyolo.config import Config
from kdyolo.errors import ConfigError
from kdyolo.progress import Progress
from kdyolo.storage import RunDir, sha256_file

ARMS = {"teacher": "teacher", "student": "student", "control": "baseline"}
"""Arm of the comparison -> stage that trained it."""
ASSISTANT = "assistant"
"""Folder of a run in which the run of its teacher's assistant lies; it has no control."""
LONGER = {"longer": "longer"}
"""The control with all the computation that the student took, if it was asked for."""


@dataclass(frozen=True)
class StageContext:
    """What a stage works with.

    Attributes:
        run: The run directory; the stage writes only in its own folder.
        config: All settings, resolved.
        progress: Whom to tell.
        force: The user asked to go on where the stage would refuse (for example a useless teacher).
    """

    run: RunDir
    config: Config
    progress: Progress
    force: bool = False


@dataclass(frozen=True)
class StageResult:
    """What a stage leaves.

    Attributes:
        outputs: Files whose sha256 goes into the record; a stage whose outputs changed runs again.
        facts: Plain figures for the record: counts, hashes, seconds.
        summary: One line for the person watching.
    """

    outputs: list[Path]
    facts: dict[str, Any] = field(default_factory=dict)
    summary: str = ""


def _nothing_to_check(run: RunDir, config: Config) -> None:
    """For stages that can only find out while they work."""


@dataclass(frozen=True)
class Stage:
    """One step of the chain.

    Attributes:
        name: Folder in the run directory, and the stage's name in records.
        command: The command-line verb that runs it.
        needs: Names of stages whose outputs it reads.
        settings: The part of the settings that decides its result, as plain JSON data.
        inputs: Name -> fingerprint of files outside the run directory that decide its result.
        versions: Packages whose version decides its result.
        work: Does the work. After a crash it is called again with its folder as it was left, if nothing that
            decides the result has changed; otherwise its folder is empty or absent.
        sections: Parts of the settings that are this stage's own; after a failure the user is told how to take back
            what was just set there.
        check: Raises what can be known to go wrong before the stages in front of it have worked for hours: a device
            that is not there, a class that does not exist. Called only if the stage has something to do.
    """

    name: str
    command: str
    needs: tuple[str, ...]
    settings: Callable[[Config], dict[str, Any]]
    inputs: Callable[[Config], dict[str, str]]
    versions: tuple[str, ...]
    work: Callable[[StageContext], StageResult]
    sections: tuple[str, ...] = ()
    check: Callable[[RunDir, Config], None] = _nothing_to_check


def fingerprint(path: Path, setting: str) -> str:
    """sha256 of a file that a setting names.

    Raises:
        ConfigError: There is no such file.
    """
    if not path.is_file():
        raise ConfigError(f"There is no file {path}.", f"Check {setting}.")
    return sha256_file(path)
