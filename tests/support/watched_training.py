"""A training in a process of its own that may not reach the network or start anything; prints what it found as JSON.

Arguments: folder of training images, folder of validation images, a working folder.
"""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

attempts = []


def refuse(kind):
    def attempt(*arguments, **named):
        attempts.append([kind, str(arguments[-1] if kind == "connect" else arguments)])
        raise OSError(f"{kind} is not allowed here")

    return attempt


socket.socket.connect = refuse("connect")
socket.socket.connect_ex = refuse("connect")
socket.getaddrinfo = refuse("getaddrinfo")
socket.create_connection = refuse("create_connection")
start = subprocess.Popen.__init__
subprocess.Popen.__init__ = lambda self, *a, **k: (attempts.append(["process", str(a)]), start(self, *a, **k))[1]
os.system = refuse("system")

from kdyolo.config import RuntimeSettings, TrainSettings  # noqa: E402
from kdyolo.engine.training import TrainJob, train  # noqa: E402
from kdyolo.progress import Silent  # noqa: E402

train_folder, val_folder, folder = map(Path, sys.argv[1:])
settings = TrainSettings(model="yolov5n", from_scratch=True, epochs=1, imgsz=64, batch=4)
runtime = RuntimeSettings(device="cpu", threads=1, offline=True)
job = TrainJob(
    folder, train_folder, val_folder, ("a", "b", "c", "d"), settings, None, 0, runtime, "watched", folder / "log.txt"
)
outcome = train(job, Silent())

import ultralytics.utils  # noqa: E402
from ultralytics.utils import events  # noqa: E402

print(
    json.dumps(
        {
            "attempts": attempts,
            "facts": outcome.facts,
            "settings": dict(ultralytics.utils.SETTINGS),
            "settings_file": str(ultralytics.utils.SETTINGS_FILE),
            "autoinstall": ultralytics.utils.AUTOINSTALL,
            "events": events.events.enabled if hasattr(events, "events") else None,
            "threads_now": __import__("torch").get_num_threads(),
        },
        default=str,
    )
)
