"""Commands on fake stages: what they print, where, and their exit codes."""

import json

import fake_chain
import pytest

from kdyolo.cli import main as entry
from kdyolo.config import Config, load_config
from kdyolo.storage import RunDir

ALL = [stage.name for stage in fake_chain.CHAIN]


def test_run_in_json_is_one_object_and_all_else_goes_to_stderr(kdyolo, tmp_path):
    done = kdyolo("run", "data", "--json")
    assert done.code == 0
    assert done.json["ran"] == ALL
    assert done.json["run"] == str(tmp_path / "runs" / "data")
    assert done.json["summary"]["verdict"] == "Hard to say."
    assert "[1/6] split" in done.stderr
    assert kdyolo("run", "data", "--json").json["skipped"] == ALL


def test_run_shows_a_table_and_where_the_report_is(kdyolo, tmp_path):
    done = kdyolo("run", "data")
    assert "mAP50-95" in done.stdout
    assert "n/a" in done.stdout
    assert str(tmp_path / "runs" / "data" / "report" / "report.html") in done.stdout.replace("\n", "")
    assert "\x1b" not in done.stdout + done.stderr
    assert "[red]out.json[/red]" in done.stderr


def test_quiet_says_nothing(kdyolo):
    done = kdyolo("run", "data", "--quiet")
    assert (done.code, done.stdout, done.stderr) == (0, "", "")
    failed = kdyolo("run", "data", "--quiet", "-S", "seed=3")
    assert failed.code == 5
    assert "setting seed: 0 -> 3" in failed.stderr


def test_flags_become_settings(kdyolo, tmp_path):
    (tmp_path / "run.yaml").write_text("student:\n  epochs: 3\n  imgsz: 64\n")
    flags = "--run runs/x -c run.yaml -S student.epochs=4 -S student.lr0=0.1 --imgsz 96 --batch 2 --from-scratch"
    more = "--teacher-model yolov5l --student-model yolov5s --labels gt+pseudo --seed 5 --ratios 0.5,0.3,0.2"
    machine = "--offline --precision fp32 --device cpu --track tensorboard --track mlflow --keep-splits --allow-outside"
    assert kdyolo("run", "data", *flags.split(), *more.split(), *machine.split()).code == 0
    config = load_config(RunDir("runs/x").config)
    assert config.data.source == tmp_path / "data"
    assert (config.student.epochs, config.student.lr0, config.student.imgsz, config.teacher.imgsz) == (4, 0.1, 96, 96)
    assert (config.teacher.epochs, config.teacher.batch, config.student.batch) == (10, 2, 2)
    assert config.teacher.from_scratch
    assert config.student.from_scratch
    assert (config.teacher.model, config.student.model, config.student.labels) == ("yolov5l", "yolov5s", "gt+pseudo")
    assert (config.seed, config.split.seed, config.split.ratios, config.split.keep_splits) == (
        5,
        0,
        (0.5, 0.3, 0.2),
        True,
    )
    assert config.data.allow_outside
    assert config.runtime.offline
    assert (config.runtime.precision, config.runtime.device) == ("fp32", "cpu")
    assert config.runtime.track == ["tensorboard", "mlflow"]


def test_stage_by_stage(kdyolo):
    split = kdyolo("split", "data", "--run", "r", "--format", "yolo", "--seed", 4, "--allow-outside", "--json")
    assert split.json["facts"]["images"] == 3
    assert kdyolo("train-teacher", "--run", "r", "--model", "yolov5s", "--epochs", 2, "--seed", 5).code == 0
    refused = kdyolo("train-teacher", "--run", "r", "--teacher", "t.pt", "--epochs", 3, "--resume")
    assert (refused.code, "teacher.epochs would be ignored" in refused.stderr) == (2, True)
    assert kdyolo("train-teacher", "--run", "r", "--teacher", "t.pt", "--resume").code == 0
    labelled = kdyolo("pseudo-label", "--run", "r", "--conf", "a=0.4,b=0.3", "--iou", 0.6, "--augment", "--images", "p")
    assert labelled.code == 0
    assert kdyolo("train-student", "--run", "r", "--labels", "gt+pseudo", "--weights", "w.pt").code == 0
    assert kdyolo("train-student", "--run", "r", "--baseline", "--json").json["stage"] == "baseline"
    assert kdyolo("compare", "--run", "r", "--json").json["summary"]["arms"]
    config = load_config(RunDir("r").config)
    assert (config.split.seed, config.seed, config.data.allow_outside) == (4, 5, True)
    assert (config.data.format, config.teacher.model, config.teacher.epochs) == ("yolo", "yolov5s", 2)
    assert (config.pseudo.conf, config.pseudo.iou, config.pseudo.augment) == ({"a": 0.4, "b": 0.3}, 0.6, True)
    assert config.teacher.checkpoint.name == "t.pt"
    assert config.pseudo.images.name == "p"
    assert (config.student.labels, config.student.weights.name) == ("gt+pseudo", "w.pt")
    assert kdyolo("run", "--run", "r", "--json").json["ran"] == []


