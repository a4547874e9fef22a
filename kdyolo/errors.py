"""One error tree: every class carries the exit code of the command line and a hint saying what to do next."""

from __future__ import annotations


class KdyoloError(Exception):
    """Base of every error kdyolo raises on purpose.

    Args:
        message: What went wrong, in one sentence.
        hint: What the user can do next; shown under the message.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class StageError(KdyoloError):
    """A stage could not do its work (exit code 1)."""


class ConfigError(KdyoloError):
    """The command line, a configuration file or a data.yaml is wrong (exit code 2)."""

    exit_code = 2


class DatasetError(KdyoloError):
    """The data set failed its checks (exit code 3)."""

    exit_code = 3


class UntrustedFileError(KdyoloError):
    """A file would run code, or leads out of the folder it was given in; refused (exit code 4)."""

    exit_code = 4


class RunExistsError(KdyoloError):
    """The run directory holds other work, or another process is using it (exit code 5)."""

    exit_code = 5


class GateMissed(KdyoloError):
    """A comparison is finished, and something that was required of it does not hold."""

    exit_code = 6


class EnvironmentFault(KdyoloError):
    """Disk, device, network or installation stand in the way (exit code 7)."""

    exit_code = 7


class Interrupted(KdyoloError):
    """The user or the system asked to stop; finished work is kept (exit code 130)."""

    exit_code = 130
