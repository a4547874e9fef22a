"""Exported models find what the checkpoint finds."""

import importlib.util
import os
import subprocess
import sys

import numpy as np
import pytest
import tiny
from builders import write_image

from kdyolo.boxes import area_xyxy
from kdyolo.config import RuntimeSettings
from kdyolo.engine import backends, export
from kdyolo.engine.backends import open_detector
from kdyolo.engine.detector import read_image
from kdyolo.errors import ConfigError

CONF, IOU = 0.2, 0.7
RUNTIME = RuntimeSettings(threads=1, device="cpu")
EXACT = ("onnx", "openvino", "torchscript")


@pytest.fixture(scope="module")
def images(demo_set, tmp_path_factory):
    """Square demo images, and oblong ones of several shapes."""
    folder = tmp_path_factory.mktemp("shapes")
    oblong = [write_image(folder / f"{i}.png", i, size) for i, size in enumerate([(160, 90), (90, 160)])]
    return sorted((demo_set / "images").glob("*"))[:10] + oblong


@pytest.fixture(scope="module")
def opened(lively, images):
    """Each backend once; the test is skipped where its package is missing."""
    held = {}

    def opener(name):
        if fault := export.missing(export.BACKENDS[name]):
            pytest.skip(f"{fault.message} {fault.hint}")
        if name not in held:
            held[name] = open_detector(name, lively, tiny.IMGSZ, RUNTIME, calibration=images[:4])
        return held[name]

    return opener


@pytest.fixture(scope="module")
def reference(opened, images):
    return [outcome.detections for outcome in opened("torch-fp32").predict(images, CONF, IOU)]


@pytest.mark.parametrize("name", EXACT)
def test_boxes_agree_within_a_pixel_and_scores_within_a_thousandth(opened, images, reference, name):
    detector = opened(name)
    found = [outcome.detections for outcome in detector.predict(images, CONF, IOU)]
    assert sum(len(one.score) for one in reference) > 100
    for ours, theirs in zip(found, reference, strict=True):
        assert np.array_equal(ours.cls, theirs.cls)
        assert np.abs(ours.score - theirs.score).max(initial=0) < 1e-3
        assert np.abs(ours.xyxy - theirs.xyxy).max(initial=0) < 1
    assert (detector.precision, detector.threads, detector.params) == ("fp32", 1, opened("torch-fp32").params)
    assert detector.class_names == opened("torch-fp32").class_names


@pytest.mark.parametrize("name", EXACT)
def test_a_batch_is_its_images_one_by_one(opened, images, name):
    detector = opened(name)
    pictures = [read_image(path) for path in images[:3]]
    together = detector.infer(detector.preprocess(pictures)).numpy()
    for one, picture in zip(together, pictures, strict=True):
        assert np.allclose(one, detector.infer(detector.preprocess([picture])).numpy()[0], atol=1e-3)


def test_output_of_an_earlier_image_is_not_overwritten(opened, images):
    detector = opened("openvino")
    first, second = (detector.preprocess([read_image(path)]) for path in images[:2])
    output = detector.infer(first)
    kept = output.clone()
    detector.infer(second)
    assert output.equal(kept)


def test_int8_is_smaller_and_mostly_right(opened, images, reference):
    detector = opened("openvino-int8")
    assert detector.precision == "int8"
    assert detector.export.size_mb < 0.6 * opened("openvino").export.size_mb
    found = [outcome.detections for outcome in detector.predict(images, CONF, IOU)]
    boxes = [sum(int((area_xyxy(one.xyxy) > 1).sum()) for one in many) for many in (found, reference)]
    assert 0.5 < boxes[0] / boxes[1] < 2


def test_classes_are_renamed_as_by_the_detector(opened, lively, images):
    names, mapping = ("x", "y"), {0: 1, 2: 0, 3: 0}
    opened("onnx")  # skips where it is missing
    both = [
        open_detector(name, lively, tiny.IMGSZ, RUNTIME, names, mapping).predict(
            images[:3], CONF, IOU, multi_label=True
        )
        for name in ("torch-fp32", "onnx")
    ]
    for ours, theirs in zip(*both, strict=True):
        assert np.array_equal(ours.detections.cls, theirs.detections.cls)
        assert np.allclose(ours.detections.score, theirs.detections.score, atol=1e-3)


@pytest.mark.parametrize("name", ["onnx", "openvino"])
def test_squares_where_images_have_too_many_shapes(opened, tmp_path, monkeypatch, name):
    detector = opened(name)
    oblong = write_image(tmp_path / "strip.png", 1, (160, 40))
    assert detector.preprocess([read_image(oblong)]).shape == (1, 3, 32, tiny.IMGSZ)
    monkeypatch.setattr(detector, "square", True)
    assert detector.preprocess([read_image(oblong)]).shape == (1, 3, tiny.IMGSZ, tiny.IMGSZ)
    square = next(iter(detector.predict([oblong], CONF, IOU))).detections
    assert np.all(square.xyxy[:, [1, 3]] <= 40)


def test_few_compiled_models_are_kept():
    from collections import OrderedDict

    made, cache = [], OrderedDict()

    def make(key):
        made.append(key)
        return key

    for key in [*range(backends.MOST_SHAPES), 0, 99, 0, 1]:
        assert backends._kept(cache, key, make) == key
    assert made == [*range(backends.MOST_SHAPES), 99, 1]  # 1 was the least recently used when 99 came
    assert len(cache) == backends.MOST_SHAPES


def test_what_an_export_cannot_do_is_said(opened, images):
    detector = opened("onnx")
    with pytest.raises(ConfigError, match="augmentation"):
        list(detector.predict(images[:1], CONF, IOU, augment=True))


def test_folders_of_the_user_stay_as_they_are(opened, lively, images):
    folders = [lively.parent, images[0].parent.parent, images[-1].parent]
    before = [(tiny.files(folder), tiny.mtimes(folder)) for folder in folders]
    for name in ("onnx", "openvino-int8"):
        detector = opened(name)
        list(detector.predict(images, CONF, IOU))
    assert [(tiny.files(folder), tiny.mtimes(folder)) for folder in folders] == before
    assert detector.export.path.is_relative_to(export.cache_folder())


@pytest.mark.parametrize("package", ["openvino", "nncf"])
def test_usage_is_not_reported(tmp_path, package):
    """Both would leave a client's number in the home folder, and send what they did with it."""
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed. Run `pip install 'kdyolo[openvino]'`.")
    code = f"from kdyolo.engine.environment import harden; harden(); import {package}"
    environment = {**os.environ, "HOME": str(tmp_path), "MPLCONFIGDIR": str(tmp_path / "mpl")}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment, capture_output=True)
    assert not (tmp_path / "intel").exists()
