"""Real runs that are killed, stopped, starved of room, met by another process, and edited (faults 63, 65-72)."""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import tiny
import torch

from kdyolo import api, pipeline
from kdyolo.engine import checkpoints
from kdyolo.errors import EnvironmentFault, RunExistsError
from kdyolo.storage import RunDir, write_json

pytestmark = pytest.mark.slow
STAGES = ("split", "teacher", "pseudo", "baseline", "student", "compare")


def command(*arguments, script=None):
    return [sys.executable, *([script] if script else ["-m", "kdyolo"]), *map(str, arguments)]


def kdyolo(*arguments, mishap=None, limit=None, cwd=None, **environ):
    """Run the command line in a process of its own."""
    script = str(Path(tiny.__file__).with_name("mishap.py")) if mishap else None
    return subprocess.run(
        command(*arguments, script=script),
        env={**os.environ, **({"MISHAP": mishap} if mishap else {}), **environ},
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=300,
        preexec_fn=(lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))) if limit else None,
    )


def epochs(run, stage):
    return pd.read_csv(run.stage(stage) / "results.csv")["epoch"].tolist()


def contents(folder):
    """Files of a stage but for its record, which holds times."""
    return {name: data for name, data in tiny.files(folder).items() if name != "stage.json"}


def test_killed_again_and_again_a_run_still_ends_as_it_should(demo_set, lively, labelled, tmp_path):
    """One run, killed at ten moments from the first write to the last, each time started again by the same command."""
    settings = {**tiny.SETTINGS, "teacher.checkpoint": lively, "pseudo.conf": 0.6, "student.epochs": 3}
    run = RunDir(tmp_path / "run")
    call = ["run", demo_set, "--run", run.root, *tiny.flags(settings)]
    moments = {
        "split while it writes": "os.rename split/splits.csv 1",
        "split before it is done": "os.rename split/stage.json 2",
        "teacher while it writes": "os.rename teacher/best.pt 1",
        "pseudo while it writes": "os.rename labels/train/leaf_00012.txt 1",
        "pseudo before it is done": "os.rename pseudo/stage.json 2",
        "control before its first checkpoint": "os.rename baseline/weights/last.pt 1",
        "student between two checkpoints": "os.rename student/weights/last.pt 2",
        "student after its training": "os.rename student/best.pt 1",
        "comparison while it writes": "os.rename compare/results.json 1",
        "report": "os.rename report/report.html 1",
    }
    seen = {}
    for when, moment in moments.items():
        done = kdyolo(*call, mishap=f"{moment} SIGKILL")
        assert done.returncode == -signal.SIGKILL, f"{when}: {done.stderr}"
        assert "Traceback" not in done.stderr
        seen[when] = {s: r.status for s in STAGES if (r := run.record(s))}
    assert seen["split before it is done"] == {"split": "running"}
    assert seen["student after its training"]["student"] == "running"
    assert set(seen["report"].values()) == {"done"}
    last = kdyolo(*call, "--json")
    assert last.returncode == 0, last.stderr
    assert "Taking over the lock" in last.stderr
    assert json.loads(last.stdout)["ran"] == []  # only the report was missing
    assert not list(run.root.rglob("*.tmp"))
    assert not list(run.root.rglob("weights"))
    assert not list(run.root.rglob("*.cache"))
    whole = RunDir(labelled)
    for stage in ("split", "pseudo"):
        assert contents(run.stage(stage)) == contents(whole.stage(stage))
    for stage in ("student", "baseline"):
        assert epochs(run, stage) == [1, 2, 3]
        assert run.record(stage).facts["optimizer_steps"] == 18
    summary = api.read_summary(run)
    assert set(summary["arms"]) == {"teacher", "student", "control"}
    assert json.loads((run.stage("compare") / "results.json").read_text())["same_start"] is True
    assert kdyolo(*call).returncode == 0


@pytest.fixture
def labelled_run(labelled, tmp_path):
    return tiny.copy_run(labelled, tmp_path / "run")


def test_a_teacher_killed_in_its_training_goes_on(demo_set, tmp_path):
    run = RunDir(tmp_path / "run")
    api.split(demo_set, run.root, settings={**tiny.SETTINGS, "teacher.epochs": 3})
    call = ["train-teacher", "--run", run.root]
    for moment in ("open teacher/results.csv 2", "os.rename weights/best.pt 2"):
        assert kdyolo(*call, mishap=f"{moment} SIGKILL").returncode == -signal.SIGKILL
        assert run.record("teacher").status == "running"
    done = kdyolo(*call, "--json")
    assert done.returncode == 0, done.stderr
    assert epochs(run, "teacher") == [1, 2, 3]
    left = {"classes.json", "trained_on.csv", *tiny.LEFT_BY_TRAINING}
    assert {p.name for p in run.stage("teacher").iterdir()} == left


