"""A run as its files tell of it: stages, epochs, time left; and that looking changes nothing."""

import json
import math
import os

import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st

from kdyolo.config import load_config
from kdyolo.pipeline.epochs import MAP, batch_of, read_epochs, trainings
from kdyolo.pipeline.frame import as_data
from kdyolo.pipeline.watching import look
from kdyolo.storage import RunDir, StageRecord
from kdyolo.yamlio import dump_yaml

HEAD = (
    "epoch,time,train/box_loss,train/cls_loss,train/dfl_loss,metrics/mAP50(B),metrics/mAP50-95(B),"
    "val/box_loss,val/cls_loss,val/dfl_loss"
)
NOW = 1_000_000.0


def table(epochs, seconds=10.0, first=14.0):
    rows = [f"{e},{first + seconds * (e - 1)},3,2,1,{e / 10},{e / 20},3,2,2" for e in range(1, epochs + 1)]
    return "\n".join([HEAD, *rows]) + "\n"


@pytest.fixture
def run(tmp_path):
    return begin(RunDir(tmp_path / "runs" / "first"))


def begin(run, **settings):
    run.create()
    config = load_config(overrides={"data.source": "data", "teacher.epochs": 5, "student.epochs": 8, **settings})
    run.config.write_text(dump_yaml(config.model_dump(mode="json")))
    return run


def put(run, stage, status="done", seconds=7.0, error=""):
    run.stage(stage).mkdir(parents=True, exist_ok=True)
    run.write_record(
        StageRecord(stage=stage, status=status, key="k", sequence=1, settings={}, inputs={}, versions={},
                    seconds=seconds, error=error)
    )  # fmt: skip
    os.utime(run.stage(stage) / "stage.json", (NOW - 60, NOW - 60))


def train(run, stage, epochs, planned, part="", begun=NOW - 50, last=NOW - 4):
    folder = run.stage(stage) / part
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "args.yaml").write_text(f"epochs: {planned}\n")
    os.utime(folder / "args.yaml", (begun, begun))
    if epochs is not None:
        (folder / "results.csv").write_text(table(epochs) if isinstance(epochs, int) else epochs)
        os.utime(folder / "results.csv", (last, last))


def states(frame):
    return {stage.name: stage.state for stage in frame.stages}


def test_a_run_that_does_not_exist_yet(tmp_path):
    frame = look(RunDir(tmp_path / "none"))
    assert (frame.state, frame.stages, frame.training) == ("missing", (), None)
    assert as_data(frame)["state"] == "missing"


def test_a_training_that_runs(run):
    put(run, "split")
    put(run, "teacher", "running", seconds=0.0)
    train(run, "teacher", 3, 5)
    with run.locked():
        frame = look(run, NOW)
    assert frame.state == "running"
    assert states(frame) == {"split": "done", "teacher": "running"} | dict.fromkeys(
        ("pseudo", "baseline", "student", "compare"), "waiting"
    )
    assert len(frame.training.epochs.rows) == 3
    assert frame.training.epochs.planned == 5
    assert frame.training.epochs.pace == 10.0  # the first epoch, which warms up, took longer
    assert frame.training.left == 2 * 10.0 - 4  # the fourth began 4 seconds ago
    assert frame.left == frame.training.left
    assert frame.unknown == ("pseudo", "baseline", "student", "compare")
    assert frame.training.epochs.best == (3, 0.15)
    assert frame.training.epochs.loss("train") == [6.0] * 3
    assert frame.next is None


def test_before_the_first_epoch_is_over(run):
    put(run, "teacher", "running")
    train(run, "teacher", None, 5)
    with run.locked():
        frame = look(run, NOW)
    assert (frame.training.left, frame.left, frame.training.epochs.best) == (None, None, None)
    json.dumps(as_data(frame), allow_nan=False)


def test_an_epoch_that_takes_longer_than_the_others_does_not_go_below_zero(run):
    put(run, "teacher", "running")
    train(run, "teacher", 4, 5, last=NOW - 500)
    with run.locked():
        assert look(run, NOW).training.left == 0.0


def test_a_training_that_went_on_starts_its_epoch_anew(run):
    put(run, "teacher", "running")
    train(run, "teacher", 3, 5, begun=NOW - 2, last=NOW - 9000)
    with run.locked():
        assert look(run, NOW).training.left == 2 * 10.0 - 2


@given(st.integers(0, len(table(4))))
def test_a_table_cut_anywhere_gives_its_whole_rows(tmp_path_factory, length):
    folder = tmp_path_factory.mktemp("cut")
    text = table(4)[:length]
    (folder / "results.csv").write_text(text)
    whole = max(text.count("\n") - 1, 0)
    assert [row["epoch"] for row in read_epochs(folder).rows] == list(range(1, whole + 1))


@pytest.mark.parametrize("text", ["", "\n", "epoch\n1,2\n", "\x00\xff\n\n", HEAD + "\n" + "1,a,b\n", "a,b\n1,2\n3,\n"])
def test_a_damaged_table_is_no_reason_to_fall(run, text):
    put(run, "teacher", "running")
    train(run, "teacher", text, 5)
    with run.locked():
        json.dumps(as_data(look(run, NOW)), allow_nan=False)


def test_a_loss_that_is_not_finite_is_no_value(run):
    put(run, "teacher", "running")
    train(run, "teacher", table(2).replace(",0.1,", ",nan,"), 5)
    data = as_data(look(run, NOW))["training"]
    assert data["mAP50_95"] == [0.05, None]
    assert data["best"] == {"epoch": 1, "mAP50_95": 0.05}
    json.dumps(data, allow_nan=False)


