import errno
import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from kdyolo import storage
from kdyolo.errors import DatasetError, EnvironmentFault, RunExistsError
from kdyolo.storage import RunDir, StageRecord


def record(run, name="split", **changes):
    fields = {"stage": name, "status": "done", "key": "k", "sequence": 1, "settings": {}, "inputs": {}, "versions": {}}
    made = StageRecord(**{**fields, **changes})
    run.write_record(made)
    return made


@pytest.fixture
def run(tmp_path):
    directory = RunDir(tmp_path / "run")
    directory.create()
    return directory


def test_hashes_of_files_and_trees(tmp_path):
    for name in ("b", "a"):
        (tmp_path / name).write_text(name)
    assert storage.sha256_file(tmp_path / "a") == hashlib.sha256(b"a").hexdigest()
    files = [tmp_path / "a", tmp_path / "b"]
    whole = storage.sha256_by_name(files)
    assert whole == storage.sha256_by_name(files[::-1])
    (tmp_path / "b").rename(tmp_path / "c")
    assert whole != storage.sha256_by_name([tmp_path / "a", tmp_path / "c"])


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "x.json"
    storage.write_json(path, {"a": 1})

    def stops_halfway() -> None:
        with storage.atomic_path(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        stops_halfway()
    assert json.loads(path.read_text()) == {"a": 1}
    with pytest.raises(ValueError, match="not JSON compliant"):
        storage.write_json(path, {"a": float("nan")})
    assert [p.name for p in tmp_path.iterdir()] == ["x.json"]


def test_undecodable_names_are_written_back_as_their_bytes(tmp_path):
    storage.write_text(tmp_path / "x", os.fsdecode(b"b\xffd\n"))
    assert (tmp_path / "x").read_bytes() == b"b\xffd\n"


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EFBIG, errno.EDQUOT])
def test_fault_65_a_full_disk_says_so(tmp_path, code, monkeypatch):
    def fails(*args: object, **kwargs: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(EnvironmentFault, match="No room") as caught:
        storage.write_text(tmp_path / "x", "text")
    assert caught.value.exit_code == 7
    assert list(tmp_path.iterdir()) == []


def test_fault_65_space_is_checked_before(tmp_path):
    storage.require_space(tmp_path / "not/yet", 1, "This")
    with pytest.raises(EnvironmentFault, match="This needs about"):
        storage.require_space(tmp_path / "not/yet", shutil.disk_usage(tmp_path).total * 2, "This")


def test_fault_71_the_run_is_a_file(tmp_path):
    (tmp_path / "file").write_text("x")
    for place in ("file", "file/run"):
        with pytest.raises(EnvironmentFault, match="file"):
            RunDir(tmp_path / place).create()


def test_records_read_back(run):
    made = record(run, outputs={"split/a": "0"})
    assert run.record("split") == made
    assert run.record("teacher") is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"stage": "split"}', '{"stage": "split", "more": 1}'])
def test_fault_72_a_cut_or_edited_record_counts_as_none(run, text):
    record(run)
    (run.stage("split") / "stage.json").write_text(text)
    assert run.record("split") is None


def test_fault_72_edited_outputs_are_found(run):
    files = [run.stage("split") / name for name in ("a", "b", "c")]
    for file in files:
        storage.write_text(file, file.name)
    made = record(run, outputs=run.hash_outputs(files))
    assert list(made.outputs) == ["split/a", "split/b", "split/c"]
    assert run.require("split") == made
    files[0].write_text("other")
    files[1].unlink()
    assert run.damaged_outputs(made) == ["split/a", "split/b"]
    with pytest.raises(DatasetError, match="split/a"):
        run.require("split")


@pytest.mark.parametrize("status", ["running", "interrupted", "failed"])
def test_an_unfinished_stage_cannot_be_built_on(run, status):
    record(run, status=status)
    with pytest.raises(DatasetError, match="not finished"):
        run.require("split")


def test_old_stages_are_moved_aside_not_deleted(run):
    assert run.move_aside("split") is None
    for number in (1, 2):
        storage.write_text(run.stage("split") / "a", str(number))
        target = run.move_aside("split")
        assert target == run.root / "old" / f"split-{number}"
        assert (target / "a").read_text() == str(number)
    assert not run.stage("split").exists()


HOLD = """
import sys, time
from kdyolo.storage import RunDir
with RunDir(sys.argv[1]).locked():
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.mark.timeout(60)
def test_fault_67_68_one_run_one_process(run):
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(run.root)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(RunExistsError, match=f"process {holder.pid} on {socket.gethostname()}"), run.locked():
            pass
    finally:
        holder.kill()
        holder.wait()
    warnings = []
    with run.locked(warnings.append):
        assert json.loads((run.root / "lock.json").read_text())["pid"] == os.getpid()
    assert "Taking over" in warnings[0]
    assert not (run.root / "lock.json").exists()


def test_reading_waits_for_nobody_who_is_gone(run):
    run.require_idle()
    for owner in (
        {"pid": 1, "host": socket.gethostname()},
        {"pid": "abc", "host": socket.gethostname()},
        {"pid": 10**30},
    ):
        storage.write_json(run.root / "lock.json", owner)
        run.require_idle()  # the file is there, the lock is not held
    storage.write_json(run.root / "lock.json", {"pid": 1, "host": "elsewhere", "command": "kdyolo run"})
    with pytest.raises(RunExistsError, match="another host") as caught:
        run.require_idle()
    assert "delete" in caught.value.hint


def test_reading_a_run_that_is_worked_on_is_refused(run):
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(run.root)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(RunExistsError, match=f"process {holder.pid}"):
            run.require_idle()
    finally:
        holder.kill()
        holder.wait()
    run.require_idle()


def test_fault_68_a_lock_of_another_host_is_left_alone(run):
    storage.write_json(run.root / "lock.json", {"pid": 1, "host": "elsewhere", "command": "kdyolo run"})
    with pytest.raises(RunExistsError, match="another host"), run.locked():
        pass
    assert (run.root / "lock.json").exists()


@pytest.mark.parametrize("left", [None, "{"])
def test_nobody_waits_for_a_lock_file_that_nobody_will_write(run, monkeypatch, left):
    monkeypatch.setattr(storage.time, "sleep", lambda seconds: pytest.fail("slept"))
    if left is not None:
        (run.root / "lock.json").write_text(left)
    assert run.holder() is None
    with run.locked():
        (run.root / "lock.json").unlink()


def test_free_names_count_up(tmp_path):
    assert storage.free_name(tmp_path / "x") == tmp_path / "x-1"
    Path(tmp_path / "x-1").touch()
    assert storage.free_name(tmp_path / "x") == tmp_path / "x-2"
