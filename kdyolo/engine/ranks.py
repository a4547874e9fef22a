"""A training in several processes, one for each device: started, watched and ended from here.

Each process gets its task through a pipe. While the pipe is open, its training is wanted: when this process ends in
whatever way, they see the end of the pipe and end as well. What they say comes back through another pipe, a line of
JSON for each thing.
"""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import queue
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kdyolo import errors
from kdyolo.engine import environment
from kdyolo.engine.job import TrainJob
from kdyolo.errors import ConfigError, KdyoloError, StageError
from kdyolo.progress import Progress
from kdyolo.storage import cache_folder

SIZE_BYTES = 8
"""Length of the number before a task that says how long the task is."""
STOP = b"s"
"""Sent after the task: the training is to stop at the next step."""
_GRACE = 3.0  # seconds that other processes have for a better reason than that one of them is gone
_GOODBYE = 15.0  # seconds to end by themselves when all is done


@dataclass(frozen=True)
class Task:
    """What one of the processes does.

    Attributes:
        job: The training.
        overrides: Ultralytics' settings of it.
        make: See `engine.training.train`.
        rank: The number of this process, from 0.
        size: How many there are.
        device: Its own: ``cpu`` or a CUDA index.
        meeting: Where they find each other, see `collective.join`.
    """

    job: TrainJob
    overrides: dict[str, Any]
    make: Callable[..., Any] | None
    rank: int
    size: int
    device: str
    meeting: Path


@dataclass
class _Worker:
    rank: int
    process: subprocess.Popen[bytes]
    result: dict[str, Any] | None = None

    def send(self, data: bytes) -> None:
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # that it is gone is seen elsewhere
            self.process.stdin.write(data)
            self.process.stdin.flush()


def require_alone() -> None:
    """Make sure that nobody else has made this process one of several, each of which would start a training.

    Raises:
        ConfigError: torchrun or a like launcher has.
    """
    size = os.environ.get("WORLD_SIZE", "")
    if "RANK" in os.environ and size.isdecimal() and int(size) > 1:
        raise ConfigError(
            f"This is one of {size} processes of torchrun or a launcher like it (RANK and WORLD_SIZE are set).",
            "Start kdyolo by itself: with --device 0,1 it starts a process for each GPU, on a CPU with "
            "-S runtime.processes=2.",
        )


def train(
    job: TrainJob,
    overrides: dict[str, Any],
    progress: Progress,
    stop: threading.Event,
    make: Callable[..., Any] | None,
) -> dict[str, Any]:
    """Train in several processes; arguments as of `engine.training.train`, but `make` must be one that can be pickled.

    Returns:
        ``best`` and ``results``, the files; ``facts``.

    Raises:
        KdyoloError: What a process stopped at.
        StageError: A process failed or died; or they ended with different weights.
        OSError: The disk is full, or a file cannot be written.
    """
    devices = environment.share_out(job.runtime)
    with tempfile.TemporaryDirectory(prefix="kdyolo-ranks-") as folder:
        tasks = [
            Task(job, overrides, make, rank, len(devices), device, Path(folder) / "meeting")
            for rank, device in enumerate(devices)
        ]
        with _started(tasks) as workers:
            _Watch(job, workers, progress, stop).until_done()
    said = [worker.result or {} for worker in workers]
    if len({one["weights_sha256"] for one in said}) > 1:
        raise StageError(
            f"The {len(said)} processes of {job.title} ended with different weights.",
            "This must not happen: please report it with the log of the run. Train on one device meanwhile.",
        )
    facts = {**said[0]["facts"], "device": name_of(devices), "processes": len(devices)}
    facts["ranks"] = [{name: one[name] for name in ("device", "images", "weights_sha256")} for one in said]
    return {"best": said[0]["best"], "results": said[0]["results"], "facts": facts}


def name_of(devices: Sequence[str]) -> str:
    """Devices of a training as its record names them, for example ``cuda:0,1``."""
    return f"cpu ({len(devices)} processes)" if devices[0] == "cpu" else f"cuda:{','.join(devices)}"