@pytest.mark.parametrize(
    ("status", "state"), [("running", "stopped"), ("interrupted", "stopped"), ("failed", "failed")]
)
def test_a_run_that_nobody_works_on(run, status, state):
    put(run, "teacher", status, error="It broke.")
    train(run, "teacher", 3, 5)
    frame = look(run, NOW)
    assert (frame.state, states(frame)["teacher"], frame.holder) == (state, state, None)
    assert frame.stages[1].error == "It broke."
    assert frame.next == f"kdyolo run --run {run.shown}"
    assert frame.stages[1].left == 20.0  # nobody works on it, so it gets no nearer to its end


def test_a_finished_run(run):
    for stage in ("split", "teacher", "pseudo", "baseline", "student", "compare"):
        put(run, stage)
    assert look(run, NOW).state == "stopped"  # its report is missing
    run.stage("report").mkdir()
    (run.stage("report") / "report.html").write_text("x")
    (run.stage("report") / "summary.json").write_text('{"verdict": "A gain."}')
    frame = look(run, NOW)
    assert (frame.state, frame.verdict, frame.unknown, frame.next) == ("finished", "A gain.", (), None)
    assert frame.report == run.root / "report" / "report.html"


def test_student_against_control(run):
    put(run, "baseline")
    train(run, "baseline", 8, 8)
    put(run, "student", "running")
    train(run, "student", 2, 8)
    with run.locked():
        frame = look(run, NOW)
    assert frame.training.stage == "student"
    assert frame.training.control.column(MAP)[:2] == [0.05, 0.1]
    assert len(as_data(frame)["training"]["control_mAP50_95"]) == 8


def test_the_student_will_take_what_its_control_took(run):
    begin(run, **{"distill.scheme": "cached"})
    put(run, "baseline", seconds=123.0)
    assert {s.name: s.left for s in look(run, NOW).stages}["student"] == 123.0
    put(run, "baseline", "running", seconds=0.0)
    train(run, "baseline", 2, 8)
    assert {s.name: s.left for s in look(run, NOW).stages}["student"] == 8 * (14 + 10) / 2
    begin(run, **{"distill.scheme": "online-teacher"})  # hearing a teacher takes longer, nobody knows how much
    assert {s.name: s.left for s in look(run, NOW).stages}["student"] is None


def test_further_seeds_take_as_long_as_the_one_that_runs(run):
    begin(run, more_seeds=(1, 2))
    put(run, "baseline", "running")
    train(run, "baseline", 8, 8, begun=NOW - 900, last=NOW - 800)
    train(run, "baseline", 6, 8, part="seed-1", begun=NOW - 70, last=NOW)
    with run.locked():
        frame = look(run, NOW)
    assert frame.training.part == "seed-1"
    assert {s.name: s.left for s in frame.stages}["baseline"] == 2 * 10 + 8 * 10


def test_label_budgets_are_one_chain_each(run):
    begin(run, label_budgets=(0.5, 1.0))
    small = begin(RunDir(run.budgets / "0.5"), **{"split.labels_fraction": 0.5})
    put(small, "split")
    put(small, "teacher", "running")
    train(small, "teacher", 3, 5)
    with run.locked():
        frame = look(run, NOW)
    assert [stage.name for stage in frame.stages if stage.state != "waiting"] == ["0.5/split", "0.5/teacher"]
    assert [stage.name for stage in frame.stages][6:8] == ["1/split", "1/teacher"]
    assert frame.training.stage == "0.5/teacher"


def test_an_assistant_is_a_chain_before_the_run(run):
    begin(run, **{"distill.assistant": "yolov5s"})
    names = [stage.name for stage in look(run, NOW).stages]
    assert names[:4] == [f"assistant/{stage}" for stage in ("split", "teacher", "pseudo", "student")]
    assert names[4:] == ["split", "teacher", "pseudo", "baseline", "student", "compare"]


def test_the_log_tells_the_batch(run, tmp_path):
    train(run, "teacher", 3, 5)
    [epochs] = trainings(run.stage("teacher"))
    bar = "\r\x1b[K        {}/5         0G      1.39      1.45      1.19         42        256: 97% ━━━╸ {}/35 1.7s/it"
    log = tmp_path / "log"
    log.write_text(bar.format(3, 35) + "x" * 9000 + bar.format(4, 20) + bar.format(4, 21))
    assert batch_of(log, epochs) == (21, 35)
    log.write_text(bar.format(3, 35) + "\n  all  5  23  0  0")  # of the epoch before
    assert batch_of(log, epochs) is None
    assert batch_of(tmp_path / "none", epochs) is None


def test_a_damaged_record_is_a_stage_that_waits(run):
    put(run, "split")
    (run.stage("split") / "stage.json").write_text('{"stage": "sp')
    assert states(look(run, NOW))["split"] == "waiting"


def test_how_long_nothing_changed(run):
    for file in (run.config, run.root / "log", run.root):
        os.utime(file, (NOW - 900, NOW - 900))
    assert math.isclose(look(run, NOW).silent, 900)


def test_looking_touches_nothing(run):
    put(run, "split")
    put(run, "teacher", "running")
    train(run, "teacher", 3, 5)
    before = tiny.mtimes(run.root)
    look(run)
    assert tiny.mtimes(run.root) == before


@pytest.mark.parametrize("settings", ["epochs: .inf", "epochs: [1]", "epochs: nan"])
def test_settings_that_no_training_could_have_do_not_end_the_watching(run, settings):
    train(run, "student", 2, 8)
    (run.stage("student") / "args.yaml").write_text(settings)
    assert read_epochs(run.stage("student")).planned is None


def test_a_line_without_end_does_not_end_the_watching(run):
    train(run, "student", 2, 8)
    with (run.stage("student") / "results.csv").open("a") as file:
        file.write("1" * 200_000 + "\n")
    assert len(read_epochs(run.stage("student")).rows) == 2
