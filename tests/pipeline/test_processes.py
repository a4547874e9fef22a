"""Runs that are killed, that meet each other, and that find no room: whole processes with the real command line."""

import json
import os
import resource
import signal
import subprocess
import sys
import time

import fake_chain
import pytest

ALL = [stage.name for stage in fake_chain.CHAIN]


@pytest.fixture
def start(run, source, tmp_path):
    processes = []

    def launch(*arguments, limit=None, **environment):
        command = [sys.executable, fake_chain.__file__, "run", str(source), "--run", str(run.root), *arguments]

        def bound():
            if limit:
                resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # a test run in the background hands on that it ignores it

        process = subprocess.Popen(
            command,
            env={**os.environ, **environment},
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=bound,
        )
        processes.append(process)
        return process

    yield launch
    for process in processes:
        process.kill()
        process.communicate()


def wait_for(path):
    deadline = time.monotonic() + 30
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} never came"
        time.sleep(0.02)


@pytest.mark.parametrize("stage", ["split", "teacher", "compare"])
def test_kill_9_and_run_again(run, start, stage):
    first = start(**{f"FAKE_{stage.upper()}": "sleep"})
    wait_for(run.stage(stage) / "asleep")
    first.kill()
    first.wait()
    assert run.record(stage).status == "running"
    second = start()
    _, stderr = second.communicate(timeout=60)
    assert second.returncode == 0, stderr
    assert "Taking over the lock" in stderr
    assert run.record(stage).facts["resumed"] is True
    assert [run.record(name).status for name in ALL] == ["done"] * 6
    assert not list(run.root.rglob("*.tmp"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_with_130_and_says_how_to_go_on(run, start, number):
    process = start(FAKE_TEACHER="sleep")
    wait_for(run.stage("teacher") / "asleep")
    process.send_signal(number)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "To go on: `kdyolo run --run runs/first`" in stderr
    assert "Traceback" not in stderr
    assert run.record("teacher").status == "interrupted"
    assert run.holder() is None


def test_two_processes_on_one_run(run, start):
    pair = [start(FAKE_SPLIT="sleep"), start(FAKE_SPLIT="sleep")]
    wait_for(run.stage("split") / "asleep")
    deadline = time.monotonic() + 30
    while all(process.poll() is None for process in pair):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    loser = next(process for process in pair if process.poll() is not None)
    winner = next(process for process in pair if process is not loser)
    _, stderr = loser.communicate()
    assert loser.returncode == 5
    assert f"process {winner.pid} on" in stderr
    assert fake_chain.calls(run) == ["split"]
    assert run.holder()["pid"] == winner.pid


@pytest.mark.parametrize("how", ["big", "dressed"])
def test_a_full_disk_keeps_finished_work(run, start, how):
    process = start(limit=1_000_000, FAKE_STUDENT=how)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 7, stderr
    assert "No room to write" in stderr
    assert "MB free" in stderr
    assert run.record("student").status == "failed"
    assert run.damaged_outputs(run.record("pseudo")) == []
    fake_chain.calls(run)
    again = start("--json")
    stdout, stderr = again.communicate(timeout=60)
    assert again.returncode == 0, stderr
    assert json.loads(stdout)["ran"] == fake_chain.calls(run) == ["student", "baseline", "compare"]
