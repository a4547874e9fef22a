"""Files that survive crashes: atomic writes, hashes, disk checks, and the run directory with its lock and records."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shlex
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

import filelock
import psutil
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from kdyolo.errors import ConfigError, DatasetError, EnvironmentFault, RunExistsError

_TMP_SUFFIX = ".tmp"


def cache_folder() -> Path:
    """Where official weights, libraries' private settings and image checks live.

    ``$KDYOLO_CACHE``, or the user's cache folder.
    """
    if given := os.environ.get("KDYOLO_CACHE"):
        return Path(given).expanduser().absolute()
    base = os.environ.get("XDG_CACHE_HOME")
    try:
        folder = (Path(base) if base else Path.home() / ".cache") / "kdyolo"
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # no home, or one that cannot be written
        folder = Path(tempfile.gettempdir()) / f"kdyolo-{os.getuid() if hasattr(os, 'getuid') else 'user'}"
    return folder


def sha256_file(path: Path) -> str:
    """sha256 (hex) of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_by_name(files: Iterable[Path]) -> str:
    """sha256 (hex) over the names and contents of files, independent of their order and of the folders they lie in."""
    digest = hashlib.sha256()
    for path in sorted(files, key=lambda p: p.name):
        digest.update(f"{path.name}\0{sha256_file(path)}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary name beside `path`: filled by the caller, then synced and renamed, so readers never see half a file.

    Raises:
        EnvironmentFault: The disk is full or the folder cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}{_TMP_SUFFIX}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise storage_fault(error, path) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n", errors="surrogateescape")


def write_json(path: Path, data: Any) -> None:
    """Write JSON atomically, indented, keys in the order given. NaN and infinity are refused (ValueError)."""
    write_text(path, json.dumps(data, indent=2, allow_nan=False, default=str) + "\n")


def storage_fault(error: OSError, path: Path) -> EnvironmentFault:
    """An `OSError` of the file system as an `EnvironmentFault` that says what to do."""
    if error.errno in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT):
        folder = next((p for p in (path, *path.parents) if p.is_dir()), Path("/"))
        free = shutil.disk_usage(folder).free
        return EnvironmentFault(
            f"No room to write {path} ({free / 1e6:.0f} MB free there; {error.strerror}).",
            "Free some space or lift the file-size limit, then run the same command again; finished work is kept.",
        )
    return EnvironmentFault(f"Cannot write {path}: {error.strerror}.", "Choose a folder you can write to.")


def require_space(folder: Path, needed: int, purpose: str) -> None:
    """Refuse to start what cannot fit.

    Args:
        folder: Where the files will go; need not exist yet.
        needed: Bytes.
        purpose: What they are for, for the message.

    Raises:
        EnvironmentFault: Less is free.
    """
    existing = next(p for p in (folder.absolute(), *folder.absolute().parents) if p.is_dir())
    free = shutil.disk_usage(existing).free
    if free < needed:
        raise EnvironmentFault(
            f"{purpose} needs about {needed / 1e6:.0f} MB in {existing}, but {free / 1e6:.0f} MB are free.",
            "Free some space or choose another --run folder.",
        )


def read_class_map(path: Path) -> dict[int, int]:
    """Teacher class id -> data set class id, as the teacher stage wrote it."""
    return {int(theirs): int(ours) for theirs, ours in json.loads(path.read_text(encoding="utf-8")).items()}


class StageRecord(BaseModel):
    """What `stage.json` says: written as `running` first and as `done` last of all.

    `key` hashes settings, inputs and versions; `outputs` maps a path relative to the run directory to its sha256;
    `seconds` is the time all its attempts took, `ended` when the last one did (ISO 8601, with the time zone).
    """

    model_config = ConfigDict(extra="forbid")

    stage: str
    status: Literal["running", "interrupted", "failed", "done"]
    key: str
    sequence: int
    settings: dict[str, Any]
    inputs: dict[str, str]
    versions: dict[str, str]
    outputs: dict[str, str] = Field(default_factory=dict)
    facts: dict[str, Any] = Field(default_factory=dict)
    seconds: float = 0.0
    ended: str = ""
    error: str = ""


