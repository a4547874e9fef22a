"""What was found out about files, kept between runs: a small database in the user's cache folder.

It only ever saves time. A file counts as unchanged if name, size, times and inode are those it had when it was looked
at, more than a moment after it was last changed; else its bytes are hashed, and what is known of equal bytes is taken.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import json
import os
import sqlite3
import stat
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from kdyolo.config import AuditSettings, stable_hash
from kdyolo.datasets.sample import ImageCheck
from kdyolo.storage import cache_folder

VERSION = 1
"""Of the checks and of what is kept: raised when an image would be judged otherwise."""
MAX_FILES = 1_000_000
MAX_AUDITS = 50
_DAY = 86400
_SETTLED_NS = 2_000_000_000
_LIMITS = ("min_side", "max_pixels", "max_aspect")
_TABLES = """
CREATE TABLE IF NOT EXISTS files (path BLOB PRIMARY KEY, stamp TEXT, sha256 TEXT, day INTEGER) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS checks (key TEXT PRIMARY KEY, body TEXT, signature BLOB, day INTEGER) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS audits (key TEXT PRIMARY KEY, body TEXT, day INTEGER) WITHOUT ROWID;
"""


class CheckCache:
    """The database, or nothing: whatever is wrong with it, the work goes on without.

    Args:
        audit: Which images are judged how; its ``cache`` switches everything off.
        file: The database; None: ``checks.sqlite`` in the cache folder.

    Attributes:
        holds_checks: Whether it knew of any image when it was opened, so that hashing bytes may be worth the while.
    """

    def __init__(self, audit: AuditSettings, file: Path | None = None) -> None:
        limits = audit.model_dump(include=set(_LIMITS))
        readers = {name: importlib.metadata.version(name) for name in ("pillow", "opencv-python", "numpy")}
        self._kind = stable_hash([VERSION, limits, readers])[:16]
        self._day = int(time.time()) // _DAY
        self._db: sqlite3.Connection | None = None
        if audit.cache:
            self._open(file or cache_folder() / "checks.sqlite")
        self.holds_checks = self._row("SELECT 1 FROM checks LIMIT 1", ()) is not None

    def __enter__(self) -> CheckCache:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def of_files(self, paths: Sequence[Path], stamps: Sequence[str]) -> list[ImageCheck | None]:
        """What is known of files that have not changed since; None for the others."""
        return [self._of_file(path, stamp) if stamp else None for path, stamp in zip(paths, stamps, strict=True)]

    def of_bytes(self, path: Path, sha256: str) -> ImageCheck | None:
        """What is known of a file of this name's kind with these bytes."""
        return self._check(self._key(path, sha256))

    def remember(self, found: Iterable[tuple[Path, str, ImageCheck]]) -> None:
        """Keep what was found out about files: path, stamp and check. Of files without a hash nothing is kept."""
        known = [(path, stamp, check) for path, stamp, check in found if stamp and check.source_sha256]
        files = [(os.fsencode(path), stamp, check.source_sha256, self._day) for path, stamp, check in known]
        checks = [
            (self._key(path, check.source_sha256), _body(check), check.signature, self._day) for path, _, check in known
        ]
        self._write(
            ("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?)", files),
            ("INSERT OR REPLACE INTO checks VALUES (?, ?, ?, ?)", checks),
        )

    def audit(self, key: str) -> Any:
        """The result kept under that key; None if there is none."""
        row = self._row("SELECT body, day FROM audits WHERE key = ?", (key,))
        with contextlib.suppress(ValueError, TypeError):
            return json.loads(row[0]) if row else None
        return None

    def remember_audit(self, key: str, result: Any) -> None:
        """Keep the result of an audit."""
        self._write(("INSERT OR REPLACE INTO audits VALUES (?, ?, ?)", [(key, json.dumps(result), self._day)]))

    def close(self) -> None:
        """Forget the oldest of what is too much, and let the database go."""
        if self._db is None:
            return
        limits = (("files", "path", MAX_FILES), ("checks", "key", MAX_FILES), ("audits", "key", MAX_AUDITS))
        for table, key, most in limits:
            row = self._row(f"SELECT COUNT(*) FROM {table}", ())  # noqa: S608 - our own names
            if row and row[0] > most:
                oldest = f"DELETE FROM {table} WHERE {key} IN (SELECT {key} FROM {table} ORDER BY day LIMIT ?)"  # noqa: S608
                self._write((oldest, [(row[0] - most,)]))
        with contextlib.suppress(sqlite3.Error):
            self._db.close()
        self._db = None

    def _of_file(self, path: Path, stamp: str) -> ImageCheck | None:
        row = self._row("SELECT stamp, sha256, day FROM files WHERE path = ?", (os.fsencode(path),))
        if row is None or row[0] != stamp:
            return None
        return self._check(self._key(path, row[1]))

    def _check(self, key: str) -> ImageCheck | None:
        row = self._row("SELECT body, signature, day FROM checks WHERE key = ?", (key,))
        if row is None:
            return None
        try:
            body = json.loads(row[0])
            body["notes"] = tuple(tuple(note) for note in body["notes"])
            return ImageCheck(**body, signature=row[1])
        except (ValueError, TypeError, KeyError):
            return None

    def _key(self, path: Path, sha256: str) -> str:
        return f"{sha256}{path.suffix.lower()}-{self._kind}"

    def _open(self, file: Path) -> None:
        for attempt in (1, 2):
            try:
                file.parent.mkdir(parents=True, exist_ok=True)
                self._db = sqlite3.connect(file, timeout=5)
                self._db.executescript(f"PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; {_TABLES}")
                return
            except sqlite3.OperationalError:  # locked, or a place that cannot be written
                break
            except sqlite3.DatabaseError:  # damaged: it held nothing that cannot be found out again
                self._drop()
                with contextlib.suppress(OSError):
                    file.unlink()
                if attempt == 2:
                    break
            except OSError:
                break
        self._drop()

    def _drop(self) -> None:
        if self._db is not None:
            with contextlib.suppress(sqlite3.Error):
                self._db.close()
        self._db = None

    def _row(self, query: str, values: tuple[Any, ...]) -> Any:
        if self._db is None:
            return None
        try:
            return self._db.execute(query, values).fetchone()
        except sqlite3.Error:
            self._drop()
            return None

    def _write(self, *changes: tuple[str, list[tuple[Any, ...]]]) -> None:
        if self._db is None:
            return
        try:
            with self._db:
                for change, rows in changes:
                    self._db.executemany(change, rows)
        except sqlite3.Error:
            self._drop()


def stamp(path: Path) -> str:
    """What tells a file from a changed one of its name; empty for what is no file, or was changed a moment ago."""
    try:
        info = path.stat()
    except (OSError, ValueError):
        return ""
    if not stat.S_ISREG(info.st_mode) or not settled(info.st_mtime_ns):
        return ""
    return f"{info.st_size}:{info.st_mtime_ns}:{info.st_ctime_ns}:{info.st_ino}"


def settled(mtime_ns: int) -> bool:
    """Whether a file was changed long enough ago that another change would show in its time."""
    return time.time_ns() - mtime_ns > _SETTLED_NS


def digest(path: Path) -> str:
    """sha256 (hex) of a file; empty where it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, ValueError):
        return ""


def _body(check: ImageCheck) -> str:
    values = asdict(check)
    del values["signature"]
    return json.dumps(values)
