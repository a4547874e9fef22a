"""Detectors that run an exported model: ONNX Runtime, OpenVINO, TorchScript, TensorRT, behind `Detector`'s interface.

Images are letterboxed as `Detector` does it, to rectangles: a 4:3 photograph at 640 px is 640 x 480, a quarter fewer
pixels than the square that exports are often fed with. Engines that are quicker with a fixed shape get one compiled
model for each shape they meet.
"""

from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from kdyolo.boxes import Detections
from kdyolo.config import RuntimeSettings
from kdyolo.engine import environment, export
from kdyolo.engine.detector import Detector, Image, sources
from kdyolo.errors import ConfigError

MOST_SHAPES = 12
"""Compiled models kept at once; a 640 px detector can meet 39 shapes at batch 1."""
Blob = NDArray[np.float32]


class Exported(Detector):
    """A checkpoint run from its export; the parts that engines differ in are `_open` and `_run`.

    Args:
        checkpoint: A detection checkpoint.
        imgsz: Long side images are resized to (px, a multiple of 32).
        runtime: Device and threads; the precision is the backend's.
        backend: One of `export.BACKENDS`.
        class_names: As for `Detector`.
        class_map: As for `Detector`.
        calibration: Images int8 is calibrated on.

    Attributes:
        export: What is run.
        square: Pad images to squares, for data whose images have too many shapes, see `MOST_SHAPES`.

    Raises:
        EnvironmentFault, StageError: See `export.exported`.
    """

    def __init__(
        self,
        checkpoint: Path,
        imgsz: int,
        runtime: RuntimeSettings,
        backend: export.Backend,
        class_names: Sequence[str] | None = None,
        class_map: Mapping[int, int] | None = None,
        calibration: Sequence[Path] = (),
    ) -> None:
        environment.harden()
        import torch

        self.export = export.exported(checkpoint, imgsz, backend, calibration)
        self.class_names = tuple(self.export.names if class_names is None else class_names)
        self._sources = sources(class_map, len(self.class_names))
        self.imgsz, self.backend = imgsz, backend
        self.params, self.gflops = self.export.params, self.export.gflops
        self.device = torch.device(self._device_of(runtime))
        self.threads = environment.prepare_cpu(runtime.threads)
        self.precision = backend.precision
        self._open()

    square = False

    def _device_of(self, runtime: RuntimeSettings) -> str:
        return "cpu"

    def _open(self) -> None:
        """Load the artefact."""
        raise NotImplementedError

    def _run(self, batch: Any) -> Any:
        """Decoded output (B, 4 + nc, A) as a numpy array or a tensor."""
        raise NotImplementedError

    def preprocess(self, images: Sequence[Image]) -> Any:
        """Images (H, W, 3) BGR of one shape, resized and padded to multiples of 32: fp32 (B, 3, h, w) in [0, 1]."""
        fitted = self._fitted(images)
        # One pass over the pixels: scale, BGR to RGB, channels first.
        return cv2.dnn.blobFromImages(fitted, 1 / 255, swapRB=True)

    def _fitted(self, images: Sequence[Image]) -> list[Image]:
        from ultralytics.data.augment import LetterBox

        fit = LetterBox((self.imgsz, self.imgsz), auto=not self.square, stride=32)
        return [fit(image=image) for image in images]

    def forward(self, batch: Any, augment: bool = False) -> tuple[Any, Any]:
        """What `Detector.forward` gives, without a raw output: exports do not have one.

        Raises:
            ConfigError: `augment` was asked for.
        """
        import torch

        if augment:
            raise ConfigError("An exported model does not do test-time augmentation.", "Use --backends torch.")
        output = self._run(batch)
        decoded = output if isinstance(output, torch.Tensor) else torch.from_numpy(output)
        return (decoded if self._sources is None else self._renamed(decoded)), None

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
        """As `Detector.postprocess`; what cannot be kept is dropped first, so that little is left to sort."""
        if raw is not None:
            raise ValueError("an exported model has no raw output")
        found = []
        for index, image in enumerate(images):
            one = output[index : index + 1]
            likely = (one[0, 4:].amax(0) > conf).nonzero()[:, 0]
            found += super().postprocess(one[:, :, likely], batch, [image], conf, iou, multi_label)
        return found


class OnnxRuntime(Exported):
    """ONNX Runtime on the CPU, fp32."""

    def _open(self) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = self.threads, 1
        options.log_severity_level = 3
        # Workers that went on spinning after a run would steal time from whatever the process does next.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        self._session = onnxruntime.InferenceSession(str(self.export.path), options, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0].name

    def _run(self, batch: Blob) -> Any:
        return self._session.run(None, {self._input: batch})[0]


