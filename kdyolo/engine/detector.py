"""A trained model that finds boxes in images: one code path for pseudo-labels, accuracy and speed."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from kdyolo.boxes import Detections
from kdyolo.config import RuntimeSettings
from kdyolo.engine import checkpoints, environment

Image = NDArray[np.uint8]
MAX_DET = 300
_BATCH = {"cpu": 4, "cuda": 16}


@dataclass(frozen=True)
class Prediction:
    """One image's outcome: detections, or the reason there are none to trust (`unreadable`, `not_finite`)."""

    path: Path
    detections: Detections | None
    reason: str = ""


class Detector:
    """A checkpoint, fused and laid out for inference.

    Args:
        checkpoint: A detection checkpoint.
        imgsz: Long side images are resized to (px, a multiple of 32).
        runtime: Device, threads and precision.
        class_names: Names that class ids of detections stand for; None: the checkpoint's own.
        class_map: Checkpoint class id -> id in `class_names`; other classes are dropped. None: the same ids.

    Raises:
        UntrustedFileError, ConfigError, EnvironmentFault: see `checkpoints.load` and `environment`.
    """

    def __init__(
        self,
        checkpoint: Path,
        imgsz: int,
        runtime: RuntimeSettings,
        class_names: Sequence[str] | None = None,
        class_map: Mapping[int, int] | None = None,
    ) -> None:
        environment.harden()
        import torch
        from ultralytics.utils.torch_utils import get_num_params

        model, _ = checkpoints.load(checkpoint)
        own = [model.names[i] for i in range(len(model.names))]
        self.class_names = tuple(own if class_names is None else class_names)
        self._sources = sources(class_map, len(self.class_names))
        self.imgsz = imgsz
        self.params = int(get_num_params(model))
        self.gflops = checkpoints.gflops(model)
        self.precision = environment.resolve_precision(runtime)
        self.device = torch.device(environment.torch_device(runtime.device))
        self.threads = environment.prepare_cpu(runtime.threads)
        self._dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "amp": torch.float16}[self.precision]
        self._model = self._laid_out(model)

    def _laid_out(self, model: Any) -> Any:
        """The fused model in the inference precision; the head decodes boxes in fp32 (see `precision`)."""
        import torch

        from kdyolo.engine.precision import in_fp32

        model = model.fuse(verbose=False).eval().requires_grad_(False)
        model = model.to(self.device, self._dtype, memory_format=torch.channels_last)
        head = model.model[-1]
        head.dfl.float()
        head.stride = head.stride.float()
        decode = head._inference
        head._inference = lambda raw: decode(in_fp32(raw))
        return model

    def synchronise(self) -> None:
        """Wait until the device has done what it was given, so that a clock read next is true."""
        if self.device.type == "cuda":
            import torch

            torch.cuda.synchronize(self.device)

    def preprocess(self, images: Sequence[Image]) -> Any:
        """Images (H, W, 3) BGR of one shape, resized and padded to multiples of 32: tensor (B, 3, h, w) in [0, 1]."""
        import torch
        from ultralytics.data.augment import LetterBox

        fit = LetterBox((self.imgsz, self.imgsz), auto=True, stride=32)
        stack = np.stack([fit(image=image) for image in images])[..., ::-1]
        pixels = torch.from_numpy(np.ascontiguousarray(stack)).to(self.device)
        # (B, h, w, 3) seen as (B, 3, h, w) already is the channels-last layout the convolutions want.
        return (pixels.permute(0, 3, 1, 2).float() / 255).to(self._dtype)

    def infer(self, batch: Any, augment: bool = False) -> Any:
        """Decoded output (B, 4 + nc, A) in fp32: centre, size (px of the batch) and class scores in [0, 1]."""
        return self.forward(batch, augment)[0]

    def forward(self, batch: Any, augment: bool = False) -> tuple[Any, Any]:
        """What `infer` gives, and the head's raw output, which there is none of with `augment`."""
        import torch

        with torch.inference_mode():
            output = self._model(batch, augment=augment)
        decoded, raw = output if isinstance(output, tuple) else (output, None)
        decoded = decoded.float()
        return (decoded if self._sources is None else self._renamed(decoded)), raw

    def _renamed(self, output: Any) -> Any:
        """Score rows of the checkpoint's classes made those of `class_names`, before overlapping boxes are judged.

        A class that several of the checkpoint's stand for gets the best of their scores, one it does not know 0.
        """
        import torch

        assert self._sources is not None
        scores = output[:, 4:]
        none = torch.zeros_like(scores[:, :1])
        rows = [scores[:, ids].amax(1, keepdim=True) if ids else none for ids in self._sources]
        return torch.cat([output[:, :4], *rows], 1)

    def postprocess(
        self,
        output: Any,
        batch: Any,
        images: Sequence[Image],
        conf: float,
        iou: float,
        multi_label: bool = False,
        raw: Any = None,
    ) -> list[Detections]:
        """Non-maximum suppression, and boxes back in pixels of the images.

        Args:
            output: What `infer` gave for `batch`.
            batch: What `preprocess` gave for `images`.
            images: The images themselves.
            conf: Scores at or below are dropped.
            iou: Boxes of one class that overlap a better one by more are dropped.
            multi_label: Let one box carry several classes, as mAP counts them; otherwise only its best one.
            raw: The head's raw output for `batch`, from which the boxes get their ``probs`` and ``spread``.
        """
        import torch
        from ultralytics.utils import ops

        from kdyolo.engine.suppression import suppress

        nc, anchors = len(self.class_names), output.shape[2]
        if raw is not None:  # the number of its anchor goes with each box
            number = torch.arange(anchors, device=output.device, dtype=output.dtype)
            output = torch.cat([output, number.expand(len(output), 1, anchors)], 1)
        kept = suppress(output, conf, iou, multi_label=multi_label, max_det=MAX_DET, nc=nc)
        found = []
        for index, (rows, image) in enumerate(zip(kept, images, strict=True)):
            boxes = ops.scale_boxes(batch.shape[2:], rows[:, :4], image.shape).double().cpu().numpy()
            score, cls = rows[:, 4:6].double().cpu().numpy().T
            soft: tuple[Any, ...] = ()
            if raw is not None:
                at = rows[:, 6].long()
                scale = min(batch.shape[2] / image.shape[0], batch.shape[3] / image.shape[1])
                spread = self._spread(raw, index, at) / scale
                soft = (output[index, 4 : 4 + nc, at].T.double().cpu().numpy(), spread.double().cpu().numpy())
            found.append(Detections(boxes, score, cls.astype(np.int64), *soft))
        return found

    def _spread(self, raw: Any, index: int, at: Any) -> Any:
        """Standard deviation (N, 4) in px of the batch of the sides predicted at anchors `at` of one image.

        A side is a distribution over 16 distances in cells (Li et al., "Generalized Focal Loss", NeurIPS 2020).
        """
        import torch

        head = self._model.model[-1]
        shares = raw["boxes"][index, :, at].float().T.reshape(len(at), 4, head.reg_max).softmax(2)
        bins = torch.arange(head.reg_max, device=shares.device, dtype=shares.dtype)
        mean = (shares * bins).sum(2, keepdim=True)
        cells = (shares * (bins - mean) ** 2).sum(2).sqrt()
        sizes = [level.shape[2] * level.shape[3] for level in raw["feats"]]
        stride = head.stride.to(shares.device).repeat_interleave(torch.tensor(sizes, device=shares.device))
        return cells * stride[at, None]

    def predict(
        self,
        paths: Iterable[Path],
        conf: float,
        iou: float,
        augment: bool = False,
        multi_label: bool = False,
        soft: bool = False,
    ) -> Iterator[Prediction]:
        """Find boxes in image files: one `Prediction` for each path, in order, whatever state the file is in.

        Args:
            paths: Image files.
            conf: As for `postprocess`.
            iou: As for `postprocess`.
            augment: Test-time augmentation.
            multi_label: As for `postprocess`.
            soft: Also say how sure each box is of each class and of each of its sides; not with `augment`.
        """
        limit = _BATCH[self.device.type]
        pending: list[tuple[Path, Image]] = []
        for path, image in read_ahead(paths):
            if pending and (image is None or image.shape != pending[0][1].shape or len(pending) == limit):
                yield from self._predict_batch(pending, conf, iou, augment, multi_label, soft)
                pending = []
            if image is None:
                yield Prediction(path, None, "unreadable")
            else:
                pending.append((path, image))
        if pending:
            yield from self._predict_batch(pending, conf, iou, augment, multi_label, soft)

    def _predict_batch(
        self,
        pending: list[tuple[Path, Image]],
        conf: float,
        iou: float,
        augment: bool,
        multi_label: bool,
        soft: bool,
    ) -> Iterator[Prediction]:
        images = [image for _, image in pending]
        batch = self.preprocess(images)
        output, raw = self.forward(batch, augment)
        finite = output.isfinite().flatten(1).all(1).tolist()
        raw = raw if soft else None
        found = self.postprocess(output.nan_to_num(0, 0, 0), batch, images, conf, iou, multi_label, raw)
        for (path, _), detections, ok in zip(pending, found, finite, strict=True):
            yield Prediction(path, detections) if ok else Prediction(path, None, "not_finite")


