"""The Python API on fake stages."""

import sys

import fake_chain
import pytest

import kdyolo
from kdyolo import api
from kdyolo.config import load_config
from kdyolo.errors import ConfigError, StageError
from kdyolo.storage import RunDir


@pytest.fixture(autouse=True)
def _fakes(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "kdyolo.report.build", fake_chain.report_module())
    monkeypatch.setattr(api, "chain", lambda: fake_chain.CHAIN)
    monkeypatch.chdir(tmp_path)
    fake_chain.make_source(tmp_path / "data")


def test_names():
    assert kdyolo.__version__.count(".") == 2
    assert set(kdyolo.__all__) <= set(dir(kdyolo))
    with pytest.raises(AttributeError, match="no attribute 'distil'"):
        kdyolo.distil  # noqa: B018


def test_run_returns_the_summary_and_prints_nothing(capsys):
    summary = kdyolo.run("data", run="r", settings={"student.epochs": 3})
    assert summary["verdict"] == "Hard to say."
    assert kdyolo.run(run="r") == summary
    assert kdyolo.run("data", run="r", force=True) == summary
    assert load_config(RunDir("r").config).student.epochs == 10
    assert capsys.readouterr() == ("", "")


def test_stage_by_stage():
    assert kdyolo.split("data", "r").stage == "split"
    assert kdyolo.train_teacher("r", settings={"teacher.model": "yolov5s"}).settings["teacher"]["model"] == "yolov5s"
    assert kdyolo.pseudo_label("r", force=True).facts["forced"] is True
    assert kdyolo.train_student("r").stage == "student"
    assert kdyolo.train_student("r", baseline=True).stage == "baseline"
    assert kdyolo.compare("r").status == "done"
    assert kdyolo.compare("r", settings={"compare.conf": 0.1}, resume=True).sequence == 7


def test_errors():
    with pytest.raises(ConfigError, match=r"Did you mean 'student\.epochs'"):
        kdyolo.run("data", run="r", settings={"student.epoch": 3})
    with pytest.raises(ConfigError, match="no data set is given"):
        kdyolo.train_teacher("r")
    with pytest.raises(StageError, match="no readable report"):
        api.read_summary(RunDir("r"))


def test_demo(monkeypatch, tmp_path):
    def generate(out, **settings):
        return fake_chain.make_source(out)

    monkeypatch.setattr("kdyolo.datasets.demo.generate", generate)
    (tmp_path / "runs").mkdir()
    assert kdyolo.demo()["arms"]
    assert load_config(RunDir("runs/demo").config).data.source == tmp_path / "runs" / "demo-data"


def test_the_preset_is_a_valid_small_run():
    config = load_config(api.DEMO_PRESET)
    assert config.teacher.from_scratch
    assert config.student.from_scratch
    assert config.student.imgsz <= 320
