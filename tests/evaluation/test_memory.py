"""Memory of a model, measured in a process of its own."""

import pytest
import tiny

from kdyolo.config import RuntimeSettings
from kdyolo.evaluation.memory import peak_mb

RUNTIME = RuntimeSettings(threads=1, device="cpu", precision="fp32")


@pytest.mark.slow
def test_a_larger_image_takes_more_and_a_fault_is_no_figure(lively, demo_set):
    images = sorted((demo_set / "images").glob("*"))
    small, large = (peak_mb("torch-fp32", lively, imgsz, RUNTIME, images) for imgsz in (tiny.IMGSZ, 640))
    assert 5 < small < large < 1000
    assert peak_mb("torch-fp32", lively.with_name("none.pt"), 64, RUNTIME, images) is None