class RunDir:
    """One run's folder: ``<root>/<stage>/stage.json`` and what the stages leave beside it."""

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root).absolute()

    @property
    def config(self) -> Path:
        """Resolved settings."""
        return self.root / "config.yaml"

    @property
    def manifest(self) -> Path:
        """Versions, machine, seeds, hashes and times of the whole run."""
        return self.root / "manifest.json"

    @property
    def log(self) -> Path:
        """Everything the libraries underneath had to say."""
        return self.root / "log" / "kdyolo.log"

    @property
    def budgets(self) -> Path:
        """Where the runs of the label budgets lie, if this run has any."""
        return self.root / "budgets"

    @property
    def shown(self) -> str:
        """The folder as an argument of a command: relative where that is shorter, quoted for a shell."""
        cwd = Path.cwd()
        return shlex.quote(str(self.root.relative_to(cwd) if self.root.is_relative_to(cwd) else self.root))

    def stage(self, name: str) -> Path:
        """Folder of a stage."""
        return self.root / name

    def create(self) -> None:
        """Make the folder.

        Raises:
            EnvironmentFault: It cannot be made or written to, or a file has that name.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            self.log.parent.mkdir(exist_ok=True)
        except (FileExistsError, NotADirectoryError) as error:
            raise EnvironmentFault(f"{self.root} is a file or lies under one.", "Give --run a folder.") from error
        except OSError as error:
            raise storage_fault(error, self.root) from error

    def require_begun(self) -> None:
        """Make sure that a run has been begun here.

        Raises:
            ConfigError: There is none, or it has lost its settings.
        """
        if self.config.is_file():
            return
        if self.manifest.is_file():
            raise ConfigError(
                f"The run {self.root} has lost its config.yaml.",
                f"Say again what it was run with: `kdyolo run DATASET --run {self.shown} ...`; "
                "what is finished and unchanged is skipped.",
            )
        raise ConfigError(f"There is no run at {self.root}.", "Start one with `kdyolo run DATASET --run FOLDER`.")

    def record(self, stage: str) -> StageRecord | None:
        """The stage's record; None where there is none or it is cut short or edited beyond reading."""
        try:
            return StageRecord.model_validate_json((self.stage(stage) / "stage.json").read_bytes())
        except (OSError, ValidationError):
            return None

    def finished(self, stage: str) -> StageRecord | None:
        """The stage's record if it is done; whether its files still are what it wrote is for `require` to say."""
        record = self.record(stage)
        return record if record is not None and record.status == "done" else None

    def write_record(self, record: StageRecord) -> None:
        """Write the stage's record atomically."""
        write_json(self.stage(record.stage) / "stage.json", record.model_dump(mode="json"))

    def damaged_outputs(self, record: StageRecord) -> list[str]:
        """Outputs of a stage that are missing or no longer have the recorded sha256."""
        return [
            name
            for name, digest in record.outputs.items()
            if not (self.root / name).is_file() or sha256_file(self.root / name) != digest
        ]

    def hash_outputs(self, files: Iterable[Path]) -> dict[str, str]:
        """Relative name -> sha256 of files in the run directory, for `StageRecord.outputs`."""
        return {p.relative_to(self.root).as_posix(): sha256_file(p) for p in sorted(files)}

    def require(self, stage: str) -> StageRecord:
        """Record of a finished stage whose outputs still are what it wrote.

        Raises:
            ConfigError: There is no run.
            DatasetError: It is not done, or a file of it was changed by hand.
        """
        record = self.record(stage)
        if record is None:
            self._require_single()
        if record is None or record.status != "done":
            raise DatasetError(
                f"The stage '{stage}' of {self.root} is not finished.",
                "Run `kdyolo run` on this run, or that stage's own command, first.",
            )
        if damaged := self.damaged_outputs(record):
            raise DatasetError(
                f"{damaged[0]} in {self.root} is missing or was changed since '{stage}' wrote it.",
                "Run `kdyolo run` on this run again: it redoes that stage.",
            )
        return record

    def _require_single(self) -> None:
        self.require_begun()
        if self.budgets.is_dir():
            one = min(self.budgets.glob("*/config.yaml"), default=self.budgets / "SHARE" / "config.yaml").parent
            raise ConfigError(f"{self.root} holds one run for each label budget.", f"Name one of them, such as {one}.")

    def move_aside(self, stage: str) -> Path | None:
        """Rename a stage's folder to ``old/<stage>-<n>``, so that no result is ever deleted; None if there was none."""
        folder = self.stage(stage)
        if not folder.exists():
            return None
        (self.root / "old").mkdir(exist_ok=True)
        target = free_name(self.root / "old" / stage)
        os.replace(folder, target)
        return target

    @contextlib.contextmanager
    def locked(self, warn: Callable[[str], None] = lambda message: None) -> Iterator[None]:
        """Hold the run for this process.

        Args:
            warn: Called with a sentence when the lock of a dead process is taken over.

        Raises:
            RunExistsError: Another live process holds it, or one on another host may.
        """
        self.create()
        owner_file = self.root / "lock.json"
        lock = filelock.FileLock(self.root / ".lock")
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout as error:
            raise self._in_use(_read_owner(owner_file, wait=True)) from error
        except OSError as error:
            raise storage_fault(error, self.root) from error
        try:
            _take_over(owner_file, warn)
            write_json(owner_file, _owner())
            yield
        finally:
            if _read_owner(owner_file).get("pid") == os.getpid():
                owner_file.unlink(missing_ok=True)
            lock.release()

    def holder(self) -> dict[str, Any] | None:
        """Who holds the run: pid, host, command, started; None if nobody does, as far as this host can tell."""
        owner_file = self.root / "lock.json"
        owner = _read_owner(owner_file)
        here = owner.get("host") == socket.gethostname()
        return None if not owner or (here and not _lives(owner)) else owner

    def require_idle(self) -> None:
        """Make sure that what is read now is not half of an old state and half of a new one.

        Raises:
            RunExistsError: Somebody holds the run.
        """
        if not (owner := self.holder()):
            return
        if owner.get("host") not in (None, socket.gethostname()):
            raise _left_locked(self.root / "lock.json", owner)
        with contextlib.suppress(OSError):
            try:
                with filelock.FileLock(self.root / ".lock").acquire(timeout=0):
                    return  # the file was left by a process whose number another one has now
            except filelock.Timeout:
                raise self._in_use(owner) from None

    def _in_use(self, owner: dict[str, Any]) -> RunExistsError:
        return RunExistsError(
            f"Another process is using {self.root}: {_describe(owner)}.",
            "Wait for it to end, or give this one another --run folder.",
        )