def test_a_killed_distillation_ends_with_the_weights_of_one_that_was_not(labelled_run, tmp_path):
    run, whole = labelled_run, tiny.copy_run(labelled_run.root, tmp_path / "whole")
    told = {"student.epochs": 3, "student.labels": "gt", "distill.warmup_epochs": 0, "distill.until_tail": False}
    told |= {"distill.scheme": "online-teacher", "distill.method": "response+cwd:0.5", "distill.weight": 1}
    call = ["train-student", *tiny.flags(told), "--run"]
    for moment in ("os.rename student/weights/last.pt 1", "open student/results.csv 2"):
        assert kdyolo(*call, run.root, mishap=f"{moment} SIGKILL").returncode == -signal.SIGKILL
    for each in (run, whole):
        done = kdyolo(*call, each.root)
        assert done.returncode == 0, done.stderr
    ours, theirs = (checkpoints.load(r.stage("student") / "best.pt")[0].state_dict() for r in (run, whole))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert (pd.read_csv(run.stage("student") / "results.csv")["train/kd_loss"] > 0).all()


def test_ctrl_c_once_finishes_the_batch_and_twice_ends_at_once(labelled_run):
    run = labelled_run
    call = ["train-student", "--run", run.root, "-S", "student.epochs=3"]
    once = kdyolo(*call, mishap="open student/results.csv 1 SIGINT")
    assert once.returncode == 130, once.stderr
    assert "Traceback" not in once.stderr
    assert "again to go on" in once.stderr.replace("\n", " ")
    assert run.record("student").status == "interrupted"
    assert run.holder() is None
    twice = kdyolo(*call, mishap="os.rename weights/last.pt 1 SIGTERM SIGTERM")
    assert twice.returncode == -signal.SIGTERM
    done = kdyolo(*call, "--json")
    assert done.returncode == 0, done.stderr
    assert "Taking over the lock" in done.stderr
    assert epochs(run, "student") == [1, 2, 3]


def test_no_room_for_a_checkpoint(labelled_run):
    run = labelled_run
    before = {stage: contents(run.stage(stage)) for stage in ("split", "teacher", "pseudo")}
    full = kdyolo("train-student", "--run", run.root, limit=3_000_000)
    assert full.returncode == 7, full.stderr
    assert "No room to write" in full.stderr
    assert "file-size limit" in full.stderr.replace("\n", " ")
    assert run.record("student").status == "failed"
    assert {stage: contents(run.stage(stage)) for stage in before} == before
    assert kdyolo("train-student", "--run", run.root, "--json").returncode == 0
    assert epochs(run, "student") == [1, 2]


