"""Images from a detector alone: pixels that make a teacher see boxes nobody drew, for when its data set is gone.

Chawla et al., "Data-free Knowledge Distillation for Object Detection" (DIODE), WACV 2021: from noise, the pixels
descend the teacher's own detection loss on sampled boxes, kept natural by what its batch normalisation remembers.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from kdyolo.boxes import Boxes
from kdyolo.config import RuntimeSettings
from kdyolo.distill.targets import MARGIN, Targets, sample_targets
from kdyolo.engine import checkpoints, environment
from kdyolo.errors import ConfigError, StageError
from kdyolo.progress import Progress
from kdyolo.storage import atomic_path, sha256_file, write_json

FILE = "synthesis.json"
TERMS = ("detection", "bn", "tv", "l2")
_STRIDE = 32  # of the coarsest feature map
_LEAST_OVERLAP = 0.5
"""Of a target with the predictions inside it, for the assignment: by itself the stock loss asks for a confidence of 0
where no prediction overlaps a target, which is a minimum that noise does not leave."""


@dataclass(frozen=True)
class Recipe:
    """What decides the images, beside the teacher.

    Attributes:
        images: How many.
        imgsz: Their side (px, a multiple of 32); the teacher should have seen objects at this scale.
        steps: Gradient steps a batch.
        batch: Images made together; their joint statistics are held to those of the teacher.
        seed: Of noise, boxes and jitter.
        w_detection: Weight of the detection loss, gains as in the teacher's training.
        w_bn: Weight of `batch_norm_distance`.
        w_tv: Weight of `total_variation`.
        w_l2: Weight of the mean squared distance from mid-grey.
        lr: Learning rate of Adam at the first step; it falls to 0 along a cosine.

    Raises:
        ConfigError: A value makes no sense.
    """

    images: int
    imgsz: int = 160
    steps: int = 300
    batch: int = 8
    seed: int = 0
    w_detection: float = 1.0
    w_bn: float = 0.01
    w_tv: float = 1000.0
    w_l2: float = 1.0
    lr: float = 0.1

    def __post_init__(self) -> None:
        if min(self.images, self.steps, self.batch) < 1 or self.seed < 0:
            raise ConfigError("Synthesis needs at least one image, step and image a batch, and a seed of 0 or more.")
        if self.imgsz < _STRIDE or self.imgsz % _STRIDE:
            raise ConfigError(f"Images of {self.imgsz} px cannot be made.", f"Choose a multiple of {_STRIDE}.")
        weights = (self.w_detection, self.w_bn, self.w_tv, self.w_l2)
        if not all(math.isfinite(value) and value >= 0 for value in (*weights, self.lr)) or self.lr == 0:
            raise ConfigError("Weights of a synthesis are finite and not negative, and its learning rate is above 0.")


@dataclass(frozen=True)
class Synthesis:
    """What was made.

    Attributes:
        images: PNG files, in order.
        first: Loss of each of `TERMS`, weighted, at the first step; mean over all batches.
        last: The same at the last step.
        seconds: Of this call; images kept from an earlier one cost nothing.
    """

    images: list[Path]
    first: dict[str, float]
    last: dict[str, float]
    seconds: float


def synthesise(
    checkpoint: Path, recipe: Recipe, runtime: RuntimeSettings, folder: Path, progress: Progress
) -> Synthesis:
    """Make images that a teacher sees objects in; no data set is read.

    Computed in fp32 whatever `runtime.precision` says. On a CPU the same teacher, recipe, versions and number of
    threads give the same bytes. Batches are independent: images that a stopped call left are kept.

    Args:
        checkpoint: The teacher; only read.
        recipe: How many images, and how.
        runtime: Device and threads.
        folder: Where ``synthetic-00000.png`` ... and ``synthesis.json`` go: new, empty, or of the same teacher and
            recipe.
        progress: Told of every step.

    Raises:
        ConfigError: The folder holds something else, or the teacher has no batch normalisation to be held to.
        StageError: A loss is not finite.
        UntrustedFileError, EnvironmentFault: See `checkpoints.load` and `environment`.
    """
    started = time.perf_counter()
    teacher = _Teacher(checkpoint, runtime, needs_norms=recipe.w_bn > 0)
    state = _begin(folder, checkpoint, recipe)
    targets = sample_targets(recipe.images, teacher.nc, recipe.seed)
    paths = [folder / f"synthetic-{index:05d}.png" for index in range(recipe.images)]
    slices = [range(at, min(at + recipe.batch, recipe.images)) for at in range(0, recipe.images, recipe.batch)]
    todo = [
        number
        for number, own in enumerate(slices)
        if str(number) not in state["batches"] or not all(paths[index].is_file() for index in own)
    ]
    progress.start("Synthesis", recipe.steps * len(todo))
    for done, number in enumerate(todo):
        own = slices[number]
        pixels, losses = _make(teacher, recipe, number, targets.part(own), progress, done * recipe.steps)
        for index, image in zip(own, pixels, strict=True):
            if not paths[index].is_file():
                _write_png(paths[index], image)
        state["batches"][str(number)] = losses
        write_json(folder / FILE, state)
    progress.finish()
    shares = [len(own) / recipe.images for own in slices]
    first, last = (
        {term: sum(share * state["batches"][str(n)][when][term] for n, share in enumerate(shares)) for term in TERMS}
        for when in ("first", "last")
    )
    return Synthesis(paths, first, last, time.perf_counter() - started)


class _Teacher:
    """A frozen detector in fp32 with its detection loss."""

    def __init__(self, checkpoint: Path, runtime: RuntimeSettings, needs_norms: bool) -> None:
        environment.harden()
        from ultralytics.utils import IterableSimpleNamespace

        from kdyolo.engine.precision import Fp32DetectionLoss

        model, _ = checkpoints.load(checkpoint)
        self.device = torch.device(environment.torch_device(runtime.device))
        environment.prepare_cpu(runtime.threads)
        self.model = model.eval().requires_grad_(False).to(self.device, memory_format=torch.channels_last)
        self.norms = [module for module in self.model.modules() if isinstance(module, nn.BatchNorm2d)]
        if needs_norms and not self.norms:
            raise ConfigError(f"{checkpoint} has no batch normalisation.", "Give the checkpoint of a training.")
        self.nc = int(self.model.model[-1].nc)
        self.model.args = IterableSimpleNamespace(**self.model.args)
        self._loss = Fp32DetectionLoss(self.model)
        overlap = self._loss.assigner.iou_calculation
        self._loss.assigner.iou_calculation = lambda gt, pd: overlap(gt, pd).clamp(min=_LEAST_OVERLAP)

    def terms(self, pixels: Tensor, targets: Targets, xywhn: Boxes) -> dict[str, Tensor]:
        """Unweighted loss of each of `TERMS` for images (B, 3, H, W) in [0, 1]."""
        batch = {
            "batch_idx": torch.from_numpy(targets.image).float(),
            "cls": torch.from_numpy(targets.cls).float(),
            "bboxes": torch.from_numpy(xywhn).float(),
        }
        with listening(self.norms) as distances:
            output = self.model(pixels)
        detection = self._loss(output, batch)[0].sum() / len(pixels)
        bn = torch.stack(distances).sum() if distances else pixels.new_zeros(())
        return {"detection": detection, "bn": bn, "tv": total_variation(pixels), "l2": (pixels - 0.5).square().mean()}


@contextlib.contextmanager
def listening(norms: list[nn.BatchNorm2d]) -> Iterator[list[Tensor]]:
    """While the block runs, collect `batch_norm_distance` of every input of these layers."""
    distances: list[Tensor] = []

    def hear(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(norm, nn.BatchNorm2d)
        distances.append(batch_norm_distance(norm, inputs[0]))

    hooks = [norm.register_forward_pre_hook(hear) for norm in norms]
    try:
        yield distances
    finally:
        for hook in hooks:
            hook.remove()


def batch_norm_distance(norm: nn.BatchNorm2d, inputs: Tensor) -> Tensor:
    """How far the statistics of a layer's input (B, C, H, W) are from those of its training.

    Lengths of the differences of mean and of variance, added (Yin et al., "Dreaming to Distill", CVPR 2020, eq. 4).
    """
    assert norm.running_mean is not None
    assert norm.running_var is not None
    variance, mean = torch.var_mean(inputs, (0, 2, 3), correction=0)
    gaps = (mean - norm.running_mean, variance - norm.running_var)
    return torch.stack([torch.linalg.vector_norm(gap) for gap in gaps]).sum()


def total_variation(pixels: Tensor) -> Tensor:
    """Mean over images (B, C, H, W) of the squared differences of neighbours, down and right, added.

    Mahendran and Vedaldi, "Understanding Deep Image Representations by Inverting Them", CVPR 2015, sec. 3.2, beta 2.
    """
    down, right = pixels.diff(dim=2), pixels.diff(dim=3)
    return down.square().mean() + right.square().mean()


def _make(
    teacher: _Teacher, recipe: Recipe, number: int, targets: Targets, progress: Progress, done: int
) -> tuple[NDArray[np.uint8], dict[str, dict[str, float]]]:
    """One batch: images (B, H, W, 3) RGB, and the weighted losses of its first and last step."""
    rng = np.random.default_rng((recipe.seed, 1, number))
    shape = (int(targets.image[-1]) + 1, 3, recipe.imgsz, recipe.imgsz)
    noise = rng.normal(0.5, 0.2, shape).clip(0, 1).astype(np.float32)
    pixels = torch.from_numpy(noise).to(teacher.device).requires_grad_()
    optimizer = torch.optim.Adam([pixels], recipe.lr)
    weights = {term: getattr(recipe, f"w_{term}") for term in TERMS}
    told: dict[str, dict[str, float]] = {}
    for step in range(recipe.steps):
        optimizer.param_groups[0]["lr"] = recipe.lr * (1 + math.cos(math.pi * step / recipe.steps)) / 2
        shown, xywhn = _jitter(pixels, targets, rng)
        losses = {term: weights[term] * loss for term, loss in teacher.terms(shown, targets, xywhn).items()}
        total = torch.stack(list(losses.values())).sum()
        if not total.isfinite():
            raise StageError(f"The loss of batch {number} is not finite at step {step}.", "Lower lr or the weights.")
        (pixels.grad,) = torch.autograd.grad(total, [pixels])
        optimizer.step()
        with torch.no_grad():
            pixels.clamp_(0, 1)
        if step in (0, recipe.steps - 1):
            told["last"] = {term: float(loss.detach()) for term, loss in losses.items()}
            told.setdefault("first", told["last"])
        progress.update(done + step + 1, loss=float(total.detach()))
    finished = (pixels.detach().cpu() * 255).round().byte().permute(0, 2, 3, 1)
    return np.ascontiguousarray(finished.numpy()), told


def _jitter(pixels: Tensor, targets: Targets, rng: np.random.Generator) -> tuple[Tensor, Boxes]:
    """The images flipped or not and shifted, what leaves on one side entering on the other; and the boxes with them."""
    side = pixels.shape[-1]
    flip, most = bool(rng.integers(2)), int(side * MARGIN)
    dx, dy = (int(shift) for shift in rng.integers(-most, most + 1, 2))
    shown = pixels.flip(3) if flip else pixels
    return shown.roll((dy, dx), (2, 3)), targets.moved(flip, dx / side, dy / side)


def _begin(folder: Path, checkpoint: Path, recipe: Recipe) -> dict[str, Any]:
    """What `synthesis.json` says, written now if there is none; refuses a folder of other work."""
    wanted = {"teacher_sha256": sha256_file(checkpoint), "recipe": asdict(recipe)}
    hint = "Give another folder, or take this one away."
    if not (folder / FILE).is_file():
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise ConfigError(f"{folder} holds something else than synthetic images.", hint)
        versions = {name: importlib.metadata.version(name) for name in ("kdyolo", "torch", "ultralytics")}
        state: dict[str, Any] = {**wanted, "versions": versions, "batches": {}}
        write_json(folder / FILE, state)
        return state
    try:
        state = json.loads((folder / FILE).read_text(encoding="utf-8"))
        held, batches = {key: state[key] for key in wanted}, dict(state["batches"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{folder / FILE} cannot be read: {error}.", hint) from error
    for key, whose in (("teacher_sha256", "teacher"), ("recipe", "recipe")):
        if held[key] != wanted[key]:
            raise ConfigError(f"The images in {folder} were made with another {whose}.", hint)
    return {**state, "batches": batches}


def _write_png(path: Path, rgb: NDArray[np.uint8]) -> None:
    _, encoded = cv2.imencode(".png", rgb[..., ::-1])
    with atomic_path(path) as temporary:
        temporary.write_bytes(encoded.tobytes())