def _lives(owner: dict[str, Any]) -> bool:
    pid = owner.get("pid")
    return isinstance(pid, int) and 0 < pid < 2**31 and psutil.pid_exists(pid)


def free_name(path: Path) -> Path:
    """`path` with the first free ``-<n>`` behind it, n counting from 1."""
    number = 1
    while (candidate := path.with_name(f"{path.name}-{number}")).exists():
        number += 1
    return candidate


def _owner() -> dict[str, Any]:
    command = " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])
    return {"pid": os.getpid(), "host": socket.gethostname(), "command": command, "started": time.time()}


def _read_owner(path: Path, *, wait: bool = False) -> dict[str, Any]:
    """What lock.json says; empty where it is missing or cannot be read.

    Args:
        path: The file.
        wait: Somebody holds the lock, and writes the file a moment after taking it: wait for that for a second.
    """
    for _ in range(20 if wait else 1):
        with contextlib.suppress(OSError, ValueError):
            data = json.loads(path.read_text(encoding="utf-8"))
            return data if isinstance(data, dict) else {}
        if wait:
            time.sleep(0.05)
    return {}


def _describe(owner: dict[str, Any]) -> str:
    return f"process {owner.get('pid', '?')} on {owner.get('host', '?')}, `{owner.get('command', '?')}`"


def _left_locked(owner_file: Path, owner: dict[str, Any]) -> RunExistsError:
    return RunExistsError(
        f"{owner_file.parent} was left locked by {_describe(owner)}, on another host.",
        f"If that process has ended, delete {owner_file} and run the command again.",
    )


def _take_over(owner_file: Path, warn: Callable[[str], None]) -> None:
    """Judge what a former holder left: the operating system has freed its lock, so on this host it is dead."""
    if not owner_file.exists():
        return
    owner = _read_owner(owner_file)
    if owner.get("host") not in (None, socket.gethostname()):
        raise _left_locked(owner_file, owner)
    pid = owner.get("pid")
    if isinstance(pid, int) and pid != os.getpid() and not _lives(owner):
        warn(f"Taking over the lock of {_describe(owner)}, which ended without cleaning up.")