def sources(class_map: Mapping[int, int] | None, nc: int) -> list[list[int]] | None:
    """For each class the checkpoint's class ids that stand for it; None where nothing changes."""
    if class_map is None or class_map == {i: i for i in range(nc)}:
        return None
    return [sorted(theirs for theirs, ours in class_map.items() if ours == i) for i in range(nc)]


def stack(outputs: Sequence[Any]) -> Any:
    """Outputs (B, 4 + nc, A) of T models for one batch as (B, T, 4 + nc, A)."""
    import torch

    return torch.stack(list(outputs), 1)


def read_ahead(paths: Iterable[Path], ahead: int = 8) -> Iterator[tuple[Path, Image | None]]:
    """Decode image files in order, some of them ahead of time in threads; None for a file that does not decode."""
    remaining = iter(paths)
    with ThreadPoolExecutor(min(4, environment.physical_cores())) as pool:
        queue: deque[tuple[Path, Future[Image | None]]] = deque()
        for path in islice(remaining, ahead):
            queue.append((path, pool.submit(read_image, path)))
        while queue:
            path, future = queue.popleft()
            image = future.result()
            for following in islice(remaining, 1):
                queue.append((following, pool.submit(read_image, following)))
            yield path, image


def read_image(path: Path) -> Image | None:
    """An image (H, W, 3) BGR in its EXIF orientation, or None."""
    try:
        data = np.fromfile(path, np.uint8)  # unlike cv2.imread this takes any file name
        image = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    except (OSError, cv2.error):
        return None
    return None if image is None else image.astype(np.uint8, copy=False)
