"""Pseudo-labelling against `yolo predict save_txt`: images a second, and whether the boxes are the same.

    python scripts/bench_label.py CHECKPOINT IMAGES --imgsz 320 --rounds 3

Both label the same folder with the same weights in alternating processes; loading the model is not counted. Boxes are
compared in fp32 at the same threshold. Run it on an idle machine.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from kdyolo.boxes import Boxes, iou_matrix, xywh_to_xyxy
from kdyolo.datasets.formats.labels import read_labels

PLAIN = """
import sys, json, time
from ultralytics import YOLO
a = json.loads(sys.argv[1])
model = YOLO(a["checkpoint"])
options = dict(imgsz=a["imgsz"], conf=a["conf"], device="cpu", stream=True, verbose=False)
list(model.predict(a["first"], **options))
start = time.perf_counter()
for _ in model.predict(a["images"], save_txt=True, project=a["out"], name="plain", exist_ok=True, **options):
    pass
print(json.dumps(time.perf_counter() - start))
"""
OURS = """
import sys, json, time
from pathlib import Path
from kdyolo.config import RuntimeSettings
from kdyolo.datasets.images import find_images, oriented_size
from kdyolo.datasets.formats.labels import write_labels
from kdyolo.engine.detector import Detector
from kdyolo.pseudo.table import judge
a = json.loads(sys.argv[1])
detector = Detector(Path(a["checkpoint"]), a["imgsz"], RuntimeSettings(device="cpu", precision=a["precision"]))
paths = find_images(Path(a["images"]))
list(detector.predict([Path(a["first"])], a["conf"], 0.7))
start = time.perf_counter()
for outcome in detector.predict(paths, a["conf"], 0.7):
    width, height = oriented_size(outcome.path)
    found = judge(outcome.detections, [0.0] * len(detector.class_names), width, height)
    write_labels(Path(a["out"]) / "kdyolo" / "labels" / f"{outcome.path.stem}.txt", found.cls, found.xywhn)
print(json.dumps(time.perf_counter() - start))
"""


def main() -> None:
    """Parse, run the rounds, compare the boxes, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("images", type=Path, help="folder of images without sub-folders")
    parser.add_argument("--imgsz", type=int, default=640)
    parser.add_argument("--conf", type=float, default=0.25)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    files = sorted(path for path in given.images.iterdir() if path.is_file())
    task = {"checkpoint": str(given.checkpoint.resolve()), "images": str(given.images.resolve())}
    task |= {"imgsz": given.imgsz, "conf": given.conf, "first": str(files[0].resolve())}
    with tempfile.TemporaryDirectory() as folder:
        rates: dict[str, list[float]] = {"plain": [], "kdyolo": []}
        for number in range(given.rounds):
            for name in ("plain", "kdyolo")[:: 1 if number % 2 == 0 else -1]:
                seconds = run(name, task | {"precision": "auto"}, Path(folder))
                rates[name].append(len(files) / seconds)
                print(f"round {number + 1} {name}: {rates[name][-1]:.2f} images/s", file=sys.stderr)
        run("plain", task, Path(folder))
        run("kdyolo", task | {"precision": "fp32"}, Path(folder))
        share, boxes = agreement(Path(folder))
    medians = {name: round(statistics.median(values), 2) for name, values in rates.items()}
    print(f"images/s, median: {medians}  ratio: {medians['kdyolo'] / medians['plain']:.2f}")
    print(f"fp32 boxes of one class with IoU >= 0.95: {100 * share:.2f} % of {boxes}")


def run(name: str, task: Mapping[str, object], folder: Path) -> float:
    """Seconds one of the two takes for all images, in a process of its own."""
    shutil.rmtree(folder / "out" / name, ignore_errors=True)
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "YOLO_", "ULTRALYTICS_"))}
    environment |= {"YOLO_CONFIG_DIR": str(folder / "settings"), "YOLO_OFFLINE": "true"}
    command = [
        sys.executable,
        "-c",
        PLAIN if name == "plain" else OURS,
        json.dumps({**task, "out": str(folder / "out")}),
    ]
    done = subprocess.run(command, check=True, env=environment, cwd=folder, capture_output=True, text=True)
    return float(done.stdout.strip().splitlines()[-1])


def agreement(folder: Path) -> tuple[float, int]:
    """Share of plain boxes that have a box of ours of the same class with IoU >= 0.95, and how many boxes there are.

    A box only one side has counts as a disagreement on either side.
    """
    matched = total = 0
    plain, ours = ({p.stem: boxes(p) for p in folder.glob(f"out/{n}/labels/*.txt")} for n in ("plain", "kdyolo"))
    for stem in plain.keys() | ours.keys():
        a, b = plain.get(stem, ([], np.zeros((0, 4)))), ours.get(stem, ([], np.zeros((0, 4))))
        total += max(len(a[0]), len(b[0]))
        same = np.equal.outer(np.asarray(a[0], int), np.asarray(b[0], int))
        matched += int((same & (iou_matrix(a[1], b[1]) >= 0.95)).any(axis=1).sum()) if len(b[0]) else 0
    return matched / max(total, 1), total


def boxes(path: Path) -> tuple[list[int], Boxes]:
    """Class ids and corner boxes, as shares of the image, of a label file."""
    cls, xywhn = read_labels(path)
    return cls.tolist(), xywh_to_xyxy(xywhn)


if __name__ == "__main__":
    main()
