"""`kdyolo watch`: one frame, lines, a picture of 80 columns; and how it ends."""

import io
import json
import math

import pytest
import rich.console
from hypothesis import given
from hypothesis import strategies as st

from kdyolo.cli import frames, watch
from kdyolo.cli.plotting import plot
from kdyolo.pipeline import watching
from kdyolo.pipeline.epochs import MAP, Epochs
from kdyolo.pipeline.frame import Frame, Stage, Training
from kdyolo.report.numbers import NA


def epochs(folder, done, planned=40):
    rows = tuple(
        {"epoch": e, "time": 9.0 * e, MAP: e / 50, "metrics/mAP50(B)": e / 45}
        | {f"{part}/{name}_loss": 3.0 for part in ("train", "val") for name in ("box", "cls", "dfl")}
        for e in range(1, done + 1)
    )
    return Epochs(folder, rows, planned, 1.0, 0.0)


@pytest.fixture
def running(tmp_path):
    stages = [Stage("split", "done", 3.0, 0.0), Stage("student", "running", 60.0, 90.0), Stage("compare", "waiting")]
    training = Training("student", "seed-1", epochs(tmp_path, 12), epochs(tmp_path, 40), (20, 35), 90.0)
    return Frame(
        tmp_path / "first", "running", tuple(stages), training, {"pid": 7, "host": "h"}, 5.0, 90.0, ("compare",)
    )


def drawn(frame, width=80, encoding="utf-8", **options):
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    console = rich.console.Console(file=stream, width=width, force_terminal=True, **options)
    console.print(frames.render(frame, console))
    stream.flush()
    return stream.buffer.getvalue().decode(encoding)


def test_a_picture_of_80_columns(running):
    text = drawn(running, no_color=True, color_system=None)
    assert max(map(len, text.splitlines())) <= 80
    for words in ("first is running during 'student', process 7 on h", "student (seed-1): 12 of 40 epochs done",
                  "batch 20 of 35", "mAP50-95 0.240", "best 0.240 in epoch 12", "control in epoch 12", "+0.0 points",
                  "9.0 s an epoch", "about 1 min 30 s left of the whole run; compare not counted"):  # fmt: skip
        assert words in " ".join(text.split()), words
    assert "\x1b" not in text


@pytest.mark.parametrize("width", [20, 40, 200])
def test_other_widths(running, width):
    text = drawn(running, width, color_system=None)
    assert max(map(len, text.splitlines())) <= min(width, 100)


def test_a_terminal_without_unicode(running):
    text = drawn(running, encoding="ascii", color_system=None)
    assert "v split" in text
    assert "12 of 40" in text


def test_hostile_words_do_nothing(tmp_path):
    stage = Stage("teacher", "failed", 3.0, None, "\x1b]0;title\x07[red]no[/red]\u202e")
    text = drawn(Frame(tmp_path / "\x1b[31mred", "failed", (stage,), next="x"), color_system=None)
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "[red]no[/red]" in text


def test_a_process_that_may_be_dead(running):
    silent = Frame(**{**vars(running), "silent": 3600.0})
    assert "No file has changed for 1 h 0 min" in drawn(silent, color_system=None)
    assert "No file" not in drawn(running, color_system=None)


@given(
    st.lists(st.lists(st.floats(allow_infinity=False), max_size=60), max_size=3),
    st.integers(1, 80),
    st.integers(12, 120),
    st.integers(1, 12),
)
def test_a_plot_fits_whatever_the_values(curves, planned, width, height):
    values = [[v if abs(v) < 1e6 else math.nan for v in points] for points in curves]
    text = plot("title", [("", i % 2 == 0, v) for i, v in enumerate(values)], planned, width, height).plain
    lines = text.split("\n")
    assert len(lines) == height + 2
    assert max(map(len, lines)) <= max(width, 20)


def test_a_rising_curve_rises():
    lines = plot("", [("", True, [0.0, 0.5, 1.0])], 3, 20, 4).plain.split("\n")[1:-1]
    starts = [line.split("│")[1] for line in lines]
    assert starts[0].rstrip() == starts[0]  # the end is at the top right
    assert starts[-1][0] != " "  # the start at the bottom left
    assert starts[0][0] == " "


def test_once_says_that_there_is_no_run_yet(kdyolo):
    done = kdyolo("watch", "runs/none", "--once")
    assert (done.code, "waiting for one" in done.stdout) == (0, True)


def test_a_finished_run_ends_with_0_and_says_how_to_open_the_report(kdyolo):
    assert kdyolo("run", "data", "--run", "r").code == 0
    done = kdyolo("watch", "r")
    assert done.code == 0
    assert "r is finished." in done.stdout
    assert "compare: done" in done.stdout
    assert "Hard to say." in done.stdout
    assert "report.html" in done.stdout
    one = kdyolo("watch", "r", "--json").json
    assert (one["state"], one["verdict"]) == ("finished", "Hard to say.")


def test_a_failed_run_ends_with_1_and_says_how_to_go_on(kdyolo, monkeypatch):
    monkeypatch.setenv("FAKE_TEACHER", "fail")
    assert kdyolo("run", "data", "--run", "r").code == 1
    done = kdyolo("watch", "r", "--interval", "0.2")
    assert done.code == 1
    assert "It did not work." in done.stdout
    assert "kdyolo run --run r" in done.stdout
    assert kdyolo("watch", "r", "--once").code == 0
    quiet = kdyolo("watch", "r", "--interval", "0.2", "--quiet")
    assert (quiet.code, quiet.stdout, "It did not work." in quiet.stderr) == (1, "", True)


def test_ctrl_c_leaves_quietly(kdyolo, monkeypatch):
    def stop(seconds):
        raise KeyboardInterrupt

    monkeypatch.setattr(watch.time, "sleep", stop)
    done = kdyolo("watch", "runs/none")
    assert (done.code, done.stderr) == (0, "")


def test_a_run_that_begins_while_it_is_watched(kdyolo, monkeypatch, running):
    seen = [Frame(running.run, "missing"), running, running, Frame(running.run, "finished", verdict="A gain.")]
    monkeypatch.setattr(watching, "look", lambda run: seen.pop(0))
    monkeypatch.setattr(watch.time, "sleep", lambda seconds: None)
    lines = kdyolo("watch", "runs/none").stdout.splitlines()
    assert lines[0].endswith("waiting for one.")
    assert sum("epoch 12" in line for line in lines) == 1  # nothing is said twice
    assert lines[-1] == "A gain."


def test_json_is_one_object(kdyolo, monkeypatch, running):
    monkeypatch.setattr(watching, "look", lambda run: running)
    data = json.loads(kdyolo("watch", "r", "--json").stdout)
    assert data["training"]["epoch"] == 12
    assert data["training"]["batch"] == [20, 35]
    assert NA not in json.dumps(data)