@contextlib.contextmanager
def _started(tasks: Sequence[Task]) -> Iterator[list[_Worker]]:
    """The processes with their tasks; none is left when the block ends."""
    workers: list[_Worker] = []
    log = tasks[0].job.log
    log.parent.mkdir(parents=True, exist_ok=True)
    try:
        with log.open("ab") as file:
            for task in tasks:
                process = subprocess.Popen(
                    [sys.executable, "-m", "kdyolo.engine.rank_worker", *task.job.runtime.track],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=file,
                    env=_environment(task),
                    start_new_session=True,  # Ctrl-C is for us, who pass it on
                )
                workers.append(_Worker(task.rank, process))
        for worker, task in zip(workers, tasks, strict=True):
            data = pickle.dumps(task)
            worker.send(len(data).to_bytes(SIZE_BYTES, "big") + data)
        yield workers
    finally:
        for worker in workers:
            _end(worker.process)


def _environment(task: Task) -> dict[str, str]:
    """What ultralytics and torch want to know before they are imported."""
    threads = environment.threads_each(task.job.runtime.threads, task.size)
    loopback = "lo0" if sys.platform == "darwin" else "lo"
    found = {
        **os.environ,
        "RANK": str(task.rank),
        "LOCAL_RANK": str(task.rank),
        "WORLD_SIZE": str(task.size),
        "OMP_NUM_THREADS": str(threads),
        "PYTHONSAFEPATH": "1",  # modules of the folder somebody happens to stand in are not ours
        "KDYOLO_CACHE": str(cache_folder()),
    }
    if loopback in [name for _, name in socket.if_nameindex()]:
        found.setdefault("GLOO_SOCKET_IFNAME", loopback)
    return found


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill a process that has not ended, with all that it started, and close its pipes."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()


class _Watch:
    """Passes on what the processes say until all are done or one is not going to be."""

    def __init__(self, job: TrainJob, workers: Sequence[_Worker], progress: Progress, stop: threading.Event) -> None:
        self.job, self.workers, self.progress, self.stop = job, workers, progress, stop
        self.inbox: queue.Queue[tuple[_Worker, dict[str, Any] | None]] = queue.Queue()
        self.failed: dict[int, Exception] = {}
        self.failed_at = 0.0
        for worker in workers:
            threading.Thread(target=self._listen, args=(worker,), daemon=True).start()

    def _listen(self, worker: _Worker) -> None:
        assert worker.process.stdout is not None
        with contextlib.suppress(ValueError, OSError):  # closed meanwhile; or half a line, of one that died
            for line in worker.process.stdout:
                self.inbox.put((worker, json.loads(line)))
        self.inbox.put((worker, None))

    def until_done(self) -> None:
        """Return when all are done; raises what `train` does."""
        told = False
        while not all(worker.result for worker in self.workers):
            if self.stop.is_set() and not told:
                told = True
                self.workers[0].send(STOP)
            with contextlib.suppress(queue.Empty):
                self._hear(*self.inbox.get(timeout=0.2))
            if self.failed and time.monotonic() > self.failed_at + _GRACE:
                raise next(iter(self.failed.values()))
        deadline = time.monotonic() + _GOODBYE
        for worker in self.workers:
            with contextlib.suppress(subprocess.TimeoutExpired):
                worker.process.wait(max(0.0, deadline - time.monotonic()))

    def _hear(self, worker: _Worker, message: dict[str, Any] | None) -> None:
        if message is None:
            if worker.result is None and worker.rank not in self.failed:
                raise self._death(worker)
        elif message["kind"] == "done":
            worker.result = message
        elif message["kind"] == "failed":
            if message["error"]:
                kind: type[KdyoloError] = getattr(errors, message["error"])
                raise kind(message["message"], message["hint"])
            self.failed_at = self.failed_at or time.monotonic()
            self.failed[worker.rank] = self._failure(worker, message)
        else:
            getattr(self.progress, message["kind"])(*message["given"], **message["named"])

    def _failure(self, worker: _Worker, message: dict[str, Any]) -> Exception:
        if message["os_error"]:
            return OSError(*message["os_error"])
        return StageError(
            f"Process {worker.rank + 1} of {len(self.workers)} of {self.job.title} failed: {message['message']}",
            f"The traceback is at the end of {self.job.log}.",
        )

    def _death(self, worker: _Worker) -> StageError:
        code: int | None = None
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = worker.process.wait(_GRACE)
        how = f"ended with exit code {code}"
        if code is not None and code < 0:
            how = f"was killed by signal {-code} ({signal.strsignal(-code) or 'unknown'})"
        return StageError(
            f"Process {worker.rank + 1} of {len(self.workers)} of {self.job.title} {how}.",
            "Finished epochs are kept: run the same command again to go on. If memory ran out, give a smaller --batch. "
            f"See the end of {self.job.log}.",
        )
