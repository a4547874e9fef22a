"""`kdyolo benchmark`: what is passed on and what is shown."""

import json

import pytest
from typer.testing import CliRunner

from kdyolo import api
from kdyolo.cli.main import app

QUANTILES = {"p50": 10.0, "p90": 12.0, "p95": 13.0, "p99": 1400.04}
ROW = {
    "model": "student",
    "backend": "torch-fp32",
    "device": "cpu",
    "precision": "fp32",
    "threads": 2,
    "inputs": ["320x256"],
    "size_mb": 5.2,
    "latency_ms": {**QUANTILES, "mean": 11.0, "preprocess": QUANTILES, "inference": QUANTILES, "nms": QUANTILES},
    "images_per_second": {"1": {"images_per_second": 90.0}, "8": {"images_per_second": 120.5}},
    "memory_mb": 58.2,
    "energy_j": None,
    "mAP50_95": 0.5818,
    "mAP50_95_change": 0.0,
    "faster": 1.0,
    "warmup": {"images": 20, "stable": True},
    "rounds": {"timed": 5, "kept": 3, "apart": 0.0123},
}
INT8 = {**ROW, "backend": "openvino-int8", "precision": "int8", "inputs": ["320x256", "256x320"], "faster": 3.25}
RESULT = {
    "rows": [ROW, {**INT8, "mAP50_95_change": -0.0021}],
    "batches": [1, 8],
    "timed_images": 60,
    "different_images": 50,
    "timed_conf": 0.25,
    "accuracy": "test split, 72 images",
    "energy": "not measured: no counters",
    "processor": "A fast one",
    "cores": 2,
    "versions": {"torch": "2"},
    "skipped": [{"backend": "onnx", "reason": "onnx needs onnxruntime."}],
}


@pytest.fixture
def call(monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    asked = {}

    def benchmark(models, **arguments):
        asked.update(models=models, **arguments)
        return RESULT

    monkeypatch.setattr(api, "benchmark", benchmark)

    def run(*arguments):
        return CliRunner().invoke(app, ["benchmark", *arguments]), asked

    return run


def test_flags_reach_the_measurement(call):
    result, asked = call(
        *("student", "a.pt", "--run", "runs/x", "--images", "photos", "--backends", "torch, onnx", "--imgsz", "320"),
        *("--batch", "2,16", "--timed", "9", "--threads", "3", "--device", "cpu", "--out", "there"),
    )
    assert result.exit_code == 0, result.output
    asked = {name: str(value) if name in ("run", "images", "out") else value for name, value in asked.items()}
    del asked["progress"]
    assert asked == {
        "models": ["student", "a.pt"],
        "run": "runs/x",
        "images": "photos",
        "backends": ["torch", "onnx"],
        "imgsz": 320,
        "batches": [2, 16],
        "timed": 9,
        "threads": 3,
        "device": "cpu",
        "out": "there",
    }


def test_without_flags_the_defaults_are_those_of_the_api(call):
    _, asked = call("--run", "runs/x")
    assert (asked["models"], asked["backends"], asked["batches"], asked["timed"]) == ((), None, [1, 4, 8], 60)


def test_tables_and_conditions(call):
    output = call("--run", "runs/x")[0].output
    for text in (
        *("openvino-int8", "2 sizes", "3.2×", "1,400.0", "-0.21", "+0.00", "0.5818", "120.5", "n/a"),
        *("A fast one, 2 cores", "2 threads", "after 20 images of warm-up", "not measured: no counters"),
        *("The 3 quietest of 5 rounds, 1.2 % apart on average.", "Left out: onnx. onnx needs onnxruntime."),
    ):
        assert text in output, text


def test_as_json(call):
    assert json.loads(call("--run", "runs/x", "--json")[0].stdout) == RESULT


def test_a_list_that_is_none_is_refused(call):
    result, _ = call("--run", "runs/x", "--batch", "1,many")
    assert result.exit_code == 2