def test_flags_of_the_split(kdyolo, tmp_path):
    (tmp_path / "splits.csv").write_text("source,split\n")
    flags = "--from splits.csv --repair --group-by p(\\d+) --no-near-duplicates"
    assert kdyolo("split", "data", "--run", "r", *flags.split(), "--folds", 5, "--repeats", 2).code == 0
    assert kdyolo("run", "data", "--run", "s", *flags.split()).code == 0
    for run in ("r", "s"):
        settings = load_config(RunDir(run).config).split
        assert settings.from_file == tmp_path / "splits.csv"
        assert (settings.repair, settings.group_by, settings.near_duplicates) == (True, r"p(\d+)", False)
    settings = load_config(RunDir("r").config).split
    assert (settings.folds, settings.repeats) == (5, 2)
    assert kdyolo("split", "data", "--run", "t", "--group-by", "groups.csv").code == 0
    assert load_config(RunDir("t").config).split.group_by == str(tmp_path / "groups.csv")


def test_stage_commands_show_their_facts(kdyolo):
    done = kdyolo("split", "data", "--run", "r")
    assert "split: done" in done.stdout
    assert "images" in done.stdout


def test_a_single_number_for_conf(kdyolo):
    kdyolo("split", "data", "--run", "r")
    kdyolo("train-teacher", "--run", "r")
    kdyolo("pseudo-label", "--run", "r", "--conf", "0.25")
    assert load_config(RunDir("r").config).pseudo.conf == 0.25


def test_dry_run_writes_nothing(kdyolo, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    done = kdyolo("run", "data", "--dry-run", "--json")
    assert [step["action"] for step in done.json["plan"]] == ["run"] * 6
    assert "not done yet" in kdyolo("run", "data", "--dry-run").stdout
    assert sorted(tmp_path.rglob("*")) == before


def test_dry_run_of_changed_work_asks_for_consent(kdyolo):
    kdyolo("run", "data")
    done = kdyolo("run", "data", "--dry-run", "-S", "compare.conf=0.1")
    assert "setting compare.conf: 0.001 -> 0.1" in done.stdout
    assert "--resume or --force" in done.stdout
    data = kdyolo("run", "data", "--dry-run", "-S", "compare.conf=0.1", "--json").json
    assert data["needs_resume_or_force"] is True
    assert data["plan"][0]["estimated_seconds"] == 0
    assert data["plan"][5]["estimated_seconds"] >= 0


def test_resume_and_force(kdyolo, tmp_path):
    kdyolo("run", "data", "--epochs", 4)
    assert kdyolo("run", "--run", "runs/data", "--labels", "gt", "--resume", "--json").json["ran"] == [
        *("student", "baseline", "compare")
    ]
    assert load_config(RunDir("runs/data").config).student.epochs == 4
    assert kdyolo("run", "data", "--force", "--json").json["ran"] == ALL
    assert (tmp_path / "runs" / "data-1").is_dir()
    assert load_config(RunDir("runs/data").config).student.epochs == 10


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["run", "data", "-S", "student.epoch=3"], 2, "Did you mean 'student.epochs'?"),
        (["run", "data", "-S", "student.epochs"], 2, "not of the form key=value"),
        (["run", "data", "--epochs", "0"], 2, "epochs"),
        (["run", "data", "--imgsz", "100"], 2, "multiple of 32"),
        (["run", "data", "--ratios", "0.5,0.5"], 2, "not three numbers"),
        (["run", "data", "--ratios", "0.5,0.6,0.2"], 2, "sum to 1"),
        (["split", "data", "--run", "r", "--from", "a.csv", "--keep-splits"], 2, "exclude each other"),
        (["split", "data", "--run", "r", "--repeats", "2"], 2, "repeats needs folds"),
        (["split", "data", "--run", "r", "--group-by", "("], 2, "nor a regular expression"),
        (["run", "data", "-c", "none.yaml"], 2, "Cannot read none.yaml"),
        (["run", "data", "--student-model", "yolov8n"], 2, "choose one of yolov5n"),
        (["run", "data", "--teacher", "t.pt", "--teacher-model", "m"], 2, "would be ignored"),
        (["run", "data", "--map-classes", "a=b"], 2, "would be ignored"),
        (["run"], 2, "Neither a data set nor a run"),
        (["run", "--run", "runs/none"], 2, "There is no run at"),
        (["run", "data", "--run", "data/runs/x"], 2, "inside the data set"),
        (["run", "nowhere"], 3, "is not there"),
        (["run", "data", "--run", "fake.txt"], 7, "is a file"),
        (["train-teacher", "--run", "runs/none"], 2, "There is no run at"),
        (["status", "runs/none"], 2, "There is no run at"),
        (["run", "data", "--run", "r", "--resume", "--force"], 2, "exclude each other"),
        (["pseudo-label", "--run", "r", "--conf", "high"], 2, "neither a number"),
        (["pseudo-label", "--run", "r", "--conf", "a=0.1,b"], 2, "neither a number"),
    ],
)
def test_mistakes_get_one_message_and_an_exit_code(kdyolo, arguments, code, message):
    done = kdyolo(*arguments)
    assert done.code == code
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    in_json = kdyolo(*arguments, "--json")
    assert message in in_json.json["error"]
    assert in_json.json["exit_code"] == code


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["rnu"], "Did you mean 'run'?"),
        (["run", "data", "--epochz", "3"], "--epochs"),
        (["run", "data", "--labels", "all"], "gt+pseudo"),
        (["train-teacher"], "--run"),
        (["run", ""], "an empty path"),
        (["run", "data", "--run", " "], "an empty path"),
        (["run", "data", "--epochs", "many"], "--epochs"),
    ],
)
def test_a_wrong_command_line_is_2(kdyolo, arguments, message):
    done = kdyolo(*arguments)
    assert done.code == 2
    assert message in done.stderr


