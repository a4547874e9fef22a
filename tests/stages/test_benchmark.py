"""Models times backends: what is measured, on which images, and what is said where something is missing."""

import csv
import shutil

import pytest
import tiny
from builders import tree_state, write_image

import kdyolo
from kdyolo.engine import backends, export
from kdyolo.errors import ConfigError, DatasetError, EnvironmentFault, RunExistsError, StageError
from kdyolo.evaluation import memory, speed
from kdyolo.evaluation.benchmark import ROUNDS
from kdyolo.evaluation.power import Meter

QUICK = {"timed": 3, "batches": (1, 2), "threads": 1, "device": "cpu", "imgsz": tiny.IMGSZ}
TORCH = ("torch-fp32", "torchscript")  # need no package that torch does not bring


@pytest.fixture(autouse=True)
def _no_child_process(monkeypatch):
    monkeypatch.setattr(memory, "peak_mb", lambda *arguments: 12.5)


@pytest.fixture
def without_packages(monkeypatch):
    def missing(backend):
        return EnvironmentFault("It is not here.", "Get it.") if backend.needs else None

    monkeypatch.setattr(export, "missing", missing)


def test_a_runs_model_keeps_its_accuracy_and_the_run_is_not_touched(labelled, tmp_path):
    before = tree_state(labelled)
    result = kdyolo.benchmark(["teacher"], run=labelled, backends=TORCH, out=tmp_path / "out", **QUICK)
    assert tree_state(labelled) == before
    plain, traced = result["rows"]
    assert [row["backend"] for row in result["rows"]] == list(TORCH)
    assert 0 <= plain["mAP50_95"] == pytest.approx(traced["mAP50_95"], abs=2e-3)
    assert (plain["mAP50_95_change"], plain["faster"]) == (0, 1)
    assert traced["faster"] == round(plain["latency_ms"]["p50"] / traced["latency_ms"]["p50"], 3)
    assert set(plain["images_per_second"]) == {"1", "2"}
    assert (plain["precision"], plain["threads"], plain["device"], plain["memory_mb"]) == ("fp32", 1, "cpu", 12.5)
    assert plain["latency_ms"]["p50"] <= plain["latency_ms"]["p99"]
    assert plain["sha256"] == traced["sha256"]
    assert result["energy"].startswith("not measured: ") is bool(Meter().fault)
    assert "torch" in result["versions"]
    with (tmp_path / "out" / "benchmark.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert float(rows[1]["latency_ms.inference.p50"]) == traced["latency_ms"]["inference"]["p50"]
    with pytest.raises(RunExistsError):
        kdyolo.benchmark(["teacher"], run=labelled, backends=TORCH, out=tmp_path / "out", **QUICK)


def test_all_models_of_a_run_that_are_there(labelled, without_packages):
    result = kdyolo.benchmark(run=labelled, **QUICK)
    assert {row["model"] for row in result["rows"]} == {"teacher"}
    assert [row["backend"] for row in result["rows"]] == ["torch-fp32", "torch"]
    assert [one["backend"] for one in result["skipped"]] == ["onnx", "openvino", "openvino-int8"]
    assert result["skipped"][0]["reason"] == "It is not here. Get it."


def test_a_busy_machine_is_said(lively, demo_set, monkeypatch):
    monkeypatch.setattr(speed, "quietest", lambda medians: ([0, 1, 2], 0.07))
    notes = tiny.Notes()
    result = kdyolo.benchmark(
        [lively], images=demo_set / "images", backends=["torch-fp32"], progress=notes, **QUICK | {"timed": 1}
    )
    assert result["rows"][0]["rounds"] == {"timed": ROUNDS, "kept": 3, "apart": 0.07}
    assert any("rounds are 7 % apart" in sentence for sentence in notes.warnings)


def test_files_on_a_folder_of_images(lively, demo_set, tmp_path):
    twin = shutil.copy(lively, tmp_path / "lively.pt")
    result = kdyolo.benchmark([lively, twin], images=demo_set / "images", backends=["torch-fp32"], **QUICK)
    assert [row["model"] for row in result["rows"]] == ["lively", f"{tmp_path.name}/lively"]
    assert {row["mAP50_95"] for row in result["rows"]} == {None}
    assert result["accuracy"] == "not measured: no run was given"


def test_a_foreign_model_gets_no_accuracy(labelled, demo_set, tmp_path):
    foreign = tiny.lively_checkpoint(tmp_path / "cars.pt", demo_set / "images", names=("car", "bus"))
    result = kdyolo.benchmark([foreign, "teacher"], run=labelled, backends=["torch-fp32"], **QUICK)
    assert [row["mAP50_95"] is None for row in result["rows"]] == [True, False]
    assert any("cars knows no class" in sentence for sentence in result["warnings"])


@pytest.mark.slow
def test_int8_is_calibrated_on_training_images_only(labelled, monkeypatch):
    if fault := export.missing(export.BACKENDS["openvino-int8"]):
        pytest.skip(f"{fault.message} {fault.hint}")
    seen = []
    run = export._run

    def watched(task):
        seen.extend(task["images"])
        return run(task)

    monkeypatch.setattr(export, "_run", watched)
    result = kdyolo.benchmark(["teacher"], run=labelled, backends=["torch-fp32", "openvino-int8"], **QUICK)
    assert seen
    assert all((labelled / "split" / "images" / "train").as_posix() in path for path in seen)
    assert result["calibration_images"] == len(seen)
    assert result["rows"][1]["mAP50_95_change"] is not None


def test_int8_of_a_bare_model_says_what_it_was_calibrated_on(lively, demo_set, monkeypatch):
    def instead(name, *known):
        detector = open_detector("torch-fp32", *known)
        detector.precision = "int8" if "int8" in name else detector.precision
        return detector

    open_detector = backends.open_detector
    monkeypatch.setattr("kdyolo.evaluation.benchmark.open_detector", instead)
    monkeypatch.setattr(export, "missing", lambda backend: None)
    monkeypatch.setattr(export, "versions", lambda backend: {})
    result = kdyolo.benchmark([lively], images=demo_set / "images", backends=["openvino-int8"], **QUICK)
    assert any("calibrated on 30 of the images given" in sentence for sentence in result["warnings"])


def test_an_export_that_fails_stops_only_what_asked_for_it(lively, demo_set, monkeypatch):
    def failing(name, *known):
        if name == "onnx":
            raise StageError("The export to onnx failed: no such operator")
        return open_detector("torch-fp32", *known)

    open_detector = backends.open_detector
    monkeypatch.setattr("kdyolo.evaluation.benchmark.open_detector", failing)
    monkeypatch.setattr(export, "missing", lambda backend: None)
    monkeypatch.setattr(export, "versions", lambda backend: {})
    notes = tiny.Notes()
    result = kdyolo.benchmark([lively], images=demo_set / "images", progress=notes, **QUICK)
    assert [row["backend"] for row in result["rows"]] == ["torch-fp32", "torch", "openvino", "openvino-int8"]
    assert any("onnx was left out" in sentence for sentence in notes.warnings)
    with pytest.raises(StageError, match="no such operator"):
        kdyolo.benchmark([lively], images=demo_set / "images", backends=["torch", "onnx"], **QUICK)


def test_what_cannot_be_measured_is_refused(lively, labelled, demo_set, tmp_path, without_packages):
    images = demo_set / "images"
    for arguments in ({}, {"models": [lively]}, {"images": images}):
        with pytest.raises(ConfigError, match="what to measure"):
            kdyolo.benchmark(**arguments)
    with pytest.raises(ConfigError, match="no backend 'cuda'"):
        kdyolo.benchmark([lively], images=images, backends=["cuda"])
    with pytest.raises(EnvironmentFault, match="not here"):
        kdyolo.benchmark([lively], images=images, backends=["torch", "onnx"])
    with pytest.raises(ConfigError, match="multiple of 32"):
        kdyolo.benchmark([lively], images=images, imgsz=100)
    with pytest.raises(ConfigError, match="from 1"):
        kdyolo.benchmark([lively], images=images, batches=(0,))
    with pytest.raises(ConfigError, match="threads"):
        kdyolo.benchmark([lively], images=images, threads=0)
    with pytest.raises(ConfigError, match="No checkpoint"):
        kdyolo.benchmark(["nowhere.pt"], images=images, backends=["torch"])
    with pytest.raises(DatasetError, match=r"'student' of .* is not finished"):
        kdyolo.benchmark(["student"], run=labelled, backends=["torch"])
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "a.jpg").write_text("no image")
    with pytest.raises(ConfigError, match="None of the images"):
        kdyolo.benchmark([lively], images=tmp_path / "empty", backends=["torch"])


@pytest.mark.parametrize("strips", [2, backends.MOST_SHAPES + 1])
def test_many_shapes_become_squares(lively, tmp_path, strips):
    if fault := export.missing(export.BACKENDS["openvino"]):
        pytest.skip(f"{fault.message} {fault.hint}")
    for number in range(strips):
        write_image(tmp_path / "images" / f"{number:02}.png", number, (640, 32 * (number + 1)))
    given = {**QUICK, "timed": strips, "batches": (1,), "imgsz": 640}
    row = kdyolo.benchmark([lively], images=tmp_path / "images", backends=["openvino"], **given)["rows"][0]
    assert row["inputs"] == (["640x32", "640x64"] if strips == 2 else ["640x640"])