@pytest.fixture
def tight():
    """Sets the largest file this process may write."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_no_room_for_the_table_of_labels(labelled_run, tight):
    run = labelled_run
    shutil.rmtree(run.stage("pseudo"))
    tight(20_000)
    with pytest.raises(EnvironmentFault, match="No room to write"):
        api.pseudo_label(run.root)
    tight(resource.getrlimit(resource.RLIMIT_FSIZE)[1])
    assert run.record("pseudo").status == "failed"
    assert not list(run.root.rglob("*.tmp"))
    api.pseudo_label(run.root)
    assert run.record("pseudo").status == "done"


def test_no_room_for_the_adopted_teacher_or_the_results(finished, lively, tmp_path, tight):
    run = tiny.copy_run(finished, tmp_path / "run")
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    tight(1_000_000)
    with pytest.raises(EnvironmentFault, match="No room to write"):
        api.train_teacher(run.root, settings={"teacher.checkpoint": lively}, resume=True)
    tight(unlimited)
    assert (run.root / "old" / "teacher-1" / "best.pt").is_file()
    shutil.rmtree(run.root)
    run = tiny.copy_run(finished, tmp_path / "run")
    (run.stage("compare") / "examples.json").unlink()
    tight(5_000)
    with pytest.raises(EnvironmentFault, match="No room to write"):
        api.run(run=run.root)
    tight(unlimited)
    assert run.record("compare").status != "done"
    assert api.run(run=run.root)["arms"]


def test_a_second_process_on_the_same_run(labelled_run):
    run = labelled_run
    with run.locked():
        second = kdyolo("train-student", "--run", run.root)
    assert second.returncode == 5
    told = second.stderr.replace("\n", " ")
    assert f"process {os.getpid()} on {os.uname().nodename}" in told
    assert "pytest" in told
    assert run.record("student") is None


@pytest.mark.parametrize("host", ["here", "elsewhere"])
def test_a_lock_left_behind(labelled_run, host):
    run = labelled_run
    dead = subprocess.Popen(["true"])
    dead.wait()
    name = os.uname().nodename if host == "here" else "other-host"
    write_json(run.root / "lock.json", {"pid": dead.pid, "host": name, "command": "kdyolo run x", "started": 1.0})
    notes = tiny.Notes()
    if host == "here":
        api.pseudo_label(run.root, settings={"pseudo.conf": 0.7}, resume=True, progress=notes)
        assert any("Taking over the lock" in warning for warning in notes.warnings)
    else:
        with pytest.raises(RunExistsError, match="on other-host") as caught:
            api.pseudo_label(run.root, settings={"pseudo.conf": 0.7}, resume=True)
        assert "lock.json" in caught.value.hint


def plan(run, **values):
    overrides = {name.replace("__", "."): value for name, value in values.items()}
    steps = pipeline.plan(run, pipeline.resolve(run, overrides=overrides), pipeline.chain())
    return {step.stage: step for step in steps if step.action != "skip"}


def test_a_finished_run_is_left_alone(finished, tmp_path, monkeypatch):
    monkeypatch.setattr("socket.socket.connect", lambda *a: pytest.fail("network"))
    run = tiny.copy_run(finished, tmp_path / "run")
    before, notes = tiny.mtimes(run.root), tiny.Notes()
    summary = api.run(run=run.root, progress=notes)
    assert "Nothing to do" in notes.messages[-1]
    assert tiny.mtimes(run.root) == before
    assert summary == json.loads((run.root / "report" / "summary.json").read_text())


@pytest.mark.parametrize(
    ("setting", "value", "redone"),
    [
        ("split__seed", 1, STAGES),
        ("seed", 1, ("teacher", "pseudo", "baseline", "student", "compare")),
        ("teacher__lr0", 0.02, ("teacher", "pseudo", "baseline", "student", "compare")),
        ("pseudo__conf", 0.5, ("pseudo", "baseline", "student", "compare")),
        ("student__labels", "gt+pseudo", ("student", "compare")),
        ("student__epochs", 3, ("baseline", "student", "compare")),
        ("compare__conf", 0.01, ("compare",)),
        ("runtime__workers", 2, ()),
        ("runtime__precision", "auto", ("teacher", "pseudo", "baseline", "student", "compare")),
    ],
)
def test_a_changed_setting_redoes_what_depends_on_it(finished, setting, value, redone):
    assert tuple(plan(RunDir(finished), **{setting: value})) == redone


def test_changed_data_redo_everything_and_only_if_asked(finished, demo_set, tmp_path):
    data = shutil.copytree(demo_set, tmp_path / "data")
    run = tiny.copy_run(finished, tmp_path / "run")
    label = sorted((data / "labels").glob("*"))[0]
    label.write_text("0 0.5 0.5 0.2 0.2\n")
    with pytest.raises(RunExistsError, match="the files of 'source' changed"):
        api.run(data, run.root)
    assert plan(run, data__source=data)["split"].action == "redo"


@pytest.mark.parametrize(
    ("file", "stage"),
    [
        ("split/splits.csv", "split"),
        ("split/labels/test/*.txt", "split"),
        ("teacher/best.pt", "teacher"),
        ("pseudo/thresholds.json", "pseudo"),
        ("pseudo/predictions.csv", "pseudo"),
        ("student/best.pt", "student"),
        ("student/results.csv", "student"),
        ("baseline/best.pt", "baseline"),
        ("compare/results.json", "compare"),
        ("compare/predictions_student.csv", "compare"),
    ],
)
@pytest.mark.parametrize("how", ["edited", "gone"])
def test_a_file_edited_by_hand_redoes_its_stage(finished, tmp_path, file, stage, how):
    run = tiny.copy_run(finished, tmp_path / "run")
    path = sorted(run.root.glob(file))[0]
    if how == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes() + b" ")
    step = plan(run)[stage]
    assert step.action == "redo"
    assert path.name in step.reason
    assert next(iter(plan(run))) == stage


@pytest.mark.parametrize("stage", STAGES)
def test_a_record_cut_short_redoes_its_stage(finished, tmp_path, stage):
    run = tiny.copy_run(finished, tmp_path / "run")
    record = run.stage(stage) / "stage.json"
    record.write_bytes(record.read_bytes()[:100])
    assert next(iter(plan(run))) == stage
    assert plan(run)[stage].action == "redo"


def test_an_edited_report_is_built_again(finished, tmp_path):
    run = tiny.copy_run(finished, tmp_path / "run")
    page, summary = run.root / "report" / "report.html", run.root / "report" / "summary.json"
    summary.write_text(summary.read_text().replace('"control"', '"kontrol"'))
    assert "control" in api.run(run=run.root)["arms"]
    assert page.is_file()


def test_without_a_home(labelled_run, tmp_path):
    run = labelled_run
    kept = {k: v for k, v in os.environ.items() if k not in ("HOME", "KDYOLO_CACHE", "XDG_CACHE_HOME")}
    arguments = ["pseudo-label", "--run", run.root, "--conf", "0.7", "--resume", "--json"]
    done = subprocess.run(command(*arguments), env={**kept, "TMPDIR": str(tmp_path)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    json.loads(done.stdout)


def test_an_output_that_is_a_file(demo_set, tmp_path):
    (tmp_path / "file").write_text("mine")
    for run in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(EnvironmentFault, match="is a file or lies under one"):
            api.run(demo_set, run, settings=tiny.SETTINGS)
    assert (tmp_path / "file").read_text() == "mine"