@pytest.mark.parametrize(("how", "code"), [("fail", 1), ("crash", 1), ("interrupt", 130)])
def test_broken_stages(kdyolo, monkeypatch, how, code):
    monkeypatch.setenv("FAKE_TEACHER", how)
    done = kdyolo("run", "data")
    assert done.code == code
    assert done.stderr.count("\nError: ") == 1
    assert "Traceback" not in done.stderr
    monkeypatch.setenv("KDYOLO_DEBUG", "1")
    assert "Traceback" in kdyolo("run", "data").stderr


def test_an_error_nobody_foresaw(kdyolo, monkeypatch):
    monkeypatch.setattr(entry.console.Console, "note", lambda *_: 1 / 0)
    done = kdyolo("run", "data")
    assert done.code == 1
    assert "ZeroDivisionError" in done.stderr
    assert "KDYOLO_DEBUG=1" in done.stderr
    assert "Traceback" not in done.stderr


def test_version(kdyolo):
    assert kdyolo("--version").stdout.startswith("kdyolo 0.")


def test_no_command_shows_the_help(kdyolo):
    done = kdyolo()
    assert "train-teacher" in done.stdout + done.stderr


def test_status(kdyolo, monkeypatch):
    monkeypatch.setenv("FAKE_PSEUDO", "fail")
    kdyolo("run", "data", "--run", "runs/x")
    state = kdyolo("status", "runs/x", "--json").json
    assert [stage["status"] for stage in state["stages"]] == ["done", "done", "failed", *["not started"] * 3]
    assert state["stages"][2]["error"] == "It did not work."
    assert state["next"] == "kdyolo run --run runs/x"
    assert state["locked_by"] is None
    shown = kdyolo("status", "runs/x").stdout
    assert "It did not work." in shown
    assert "Next: kdyolo run --run runs/x" in shown
    monkeypatch.delenv("FAKE_PSEUDO")
    kdyolo("run", "--run", "runs/x")
    state = kdyolo("status", "runs/x", "--json").json
    assert {stage["status"] for stage in state["stages"]} == {"done"}
    assert state["next"] is None
    assert state["report"].endswith("report.html")


def test_status_of_a_run_in_use_and_of_damage(kdyolo):
    kdyolo("run", "data", "--run", "r")
    (RunDir("r").root / "lock.json").write_text(
        json.dumps({"pid": 7, "host": "elsewhere", "command": "\x1b[31mkdyolo"})
    )
    (RunDir("r").stage("split") / "stage.json").write_text("{")
    done = kdyolo("status", "r")
    assert "In use by process 7 on elsewhere" in done.stdout
    assert "\x1b" not in done.stdout
    state = kdyolo("status", "r", "--json").json
    assert state["stages"][0]["status"] == "damaged"
    assert state["locked_by"]["pid"] == 7


