"""A training in two processes, to be killed. Arguments: folders of training and validation images, its own folder."""

import sys
from pathlib import Path

from kdyolo.config import RuntimeSettings, TrainSettings
from kdyolo.engine.job import TrainJob
from kdyolo.engine.training import train
from kdyolo.progress import Silent

images, val, folder = map(Path, sys.argv[1:])
settings = TrainSettings(model="yolov5n", from_scratch=True, epochs=1000, imgsz=64, batch=4)
runtime = RuntimeSettings(device="cpu", threads=1, precision="fp32", processes=2)
names = ("a", "b", "c", "d")
train(TrainJob(folder, images, val, names, settings, None, 0, runtime, "parent", folder / "log.txt"), Silent())
