"""What each distillation method adds to a training step of the student, the teacher's own forward pass not counted.

    python scripts/bench_methods.py --batch 8 --imgsz 320 --rounds 5

Forward and backward of the loss alone, on outputs of the given shape, against a whole step of a plain YOLOv5n (forward,
loss, backward, optimiser) in the same process and turn by turn. Prints milliseconds (median) and the share of a step.
Run it on an idle machine.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

from kdyolo.distill.outputs import HeadOutput
from kdyolo.distill.registry import build, catalogue
from kdyolo.engine import environment

STRIDES = (8, 16, 32)
N, X = (64, 128, 256), (320, 640, 1280)
Step = Callable[[], None]


def main() -> None:
    """Parse, run the rounds, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--imgsz", type=int, default=320)
    parser.add_argument("--nc", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, help="default: as kdyolo trains")
    given = parser.parse_args()
    environment.harden()
    environment.prepare_cpu(given.threads)
    steps: dict[str, Step] = {"plain step": plain_step(given)}
    for name in catalogue():
        steps[name] = method_step(name, given)
    taken: dict[str, list[float]] = {name: [] for name in steps}
    for number in range(given.rounds + 1):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            if number:  # the first one is slower
                taken[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(values) for name, values in taken.items()}
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {given}")
    for name, seconds in medians.items():
        spread = f"{1000 * min(taken[name]):.1f} to {1000 * max(taken[name]):.1f}"
        print(f"{name:12} {1000 * seconds:8.1f} ms ({spread})  {seconds / medians['plain step']:6.1%}")


def plain_step(given: argparse.Namespace) -> Step:
    """A training step of YOLOv5n on random images with four boxes each."""
    from ultralytics.cfg import get_cfg
    from ultralytics.nn.tasks import DetectionModel

    torch.manual_seed(0)
    model: Any = DetectionModel("yolov5n.yaml", nc=given.nc, verbose=False).train()
    model.args = get_cfg()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    boxes = 4 * given.batch
    batch = {
        "img": torch.rand(given.batch, 3, given.imgsz, given.imgsz).contiguous(memory_format=torch.channels_last),
        "batch_idx": torch.arange(given.batch).repeat_interleave(4).float(),
        "cls": torch.randint(given.nc, (boxes, 1)).float(),
        "bboxes": torch.rand(boxes, 4) * 0.3 + 0.3,
    }
    model = model.to(memory_format=torch.channels_last)

    def step() -> None:
        optimizer.zero_grad()
        loss, _ = model(batch)
        loss.sum().backward()
        optimizer.step()

    return step


def method_step(name: str, given: argparse.Namespace) -> Step:
    """Forward and backward of one method; one location in fifty is an object to the teacher."""
    module = build(name, N, X, given.nc)
    student, teacher = head(given, N, seed=1), head(given, X, seed=2)
    for tensor in (student.scores, student.boxes, *student.features):
        tensor.requires_grad_(True)

    def step() -> None:
        module.zero_grad()
        for tensor in (student.scores, student.boxes, *student.features):
            tensor.grad = None
        total, _ = module(student, teacher)
        total.backward()

    return step


def head(given: argparse.Namespace, channels: tuple[int, ...], seed: int) -> HeadOutput:
    """Random output of a head with these channels."""
    torch.manual_seed(seed)
    sides = [given.imgsz // stride for stride in STRIDES]
    locations = sum(side**2 for side in sides)
    scores = torch.randn(given.batch, given.nc, locations) - 6 + 7 * (torch.rand(given.batch, 1, locations) < 0.02)
    maps = [torch.randn(given.batch, c, side, side) for c, side in zip(channels, sides, strict=True)]
    maps = [x.contiguous(memory_format=torch.channels_last) for x in maps]
    raw = {"scores": scores, "boxes": torch.randn(given.batch, 64, locations), "feats": maps}
    return HeadOutput.from_raw(raw, STRIDES)


if __name__ == "__main__":
    main()
