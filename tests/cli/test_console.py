"""Terminal output: what is stripped, what is drawn, what is said off a terminal."""

import io
import os
import subprocess
import sys

import pytest
import rich.console

from kdyolo.cli import console as module
from kdyolo.cli.console import Console, clean


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("plain name", "plain name"),
        ("[red]leaf[/red]", r"\[red]leaf\[/red]"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07name", "name"),
        ("\x1b]8;;http://x\x1b\\link", "link"),
        ("a\rb\x08c\x9b31md\x00", "abc31md"),
        ("\u202egpj.exe", "gpj.exe"),
        ("two\nlines", "two\nlines"),
        ("tomaattı İ 🍅", "tomaattı İ 🍅"),
        ("\udce9", ""),
    ],
)
def test_names_cannot_drive_the_terminal(name, shown):
    assert clean(name) == shown


@pytest.fixture
def terminal(monkeypatch):
    """A console that believes in its terminal, and what it draws there."""
    stream = io.StringIO()
    shown = rich.console.Console(file=stream, force_terminal=True, width=120)
    view = Console()
    view.__dict__["stderr"] = shown
    return view, stream


def test_a_bar_on_a_terminal(terminal):
    view, stream = terminal
    view.start("teacher [x]", 3)
    view.update(2, mAP50=0.41234, loss="n/a")
    view.note("a note")
    view.start("another", 2)
    view.update(2)
    view.finish()
    view.finish()
    drawn = stream.getvalue()
    assert "teacher [x]" in drawn
    assert "2/3" in drawn
    assert "mAP50 0.4123  loss n/a" in drawn
    assert "a note" in drawn


def test_lines_off_a_terminal_are_few(capsys):
    view = Console()
    view.start("labelling", 1000)
    for step in range(1000):
        view.update(step + 1, boxes=step)
    view.finish()
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["labelling: 1000 steps", "labelling: 1000/1000  boxes 999"]


def test_slow_steps_each_get_a_line(capsys, monkeypatch):
    clock = iter(range(0, 10_000, 60))
    monkeypatch.setattr(module.time, "monotonic", lambda: next(clock))
    view = Console()
    view.start("epochs", 3)
    for step in range(3):
        view.update(step + 1, mAP50=0.5)
    shown = ["epochs: 1/3  mAP50 0.5", "epochs: 2/3  mAP50 0.5", "epochs: 3/3  mAP50 0.5"]
    lines = capsys.readouterr().err.splitlines()[1:]
    assert [line.partition("  0:")[0] for line in lines] == shown
    assert [line.endswith("left") for line in lines] == [False, True, False]


def test_quiet_hides_all_but_errors(capsys):
    view = Console(quiet=True)
    view.start("x", 1)
    view.update(1)
    view.note("x")
    view.warn("x")
    view.finish()
    view.result({"a": 1}, lambda: view.line("x"))
    assert capsys.readouterr() == ("", "")
    view.error("bad", "mend it")
    assert capsys.readouterr().err == "Error: bad\nmend it\n"


def test_no_color(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    stream = io.StringIO()
    rich.console.Console(file=stream, force_terminal=True).print("[bold red]Error:[/] x")
    assert "31m" not in stream.getvalue()


def run(*arguments, **options):
    return subprocess.run([sys.executable, "-m", "kdyolo", *arguments], capture_output=True, text=True, **options)


def test_a_closed_pipe_is_141_and_silent(tmp_path):
    reader, writer = os.pipe()
    os.close(reader)
    (tmp_path / "x").mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "kdyolo", "init", "k.yaml"],
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
    )
    os.close(writer)
    assert done.returncode == 141
    assert done.stderr == ""
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "kdyolo", "init", "j.yaml", "--json"],
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


def test_help_into_head_leaves_no_traceback():
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m kdyolo run --help | head -1"], capture_output=True, text=True
    )
    assert "Traceback" not in done.stderr
    assert done.returncode == 0


@pytest.mark.parametrize("environment", [{"LC_ALL": "C"}, {"LC_ALL": "tr_TR.UTF-8"}, {"TERM": "dumb"}])
def test_odd_surroundings(tmp_path, environment):
    bare = {"PATH": os.environ["PATH"], **environment}  # no HOME
    done = run("init", "tomaattı.yaml", cwd=tmp_path, env=bare)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "tomaattı.yaml").exists()
    assert run("status", "🍅", cwd=tmp_path, env=bare).returncode == 2