class OpenVino(Exported):
    """OpenVINO on the CPU: pixels go in as bytes and become fp32 inside the compiled model."""

    def _open(self) -> None:
        import openvino
        from openvino.preprocess import ColorFormat, PrePostProcessor

        self._core = openvino.Core()
        source = self._core.read_model(next(self.export.path.glob("*.xml")))
        steps = PrePostProcessor(source)
        pixels = steps.input()
        pixels.tensor().set_element_type(openvino.Type.u8).set_layout(openvino.Layout("NHWC"))
        pixels.tensor().set_color_format(ColorFormat.BGR)
        pixels.preprocess().convert_element_type(openvino.Type.f32).convert_color(ColorFormat.RGB).scale(255.0)
        pixels.model().set_layout(openvino.Layout("NCHW"))
        self._source = steps.build()
        self._requests: OrderedDict[tuple[int, ...], Any] = OrderedDict()

    def preprocess(self, images: Sequence[Image]) -> Any:
        """Images (H, W, 3) BGR of one shape, resized and padded to multiples of 32: uint8 BGR, seen as (B, 3, h, w)."""
        fitted = self._fitted(images)
        stack = fitted[0][None] if len(fitted) == 1 else np.stack(fitted)
        return stack.transpose(0, 3, 1, 2)

    def _run(self, batch: Any) -> Any:
        pixels = np.ascontiguousarray(batch.transpose(0, 2, 3, 1))
        request = _kept(self._requests, pixels.shape, self._compiled)
        request.infer([pixels], share_inputs=True)
        return request.get_output_tensor(0).data.copy()

    def _compiled(self, shape: tuple[int, ...]) -> Any:
        model = self._source.clone()
        model.reshape(list(shape))
        options = {
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1,
            "INFERENCE_NUM_THREADS": self.threads,
            # On processors with bf16 the default would be that, also for the boxes' coordinates.
            "INFERENCE_PRECISION_HINT": "bf16" if self.precision == "bf16" else "f32",
        }
        return self._core.compile_model(model, "CPU", options).create_infer_request()


class TorchScript(Exported):
    """A traced model in torch, on the CPU or a CUDA device, fp32."""

    def _device_of(self, runtime: RuntimeSettings) -> str:
        return environment.torch_device(runtime.device)

    def _open(self) -> None:
        import torch

        with warnings.catch_warnings():  # torch calls all of TorchScript deprecated
            warnings.simplefilter("ignore", FutureWarning)
            loaded = torch.jit.load(self.export.path, map_location=self.device).eval()  # type: ignore[no-untyped-call]
            self._traced = torch.jit.freeze(loaded)

    def _run(self, batch: Blob) -> Any:
        import torch

        pixels = torch.from_numpy(batch).to(self.device, memory_format=torch.channels_last)
        with torch.inference_mode():
            return self._traced(pixels).float()


class TensorRt(TorchScript):
    """TensorRT by ultralytics' own runner, fp32."""

    def _open(self) -> None:
        from ultralytics.nn.autobackend import AutoBackend

        self._traced = AutoBackend(str(self.export.path), device=self.device, fp16=False, verbose=False)


_ENGINES: dict[str, type[Exported]] = {
    "onnx": OnnxRuntime,
    "openvino": OpenVino,
    "torchscript": TorchScript,
    "engine": TensorRt,
}


def open_detector(
    name: str,
    checkpoint: Path,
    imgsz: int,
    runtime: RuntimeSettings,
    class_names: Sequence[str] | None = None,
    class_map: Mapping[int, int] | None = None,
    calibration: Sequence[Path] = (),
) -> Detector:
    """A checkpoint as a detector of one backend.

    Args:
        name: Key of `export.BACKENDS`.
        checkpoint: As for `Detector`; so `imgsz`, `runtime`, `class_names` and `class_map`.
        imgsz: See there.
        runtime: See there; torch-fp32 is fp32 whatever it says.
        class_names: See there.
        class_map: See there.
        calibration: Images int8 is calibrated on.

    Raises:
        KdyoloError: See `Detector` and `Exported`.
    """
    backend = export.BACKENDS[name]
    if not backend.format:
        precision = {"precision": "fp32"} if name == "torch-fp32" else {}
        return Detector(checkpoint, imgsz, runtime.model_copy(update=precision), class_names, class_map)
    engine = _ENGINES[backend.format]
    return engine(checkpoint, imgsz, runtime, backend, class_names, class_map, calibration)


def _kept(cache: OrderedDict[Any, Any], key: Any, make: Callable[[Any], Any]) -> Any:
    """`make(key)`, or what it gave before; the least recently used beyond `MOST_SHAPES` are forgotten."""
    if key not in cache:
        cache[key] = make(key)
        if len(cache) > MOST_SHAPES:
            cache.popitem(last=False)
    cache.move_to_end(key)
    return cache[key]
