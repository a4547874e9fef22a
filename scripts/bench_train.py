"""Training epochs of kdyolo against plain ultralytics: same data, same recipe, alternating processes.

    python scripts/bench_train.py --data path/to/data --model yolov5n --rounds 3

Prints seconds an epoch of every round (validation included, first epoch left out) and the ratio of the medians. Run it
on an idle machine. Without --data it draws the demo set.
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

import pandas as pd

import kdyolo
from kdyolo.datasets import demo

PLAIN = """
import sys, json
from ultralytics import YOLO
a = json.loads(sys.argv[1])
YOLO(a["model"] + ".yaml").train(data=a["data"], epochs=a["epochs"], imgsz=a["imgsz"], batch=a["batch"], device="cpu",
    optimizer="AdamW", lr0=0.001, nbs=a["batch"], pretrained=False, plots=False, project=a["out"], name="plain")
"""
OURS = """
import sys, json
from pathlib import Path
from kdyolo.config import RuntimeSettings, TrainSettings
from kdyolo.engine.job import TrainJob
from kdyolo.engine.training import train
from kdyolo.progress import Silent
a = json.loads(sys.argv[1])
view = Path(a["data"]).parent
train(TrainJob(Path(a["out"]) / "kdyolo", view / "images/train", view / "images/val", tuple(a["names"]),
    TrainSettings(model=a["model"], from_scratch=True, epochs=a["epochs"], imgsz=a["imgsz"], batch=a["batch"]),
    None, 0, RuntimeSettings(device="cpu", precision=a["precision"]), "bench", Path(a["out"]) / "log"), Silent())
"""


def main() -> None:
    """Parse, prepare one clean view, run the rounds, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="labelled data set; default: the demo set")
    parser.add_argument("--model", default="yolov5n")
    parser.add_argument("--imgsz", type=int, default=320)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=3, help="per process; the first one is not counted")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--images", type=int, help="use only so many training and validation images")
    parser.add_argument("--precision", default="auto", choices=("auto", "fp32", "bf16"))
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(given, Path(folder))
    table = pd.DataFrame(rows)
    print(table.to_string(index=False, float_format="%.2f"))
    medians = table.groupby("trainer")["seconds_an_epoch"].median()
    print(f"\nmedian: {medians.to_dict()}  ratio: {medians['plain'] / medians['kdyolo']:.2f}")


def measure(given: argparse.Namespace, folder: Path) -> list[dict[str, object]]:
    """Seconds an epoch of each trainer in each round; who goes first alternates."""
    data = prepare(given.data, folder, given.images)
    task = {key: getattr(given, key) for key in ("model", "imgsz", "batch", "epochs", "precision")}
    task |= {"data": str(data), "out": str(folder / "out"), "names": kdyolo_names(data)}
    rows: list[dict[str, object]] = []
    for number in range(given.rounds):
        pair = [("plain", PLAIN), ("kdyolo", OURS)]
        for name, code in pair if number % 2 == 0 else pair[::-1]:
            seconds = epoch_seconds(name, code, task, folder)
            rows.append({"round": number + 1, "trainer": name, "seconds_an_epoch": seconds})
            print(f"round {number + 1} {name}: {seconds:.2f} s", file=sys.stderr)
    return rows


def prepare(source: Path | None, folder: Path, images: int | None) -> Path:
    """A clean view in `folder`, with at most `images` training and validation images; returns its data.yaml."""
    source = source or demo.generate(folder / "demo")
    kdyolo.split(source, run=folder / "run", settings={"split.repair": True})
    view = folder / "run" / "split"
    for split in ("train", "val"):
        for extra in sorted((view / "images" / split).iterdir())[images or 10**9 :]:
            extra.unlink()
    return view / "data.yaml"


def kdyolo_names(data: Path) -> list[str]:
    """Class names of a view."""
    from kdyolo.yamlio import load_mapping

    names = load_mapping(data)["names"]
    return list(names.values()) if isinstance(names, dict) else list(names)


def epoch_seconds(name: str, code: str, task: Mapping[str, object], folder: Path) -> float:
    """Median seconds of the epochs after the first, from the training's own table."""
    out = folder / "out"
    shutil.rmtree(out, ignore_errors=True)
    # Each trainer sets up its own threads; plain ultralytics gets a settings folder of its own, as on first use.
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "YOLO_", "ULTRALYTICS_"))}
    environment |= {"YOLO_CONFIG_DIR": str(folder / "settings"), "YOLO_OFFLINE": "true"}
    subprocess.run(
        [sys.executable, "-c", code, json.dumps(task)], check=True, env=environment, cwd=folder, capture_output=True
    )
    times = pd.read_csv(next(out.rglob("results.csv")))["time"]
    return float(statistics.median(times.diff().dropna()))


if __name__ == "__main__":
    main()
