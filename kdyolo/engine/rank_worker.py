"""One process of a training in several; started by `ranks`, which says what goes through which pipe.

python -m kdyolo.engine.rank_worker [TRACKER...] < task
"""

from __future__ import annotations

import json
import os
import pickle
import shutil
import signal
import sys
import threading
import traceback
from pathlib import Path
from typing import Any, NoReturn

from kdyolo import errors
from kdyolo.engine import environment
from kdyolo.engine.ranks import SIZE_BYTES, STOP, Task
from kdyolo.errors import KdyoloError
from kdyolo.progress import Progress, Silent


class _Channel:
    """What this process tells the one that started it. Standard output is for libraries, and goes to the log."""

    def __init__(self) -> None:
        self.file = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)

    def send(self, **message: Any) -> None:
        self.file.write(json.dumps(message) + "\n")
        self.file.flush()


class _Relay:
    """A `Progress` at the other end of the pipe."""

    def __init__(self, channel: _Channel) -> None:
        self.channel = channel

    def _pass_on(self, kind: str, *given: Any, **named: Any) -> None:
        self.channel.send(kind=kind, given=given, named=named)

    def start(self, title: str, total: int) -> None:
        self._pass_on("start", title, total)

    def update(self, completed: int, **figures: float | str) -> None:
        self._pass_on("update", completed, **figures)

    def finish(self) -> None:
        self._pass_on("finish")

    def note(self, message: str) -> None:
        self._pass_on("note", message)

    def warn(self, message: str) -> None:
        self._pass_on("warn", message)


def main() -> None:
    """Read the task, train, and say what came of it."""
    channel = _Channel()
    data = _read(int.from_bytes(_read(SIZE_BYTES), "big"))
    stop = threading.Event()
    meeting: list[Path] = []
    threading.Thread(target=_watch, args=(stop, meeting), daemon=True).start()
    try:
        environment.harden(sys.argv[1:])  # before anything of the task is imported
        task: Task = pickle.loads(data)  # noqa: S301 - our parent's, through a pipe that only it has
        meeting.append(task.meeting)
        channel.send(kind="done", **_train(task, channel, stop))
    except BaseException as error:
        traceback.print_exc()
        channel.send(kind="failed", **_describe(error))
        sys.stderr.flush()
        os._exit(1)  # others may wait for this process inside of torch, which would keep it


def _train(task: Task, channel: _Channel, stop: threading.Event) -> dict[str, Any]:
    from kdyolo.engine import collective
    from kdyolo.engine.trainer import Trainer

    progress: Progress = _Relay(channel) if task.rank == 0 else Silent()
    overrides = {**task.overrides, "device": task.device}
    with environment.noise_to(task.job.log):
        collective.join(task.meeting, task.rank, task.size, task.device)
        trainer = (task.make or Trainer)(overrides=overrides, job=task.job, progress=progress, stop=stop)
        trainer.train()
        collective.wait()
        found = {
            "best": str(trainer.best),
            "results": str(trainer.csv),
            "facts": trainer.facts() if task.rank == 0 and trainer.best.is_file() else {},
            "device": str(trainer.device),
            "images": len(trainer.train_loader.sampler),
            "weights_sha256": collective.fingerprint([*trainer.learners(), trainer.ema.ema]),
        }
        collective.leave()
    return found


def _read(length: int) -> bytes:
    data = b""
    while len(data) < length:
        part = os.read(0, length - len(data))
        if not part:
            _vanish([])
        data += part
    return data


def _watch(stop: threading.Event, meeting: list[Path]) -> None:
    """Hear that the training is to stop; or that nobody is there any more whom it could be for."""
    while (said := os.read(0, 1)) == STOP:
        stop.set()
    if not said:
        _vanish(meeting)


def _vanish(meeting: list[Path]) -> NoReturn:
    """End at once, with the processes that load images, and leave nothing about."""
    for file in meeting:
        shutil.rmtree(file.parent, ignore_errors=True)
    if os.getpgid(0) == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


def _describe(error: BaseException) -> dict[str, Any]:
    """An error as plain data: the class of `kdyolo.errors` or what the system said, if it is one of these."""
    kinds = [kind.__name__ for kind in type(error).__mro__ if kind.__module__ == errors.__name__]
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, OSError):
        cause = cause.__cause__ or cause.__context__
    told = [cause.errno, cause.strerror, os.fsdecode(cause.filename or "") or None] if cause else None
    known = isinstance(error, KdyoloError)
    return {
        "error": kinds[0] if known else "",
        "message": error.message if isinstance(error, KdyoloError) else f"{type(error).__name__}: {error}",
        "hint": error.hint if isinstance(error, KdyoloError) else "",
        "os_error": None if known or not told or told[0] is None else told,
    }


if __name__ == "__main__":
    main()
