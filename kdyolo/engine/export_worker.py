"""The export itself, in a process of its own: what libraries print, patch and keep in memory ends with it.

    python -m kdyolo.engine.export_worker < task.json

The task names ``checkpoint``, ``format``, ``imgsz``, ``device``, ``quantize`` (8 or null), ``images`` to calibrate on
and ``folder``, which must exist; the export is put in there under the name ``model``, with ``model.json`` beside it:
the class names, the number of parameters and the GFLOPs at 640 px.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from kdyolo.engine import checkpoints, environment
from kdyolo.engine.detector import read_image


class _Calibration:
    """Training images as the quantiser wants them: one uint8 batch (1, 3, H, W) in RGB at a time, square."""

    batch_size = 1

    def __init__(self, paths: Sequence[str], imgsz: int) -> None:
        self.paths, self.imgsz = paths, imgsz

    def __len__(self) -> int:
        return len(self.paths)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        import numpy as np
        import torch
        from ultralytics.data.augment import LetterBox

        fit = LetterBox((self.imgsz, self.imgsz), auto=False, stride=32)
        for path in self.paths:
            image = read_image(Path(path))
            if image is not None:
                pixels = np.ascontiguousarray(fit(image=image)[..., ::-1].transpose(2, 0, 1))
                yield {"img": torch.from_numpy(pixels)[None]}


def export(task: dict[str, Any]) -> None:
    """Let ultralytics export a checkpoint, with images of any size and batches of any length allowed."""
    environment.harden()
    from ultralytics.engine.exporter import Exporter
    from ultralytics.utils.torch_utils import get_num_params

    class _Exporter(Exporter):  # type: ignore[misc] # the library has no types
        """Calibrates on the images of the task: the library's own way reads and writes beside a data set's labels."""

        def get_int8_calibration_dataloader(self, prefix: str = "") -> _Calibration:
            return _Calibration(task["images"], task["imgsz"])

    folder = Path(task["folder"])
    model, _ = checkpoints.load(Path(task["checkpoint"]))
    facts = {
        "names": [model.names[number] for number in range(len(model.names))],
        "params": int(get_num_params(model)),
        "gflops": checkpoints.gflops(model),
    }
    (folder / "model.json").write_text(json.dumps(facts), encoding="utf-8")
    model.pt_path = str(folder / "model.pt")  # its folder and stem name the export
    options = {"format": task["format"], "imgsz": task["imgsz"], "device": task["device"], "dynamic": True}
    if task["quantize"]:
        options |= {"quantize": task["quantize"], "data": "calibration"}
    if task["format"] == "engine":
        options["batch"] = task["largest_batch"]
    _Exporter(overrides=options)(model=model)


if __name__ == "__main__":
    export(json.load(sys.stdin))
