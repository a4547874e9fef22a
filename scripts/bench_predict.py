"""`yolo predict` against kdyolo's backends: milliseconds an image, end to end, with the same weights.

    python scripts/bench_predict.py CHECKPOINT IMAGES --calibration TRAIN_IMAGES --imgsz 640 --rounds 3

`ultralytics.YOLO(CHECKPOINT).predict(image, imgsz=640)` with the library's defaults, and each backend of kdyolo, on the
same decoded images one at a time. The library sets threads for the whole process, so it runs in processes of its own,
in turns with those of kdyolo; within a process the backends take turns image by image. Run it on an idle machine.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

PLAIN = """
import sys, json, time, statistics
from itertools import cycle, islice
import cv2
from ultralytics import YOLO
a = json.loads(sys.argv[1])
model = YOLO(a["checkpoint"])
images = [cv2.imread(path) for path in a["images"]]
taken = []
for number, image in enumerate(islice(cycle(images), a["warmup"] + a["timed"])):
    start = time.perf_counter()
    model.predict(image, imgsz=a["imgsz"], verbose=False)
    taken.append(1000 * (time.perf_counter() - start))
print(json.dumps({"yolo predict": statistics.median(taken[a["warmup"]:])}))
"""
OURS = """
import sys, json
from pathlib import Path
from kdyolo.config import RuntimeSettings
from kdyolo.engine.backends import open_detector
from kdyolo.evaluation.speed import measure
a = json.loads(sys.argv[1])
runtime, calibration = RuntimeSettings(device="cpu"), [Path(path) for path in a["calibration"]]
models = {
    name: open_detector(name, Path(a["checkpoint"]), a["imgsz"], runtime, calibration=calibration)
    for name in a["backends"]
}
found = measure(models, [Path(path) for path in a["images"]], a["timed"], a["warmup"])
print(json.dumps({name: row["p50"] for name, row in found.items()}))
"""


def main() -> None:
    """Parse, run the rounds, print the medians of the rounds and how many times as fast as `yolo predict` they are."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("images", type=Path, help="folder of images to time")
    parser.add_argument("--calibration", type=Path, required=True, help="folder of training images, for int8")
    parser.add_argument("--backends", default="torch-fp32,torch,onnx,openvino,openvino-bf16,openvino-int8")
    parser.add_argument("--imgsz", type=int, default=640)
    parser.add_argument("--timed", type=int, default=60)
    parser.add_argument("--warmup", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    task = {"checkpoint": str(given.checkpoint.resolve()), "backends": given.backends.split(",")}
    task |= {"images": files(given.images)[: given.timed], "calibration": files(given.calibration)}
    task |= {"imgsz": given.imgsz, "timed": given.timed, "warmup": given.warmup}
    rounds: dict[str, list[float]] = {}
    for number in range(given.rounds):
        for code in (PLAIN, OURS)[:: 1 if number % 2 == 0 else -1]:
            for name, milliseconds in run(code, task).items():
                rounds.setdefault(name, []).append(milliseconds)
                print(f"round {number + 1} {name}: {milliseconds:.1f} ms", file=sys.stderr)
    plain = statistics.median(rounds["yolo predict"])
    print(f"{'':16} p50 ms  faster  rounds")
    for name, taken in sorted(rounds.items(), key=lambda item: -statistics.median(item[1])):
        median = statistics.median(taken)
        print(f"{name:16} {median:6.1f}  {plain / median:5.2f}x  {' '.join(f'{one:.1f}' for one in taken)}")


def files(folder: Path) -> list[str]:
    """The image files of a folder, sorted."""
    endings = (".jpg", ".jpeg", ".png", ".bmp")
    return sorted(str(path.resolve()) for path in folder.rglob("*") if path.suffix.lower() in endings)


def run(code: str, task: dict[str, object]) -> dict[str, float]:
    """Milliseconds by name, from one process; the library's defaults are not touched by our environment."""
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    environment["YOLO_AUTOINSTALL"] = "false"
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps(task)], capture_output=True, text=True, check=True, env=environment
    )
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


if __name__ == "__main__":
    main()
