"""The Python API on fake stages."""

import sys
from pathlib import Path

import fake_chain
import pytest
from builders import make_yolo_dataset

import kdyolo
from kdyolo import api
from kdyolo.config import Config, load_config
from kdyolo.errors import ConfigError, RunExistsError, StageError
from kdyolo.storage import RunDir


@pytest.fixture(autouse=True)
def _fakes(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "kdyolo.report.build", fake_chain.report_module())
    monkeypatch.setattr(api, "chain", lambda config=None: fake_chain.CHAIN)
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

    (tmp_path / "mine.yaml").write_text("student: {epochs: 2}")

    monkeypatch.setattr("kdyolo.datasets.demo.generate", generate)
    (tmp_path / "runs").mkdir()
    assert kdyolo.demo(config=tmp_path / "mine.yaml")["arms"]
    config = load_config(RunDir("runs/demo").config)
    assert config.data.source == tmp_path / "runs" / "demo-data"
    assert (config.student.epochs, config.student.from_scratch) == (2, True)


def test_every_command_is_a_function():
    from kdyolo.cli.main import app

    groups = [group.typer_instance for group in app.registered_groups]
    commands = [command for one in (app, *groups) for command in one.registered_commands]
    # `import` is no name for a function, and none of these says of what.
    named = {"export": "export_labels", "import": "import_labels", "show": "describe_method"}
    named["report"] = "build_report"  # `kdyolo.report` is the package
    names = {named.get(command.name, command.name.replace("-", "_")) for command in commands}
    names |= {group.name for group in app.registered_groups if group.typer_instance.registered_callback}
    names.add("leaderboard")  # what `kdyolo report` does with several runs
    assert names == set(kdyolo.__all__)
    for name in names:
        assert callable(getattr(kdyolo, name))


def test_audit_judges_and_raises_only_where_it_cannot_read(tmp_path):
    folder = make_yolo_dataset(tmp_path / "set", n=12, boxes=30)
    (folder / "images/img000.jpg").write_bytes(b"")
    found = kdyolo.audit(folder, html=tmp_path / "audit.html", settings={"audit.min_side": 60})
    assert found["reasons"] == {"empty_file": 1, "too_small": 11}
    assert (tmp_path / "audit.html").is_file()
    with pytest.raises(ConfigError, match="There is no"):
        kdyolo.audit(tmp_path / "nothing")


def test_status():
    with pytest.raises(ConfigError, match="There is no run at"):
        kdyolo.status("r")
    kdyolo.split("data", "r")
    state = kdyolo.status("r")
    assert [stage["status"] for stage in state["stages"]] == ["done", *["not started"] * 5]
    assert state["next"] == "kdyolo run --run r"


def test_doctor(monkeypatch):
    monkeypatch.setattr("kdyolo.engine.environment.describe", lambda: {"device": "cpu"})
    report = kdyolo.doctor()
    assert (report["faults"], report["device"]) == ([], "cpu")


def test_init(tmp_path):
    assert kdyolo.init("a.yaml") == Path("a.yaml")
    assert load_config(tmp_path / "a.yaml") == Config()
    with pytest.raises(RunExistsError):
        kdyolo.init("a.yaml")
    kdyolo.init("a.yaml", force=True)
    assert (tmp_path / "a.yaml-1").exists()


def test_the_preset_is_a_valid_small_run():
    config = load_config(api.DEMO_PRESET)
    assert config.teacher.from_scratch
    assert config.student.from_scratch
    assert config.student.imgsz <= 320