def test_init_writes_every_default_once(kdyolo, tmp_path):
    assert kdyolo("init", "--json").json["file"] == "kdyolo.yaml"
    file = tmp_path / "kdyolo.yaml"
    assert load_config(file) == Config()
    assert kdyolo("init").code == 5
    assert kdyolo("init", "--force").code == 0
    assert (tmp_path / "kdyolo.yaml-1").exists()
    assert kdyolo("run", "data", "-c", "kdyolo.yaml").code == 0
    assert kdyolo("run", "--run", "runs/data", "-c", "kdyolo.yaml").code == 0


def test_the_template_explains_every_setting():
    from kdyolo.config import known_keys
    from kdyolo.template import settings_template

    lines = settings_template().splitlines()
    for key in known_keys():
        leaf = key.rpartition(".")[2]
        assert any(line.strip().removeprefix("# ").startswith(f"{leaf}:") for line in lines), key
    for line in lines:
        assert line.startswith("#") or not line.strip() or line.rstrip().endswith(":") or "  # " in line or "# " in line


FACTS = {"torch": "2.0", "device": "cpu", "threads": 2, "bf16": False, "weights_cache": "/c", "cached_weights": []}


def test_doctor(kdyolo, monkeypatch):
    monkeypatch.setattr("kdyolo.engine.environment.describe", lambda: dict(FACTS))
    done = kdyolo("doctor", "--json")
    assert done.code == 0
    assert done.json["faults"] == []
    assert done.json["packages"].keys() >= {"torch", "ultralytics", "typer", "rich", "pandas", "opencv-python"}
    assert {"kdyolo", "python", "torch", "device", "threads", "bf16", "free_gb", "writable"} <= done.json.keys()
    assert "All that kdyolo needs is here." in kdyolo("doctor").stdout


def test_doctor_finds_what_is_broken(kdyolo, monkeypatch):
    def broken():
        raise ImportError("libtorch is gone")

    monkeypatch.setattr("kdyolo.engine.environment.describe", broken)
    monkeypatch.setattr("kdyolo.health.MIN_FREE_BYTES", 10**18)
    done = kdyolo("doctor", "--json")
    assert done.code == 7
    assert "libtorch is gone" in done.json["faults"][0]
    assert "MB free" in done.json["faults"][1]
    plain = kdyolo("doctor")
    assert plain.code == 7
    assert "libtorch is gone" in plain.stderr


def test_demo_draws_its_data_once(kdyolo, monkeypatch, tmp_path):
    drawn = []

    def generate(out, **settings):
        drawn.append(settings)
        out.mkdir(parents=True, exist_ok=True)
        (out / "data.txt").write_text("images")
        (out / "data.yaml").write_text("names: [a]")
        return out

    monkeypatch.setattr("kdyolo.datasets.demo.generate", generate)
    (tmp_path / "mine.yaml").write_text("student: {epochs: 2}")
    done = kdyolo("demo", "--json", "-c", "mine.yaml", "--offline")
    assert done.code == 0, done.stderr
    assert done.json["ran"] == ALL
    assert "yolov5x" in done.stderr
    assert kdyolo("demo", "--json").json["skipped"] == ALL
    assert drawn == [{"images": 400, "imgsz": 320, "seed": 0}]
    config = load_config(RunDir("runs/demo").config)
    assert (config.teacher.from_scratch, config.student.epochs, config.runtime.offline) == (True, 2, True)


def test_demo_leaves_a_folder_of_its_name_alone(kdyolo, tmp_path):
    (tmp_path / "runs" / "demo-data").mkdir(parents=True)
    (tmp_path / "runs" / "demo-data" / "mine.txt").write_text("mine")
    done = kdyolo("demo")
    assert done.code == 5
    assert "demo-data exists" in done.stderr
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["demo-data"]


def test_a_settings_file_may_name_the_data_set_and_so_the_run(tmp_path):
    from kdyolo.cli.options import default_run
    from kdyolo.errors import ConfigError

    file = tmp_path / "own.yaml"
    file.write_text("data: {source: /somewhere/tomatoes}\n")
    assert default_run(None, file).as_posix() == "runs/tomatoes"
    file.write_text("seed: 1\n")
    with pytest.raises(ConfigError, match="Neither a data set nor a run"):
        default_run(None, file)
